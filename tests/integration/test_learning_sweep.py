"""A learning sweep as a user runs it: Ray does the graph, MLflow has one run a cell, nothing is repeated."""

import sys
from pathlib import Path

import mlflow
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "sweeps" / "dataset_restoration.py"
SMALL = ("--smoke", "--codecs", "webp", "--rates", "0.8", "--configurations", "OO", "CO", "RO",
         "--restorations", "regression")  # fmt: skip


@pytest.fixture(scope="module")
def workplace(make_workplace):
    return make_workplace("learning")


@pytest.fixture(scope="module")
def done(workplace):
    return run(workplace, "--name", "first")


def run(workplace, *arguments):
    return workplace.finish(
        workplace.start_command([sys.executable, str(SCRIPT), *SMALL, *arguments])
    )


def runs(workplace, name):
    client = mlflow.MlflowClient(workplace.tracking_uri)
    experiment = client.get_experiment_by_name("dataset-restoration")
    every = client.search_runs([experiment.experiment_id])
    parent = next(r for r in every if r.data.tags.get("interfero.sweep") == name)
    mine = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, mine


def test_every_cell_has_one_run_with_its_score_and_its_steps(workplace, done):
    assert done.returncode == 0, done.stderr
    parent, cells = runs(workplace, "first")
    assert sorted(r.data.params["configuration"] for r in cells) == ["CO", "OO", "RO"]
    for cell in cells:
        assert 0 <= cell.data.metrics["segmentation/miou"] <= 1
        assert cell.data.tags["interfero.kind"] == "cell"
        assert cell.data.tags["interfero.step_segmentation"].startswith("segmentation-")
    restored = next(r for r in cells if r.data.params["configuration"] == "RO")
    assert restored.data.tags["interfero.step_restoration"].startswith("restoration-")
    assert restored.data.metrics["rate/train_bpp"] == pytest.approx(0.8, rel=0.25)
    assert {"steps.json", "cells.parquet", "summary.md"} <= set(workplace.artifacts(parent))


def test_another_sweep_of_the_same_storage_repeats_nothing(workplace, done):
    again = run(workplace, "--name", "second", "--max-concurrent", "1")
    assert again.returncode == 0, again.stderr
    assert "steps to do: none" in again.stdout
    assert "3 cells taken over from earlier sweeps" in again.stdout
    _, cells = runs(workplace, "second")
    assert {r.data.tags["interfero.reused_from"] for r in cells} == {"first"}


def test_a_dry_run_trains_nothing(workplace, done):
    dry = run(workplace, "--name", "third", "--num-steps", "3", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "steps to do: 3 segmentation" in dry.stdout
    assert not workplace.sweep("third").exists()
