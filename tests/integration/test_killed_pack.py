"""Packs whose process is really killed, as the kernel does for memory: they go on in halves, once."""

import os
import signal
import sys
from dataclasses import dataclass

import ray

from interfero.engine.driver import run_packs
from interfero.engine.feeding import Feeder
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore
from tests.unit.engine.conftest import make_cell

# Workers cannot import what tests are made of.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Greedy:
    """Does cells, but is killed with more than `room` of them at once, and at one of them always."""

    room: int
    too_large: str

    def __call__(self, pack, worker):
        if len(pack.nodes) > self.room:
            os.kill(os.getpid(), signal.SIGKILL)
        for node in pack.nodes:
            if node.key == self.too_large:
                os.kill(os.getpid(), signal.SIGKILL)
            yield CellRecord(key=node.key, params=node.params, status="finished")


class Heard:
    """Keeps the last record of each cell, as a sweep does."""

    def __init__(self, store):
        self.store, self.records = store, {}

    def on_started(self, pack):
        pass

    def on_repeated(self):
        pass

    def on_record(self, record):
        self.records[record.key] = record
        self.store.keep(record)


def test_a_pack_too_large_for_the_memory_is_done_in_halves_and_a_cell_too_large_fails(
    tmp_path, ray_here, caplog
):
    cells = [make_cell(init_seed=i) for i in range(6)]
    store = SweepStore(tmp_path, "one")
    heard = Heard(store)
    feeder = Feeder([Pack(nodes=tuple(cells))], [], 0, {}.get, heard)
    run_packs(AdaptationOptions(), store, Greedy(3, cells[1].key), feeder, heard, 1)
    states = [heard.records[cell.key].status for cell in cells]
    # The first half was killed at its second cell; the second half had a try of its own.
    assert states == ["finished", "failed", "failed", "finished", "finished", "finished"]
    error = heard.records[cells[1].key].error
    assert error.startswith(
        "its process was killed, most likely for memory, twice: run fewer packs"
    )
    said = [r.getMessage() for r in caplog.records if r.name.startswith("interfero")]
    assert said == [
        "its process was killed, most likely for memory: its pack of 6 cells or steps goes on with 3 and 3",
        "its process was killed, most likely for memory, for the second time: 2 of its cells or steps have "
        "failed",
    ]


def test_what_rays_memory_monitor_kills_has_failed_and_the_sweep_ends_as_any_other(make_workplace):
    """By a limit that every machine exceeds, looked at seldom: what is killed trains by then, or starts.

    Of what trains, Tune alone ends all trials with a RuntimeError (Ray 2.60, findings/
    ray_tune_ends_on_a_kill_for_memory.sh); tests/unit/engine/test_memory_monitor.py has that moment.
    """
    place = make_workplace("monitored")
    place.environment |= {
        "RAY_memory_usage_threshold": "0.001",
        "RAY_memory_monitor_refresh_ms": "15000",
    }
    done = place.run(
        "--name", "monitored", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3",
        "--max-concurrent", "1", "--num-steps", "100000",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    low = "Ray killed its process because the machine ran low on memory"
    assert f"{low}: its pack of 1" in done.stderr
    assert "try them again with: " in done.stdout
    (record,) = place.records("monitored").values()
    assert record["status"] == "failed"
    assert f"{low}, twice: " in record["error"]
    parent, runs = place.runs("monitored")
    assert {run.info.status for run in (parent, *runs.values())} == {"FAILED"}
