"""A machine's clock that is set back an hour under a sweep, and the sweep that goes on after it."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from tests.processes import standing_still, stop_in_mid_cell

CC = shutil.which("cc")
pytestmark = pytest.mark.skipif(CC is None, reason="needs a C compiler, for the clock")

HOUR_S = 3600
SWEEP = [
    "--name", "back", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "3e-4", "1e-3", "3e-3",
    "--no-packs", "--max-concurrent", "1", "--num-steps", "60", "--checkpoint-seconds", "0",
]  # fmt: skip
NUM_CELLS = 3


class Clock:
    """What processes of a workplace take for the time: an hour ahead, until it is set back.

    Kernel and files have the right time all along, so what is written before is given times an hour
    ahead when the clock is set back: from then on everything is as on a machine whose clock was set back.
    """

    def __init__(self, place, folder):
        self._place, self._file = place, folder / "ahead"
        library = folder / "clock.so"
        code = Path(__file__).with_name("clock.c")
        subprocess.run([CC, "-shared", "-fPIC", "-O1", "-o", library, code, "-ldl"], check=True)
        self._file.write_bytes(struct.pack("q", HOUR_S))
        place.environment |= {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(self._file)}

    def now(self):
        """What a process takes for the time."""
        code = "import time; print(time.time())"
        shown = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | self._place.environment,
            stdout=subprocess.PIPE, check=True,
        ).stdout  # fmt: skip
        return float(shown)

    def set_back(self):
        for path in self._place.folder.rglob("*"):
            with suppress(
                FileNotFoundError
            ):  # The driver goes on, and removes what it used for a moment.
                status = path.lstat()
                at = (status.st_atime + HOUR_S, status.st_mtime + HOUR_S)
                os.utime(path, at, follow_symlinks=False)
        # In place: every process has this file mapped.
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", 0))


@pytest.fixture(scope="module")
def swept(make_workplace, tmp_path_factory):
    """Set back between the first record and the second, then driver and worker are killed in a cell."""
    place = make_workplace("back")
    clock = Clock(place, tmp_path_factory.mktemp("clock"))
    began = time.time()
    assert clock.now() >= began + HOUR_S
    process = place.start(*SWEEP)
    place.wait_for_records("back", 1, process)
    with standing_still(place, process):
        clock.set_back()
        shown = place.shell(f"{Path(sys.executable).with_name('interfero')} status back")
    place.wait_for_records("back", 2, process)
    stop_in_mid_cell(place, process, "back")
    place.cut_power(process)
    before = {p.stem: p.read_bytes() for p in place.record_files("back")}
    # One cell began an hour ahead and one did not: else nothing was set back.
    started = sorted(json.loads(content)["started_at"] for content in before.values())
    assert started[0] < time.time() < started[-1] - HOUR_S / 2
    return place, before, shown, place.run(*SWEEP, "--resume")


def test_status_states_no_rate(swept):
    shown = swept[2]
    assert shown.returncode == 0, shown.stderr
    assert "the clock was set back since the driver started: no rate" in shown.stdout


def test_the_sweep_ends_with_every_cell_once(swept, outcome):
    place, before, _, done = swept
    assert done.returncode == 0, done.stdout + done.stderr
    outcome(place, "back").check(NUM_CELLS)
    after = {p.stem: p.read_bytes() for p in place.record_files("back")}
    assert before.items() <= after.items()


def test_the_cell_that_was_killed_went_on(swept):
    place, before, _, _ = swept
    (went_on,) = [r for key, r in place.records("back").items() if key not in before]
    assert went_on["resumed_step"] > 0


def test_the_numbers_are_those_of_a_sweep_that_nothing_happened_to(swept, outcome, tmp_path):
    outcome(swept[0], "back").check_numbers(tmp_path)


def test_no_run_ends_before_it_began(swept):
    parent, cells = swept[0].runs("back")
    for run in (parent, *cells.values()):
        assert run.info.end_time >= run.info.start_time, run.info
    client = mlflow.MlflowClient(swept[0].tracking_uri)
    told = client.get_metric_history(parent.info.run_id, "cells/finished")
    steps = [point.step for point in sorted(told, key=lambda point: point.value)]
    assert steps
    assert steps == sorted(steps), (
        "tests/unit/tracking/test_tracker.py has what a dead driver had told"
    )
