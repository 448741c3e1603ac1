"""A restoration sweep as a user runs it: Ray does the graph, one MLflow run a cell, nothing is repeated."""

import json
import sys
from pathlib import Path

import mlflow
import pytest

from sweeps.dataset_restoration import SWEEP
from tests.processes import stop_in_mid_cell

SCRIPT = Path(__file__).resolve().parents[2] / "sweeps" / "dataset_restoration.py"
SMALL = ("--codecs", "webp", "--rates", "0.8", "--configurations", "OO", "CO", "RO",
         "FC", "--restorations", "regression", "--finetune-images", "2", "--finetune-steps", "4")  # fmt: skip
LONG = (*SMALL, "--max-images", "3", "--num-steps", "60", "--restoration-steps", "4", "--batch-size", "2",
        "--crop-size", "32", "--checkpoint-seconds", "0", "--max-concurrent", "1",
        "--init-seeds", "0")  # fmt: skip


@pytest.fixture(scope="module")
def workplace(make_workplace):
    return make_workplace("restoration")


@pytest.fixture(scope="module")
def killed(workplace):
    """A sweep that was killed inside the training of a model: (state then, records of steps then)."""
    process = start(workplace, *LONG, "--name", "first")
    # A state that has one before it: copies and restorer are there, a model is some steps old.
    _, state = stop_in_mid_cell(workplace, process, "first", kind="segmentation")
    workplace.cut_power(process)
    return state, {path: path.stat().st_mtime_ns for path in records_of_steps(workplace)}


@pytest.fixture(scope="module")
def done(workplace, killed, ray_here):
    """The same sweep, resumed to its end."""
    code, shown = workplace.call(SWEEP, *LONG, "--name", "first", "--resume")
    assert code == 0, shown


def start(workplace, *arguments):
    return workplace.start_command([sys.executable, str(SCRIPT), *arguments])


def runs(workplace, name):
    client = mlflow.MlflowClient(workplace.tracking_uri)
    experiment = client.get_experiment_by_name("dataset-restoration")
    every = client.search_runs([experiment.experiment_id])
    parent = next(r for r in every if r.data.tags.get("interfero.sweep") == name)
    mine = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, mine


def test_every_cell_has_one_run_with_its_score_and_its_steps(workplace, done):
    parent, cells = runs(workplace, "first")
    assert sorted(r.data.params["configuration"] for r in cells) == ["CO", "FC", "OO", "RO"]
    for cell in cells:
        assert 0 <= cell.data.metrics["segmentation/miou"] <= 1
        assert cell.data.tags["interfero.kind"] == "cell"
        assert cell.data.tags["interfero.step_segmentation"].startswith("segmentation-")
    restored = next(r for r in cells if r.data.params["configuration"] == "RO")
    assert restored.data.tags["interfero.step_restoration"].startswith("restoration-")
    assert restored.data.params["restorer_seed"] == "0"
    tuned = next(r for r in cells if r.data.params["configuration"] == "FC")
    assert tuned.data.tags["interfero.step_finetune"].startswith("finetune-")
    assert (tuned.data.params["variant"], tuned.data.params["num_images"]) == ("2 images", "2")
    assert restored.data.metrics["rate/train_bpp"] == pytest.approx(0.8, rel=0.25)
    assert {"steps.json", "cells.parquet", "summary.md"} <= set(workplace.artifacts(parent))


def test_another_sweep_of_the_same_storage_repeats_nothing(workplace, done):
    code, shown = workplace.call(SWEEP, *LONG, "--name", "second")
    assert code == 0, shown
    assert "steps to do: none" in shown
    assert "4 cells taken over from earlier sweeps" in shown
    _, cells = runs(workplace, "second")
    assert {r.data.tags["interfero.reused_from"] for r in cells} == {"first"}


def test_a_killed_driver_costs_no_step_and_goes_on_inside_the_training(workplace, killed, done):
    state, kept = killed
    assert {path.parent.name.split("-")[0] for path in kept} >= {
        "compress",
        "restoration",
        "restore",
    }
    key = state.name.removesuffix(".before.safetensors")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    record = json.loads((state.parents[2] / "products" / key / "record.json").read_text())
    assert record["status"] == "finished"
    assert 0 < record["resumed_step"] < 60
    parent, cells = runs(workplace, "first")
    assert parent.info.status == "FINISHED"
    assert sorted(r.data.params["configuration"] for r in cells) == ["CO", "FC", "OO", "RO"]
    assert {r.info.status for r in cells} == {"FINISHED"}
    assert list(state.parent.iterdir()) == []


def records_of_steps(workplace):
    return (workplace.folder / "interfero-storage" / "products").glob("*/record*.json")


def test_a_dry_run_trains_nothing(workplace, done):
    code, shown = workplace.call(SWEEP, *LONG, "--name", "third", "--num-steps", "3", "--dry-run")
    assert code == 0
    assert "steps to do: 3 segmentation, 1 finetune" in shown
    assert not workplace.sweep("third").exists()
