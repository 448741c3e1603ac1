"""What asks a sweep to end, sent to a real driver: while a cell trains, and while the report is written."""

import re
import shlex
import signal

import pytest

from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests.processes import worker_of

SWEEP = [
    "--name", "asked", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "3e-4", "1e-3",
    "--no-packs", "--max-concurrent", "1", "--checkpoint-seconds", "0",
]  # fmt: skip
NUM_CELLS = 2
NUM_STEPS = {"training": 30, "report": 4}


@pytest.fixture(autouse=True)
def _hears_its_terminal():
    """Whoever runs the tests under nohup hands on that SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def wait_for(moment, place, sweep):
    folder = place.sweep("asked")
    if moment == "report":
        place.wait_until((folder / "report").exists, sweep)
        return
    worker_of(place, sweep)
    place.wait_until(lambda: list((folder / "checkpoints").glob("*.safetensors")), sweep)


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGHUP, "training"), (signal.SIGTERM, "training"), (signal.SIGUSR1, "training"),
     (signal.SIGTERM, "report")],
    ids=lambda value: getattr(value, "name", value),
)  # fmt: skip
def test_a_driver_that_is_asked_to_end_says_how_to_go_on_and_that_does(
    make_workplace, ray_here, outcome, number, moment
):
    place = make_workplace("asked")
    sweep = place.start(*SWEEP, "--num-steps", NUM_STEPS[moment])
    wait_for(moment, place, sweep)
    sweep.send_signal(number)
    done = place.finish(sweep)
    assert done.returncode == 130, done.stdout + done.stderr
    before = outcome(place, "asked").files()
    assert len(before) == NUM_CELLS if moment == "report" else len(before) < NUM_CELLS
    assert f"interrupted: {len(before)} finished cells are kept in " in done.stdout
    parent, cells = place.runs("asked")
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in cells.values()} <= {"FINISHED", "KILLED"}

    (line,) = re.findall(r"^go on with: (.*)$", done.stdout, re.MULTILINE)
    words = shlex.split(line)
    assert words[-1] == "--resume"
    code, shown = place.call(CAPACITY, *words[2:])
    assert code == 0, shown
    outcome(place, "asked").check(NUM_CELLS)
    assert before.items() <= outcome(place, "asked").files().items()
