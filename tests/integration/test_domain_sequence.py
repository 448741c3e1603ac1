"""A sequence as a user runs it: Ray does the chain, killed inside of it and resumed; one MLflow run a row."""

import json
import sys
from pathlib import Path

import mlflow
import pytest

from interfero.engine.options.parsing import parse_options
from interfero.engine.sequence.nodes import Stage
from interfero.store.sweep import SweepStore
from sweeps.domain_sequence import SWEEP
from tests.conftest import draw_cloud, write_images
from tests.processes import stop_in_mid_cell

SCRIPT = Path(__file__).resolve().parents[2] / "sweeps" / "domain_sequence.py"


@pytest.fixture(scope="module")
def place(make_workplace):
    return make_workplace("sequence")


@pytest.fixture(scope="module")
def arguments(place, tmp_path_factory):
    """Two domains in one order, by one chain and one bank."""
    second = write_images(tmp_path_factory.mktemp("second"), draw_cloud, seed=9)
    given = [*place.tiny, "--methods", "finetune", "lora", "--orders", "given", "--adapter-sizes", "1",
             "--learning-rates", "3e-3"]  # fmt: skip
    given[given.index("--domains") + 2 : given.index("--domains") + 2] = [f"clouds={second}"]
    given[given.index("--num-steps") + 1] = "40"
    return [*given, "--checkpoint-seconds", "0", "--max-concurrent", "1", "--precision", "float32",
            "--name", "first"]  # fmt: skip


def finished_stages(place):
    found = (place.folder / "interfero-storage" / "products").glob("stage-*/record.json")
    return {path: path.stat().st_mtime_ns for path in found}


def second_stage(place, arguments):
    """Key of the training that goes on from another one."""
    options = parse_options(SWEEP.options, [*map(str, arguments)], SWEEP.question)
    study = SWEEP.study()
    store = SweepStore(place.folder / "interfero-storage", "first")
    plan = study.plan(options, study.code(), store)
    stages = [n for n in plan.behind(plan.rows).values() if isinstance(n, Stage)]
    (found,) = [stage.key for stage in stages if stage.before]
    return found


@pytest.fixture(scope="module")
def resumed(place, arguments):
    """A sweep that was killed inside the second stage of a chain: (its key, records then, the resumption)."""
    key = second_stage(place, arguments)
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    process = place.start_command(command)
    stop_in_mid_cell(place, process, "first", kind=key)
    place.cut_power(process)
    kept = finished_stages(place)
    return key, kept, place.finish(place.start_command([*command, "--resume"]))


def test_a_killed_chain_goes_on_inside_it_and_every_row_has_one_run(place, resumed):
    key, kept, done = resumed
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(kept) >= 1
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    record = json.loads(
        (place.folder / "interfero-storage/products" / key / "record.json").read_text()
    )
    assert record["status"] == "finished"
    assert 0 < record["resumed_step"] < 40
    assert record["params"]["sequence"] == "thing>clouds"
    client = mlflow.MlflowClient(place.tracking_uri)
    experiment = client.get_experiment_by_name("domain-sequence")
    runs = client.search_runs([experiment.experiment_id])
    rows = [run for run in runs if run.data.tags["interfero.kind"] == "cell"]
    assert sorted((r.data.params["method"], r.data.params["sequence"]) for r in rows) == [
        ("finetune", "thing"), ("finetune", "thing>clouds"), ("lora", "thing"), ("lora", "thing>clouds"),
        ("source", ""),
    ]  # fmt: skip
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(run.data.metrics["row/thing/rd_loss"] > 0 for run in rows)
    (parent,) = [run for run in runs if run.data.tags["interfero.kind"] == "sweep"]
    assert "cells.parquet" in place.artifacts(parent)


def test_another_sweep_of_the_storage_takes_all_over(place, arguments, resumed):
    code, shown = place.call(SWEEP, *arguments[:-1], "second")
    assert code == 0, shown
    assert "nodes to do: none" in shown
    assert "5 cells taken over from earlier sweeps" in shown
