"""The processes of a sweep that runs on this machine: found, stopped where a test needs them, and killed."""

import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from interfero.store.tensors import load_tensors

PATIENCE_S = 600
"""A machine that trains something else may be this slow."""

TRAINING = ("ImplicitFunc.train", "RayTrainWorker")
"""What Ray titles the processes that train."""
STOPPED = ("T", "t", "X", "Z")


def training_below(process):
    found = process.children(recursive=True) if process.is_running() else []
    return [p for p in found if is_training(p)]


def worker_of(place, sweep):
    """The process that trains for a sweep on this machine, once it does: between packs it is idle."""
    driver = psutil.Process(sweep.pid)
    return place.wait_until(lambda: training_below(driver), sweep)[0]


def stop(process):
    """Suspend a process, and wait for its threads: one that waits for the disk goes on until it has it."""
    process.suspend()
    tasks = Path(f"/proc/{process.pid}/task")
    deadline = time.monotonic() + PATIENCE_S
    while not all(state_of(task) in STOPPED for task in tasks.iterdir()):
        assert time.monotonic() < deadline, "a thread does not stop"
        time.sleep(0.01)


def state_of(task):
    """One letter, as Linux calls it; a thread that has ended is dead."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


@contextmanager
def standing_still(place, sweep):
    """The process that trains stops meanwhile: a quick machine would be done with all that is left."""
    worker = worker_of(place, sweep)
    stop(worker)
    try:
        yield worker
    finally:
        # If it is gone, what ended it is told by the error on its way out.
        with suppress(psutil.NoSuchProcess):
            worker.resume()


def stop_in_mid_cell(place, sweep, name, kind=""):
    """Suspend the process that trains while two whole states of its cell lie on the disk.

    Their names begin with `kind`. Returns both, the newer first.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        place.wait_until(lambda: kept_states(place, name, kind), sweep)
        worker = worker_of(place, sweep)
        stop(worker)
        states = kept_states(place, name, kind)
        if states and (newer := without_before(states[0])).exists():
            return newer, states[0]
        # Just then it wrote a state, or its record.
        worker.resume()
        assert time.monotonic() < deadline, "no cell was met between two states"
        time.sleep(0.01)


def is_training(process):
    try:
        return any(title in " ".join(process.cmdline()) for title in TRAINING)
    except psutil.Error:
        return False


def kill_all(process):
    """A process and all that it started, at once: none of them outlives another, as in a power cut."""
    family = [*process.children(recursive=True), process]
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for member in family:
            with suppress(psutil.NoSuchProcess):  # It ended by itself just now.
                act(member)
    return family


def kept_states(place, name, kind=""):
    """The states of cells in training that have one before them: those cells are some steps old."""
    states = (place.sweep(name) / "checkpoints").glob(f"{kind}*.before.safetensors")
    ended = {path.stem for path in place.record_files(name)}
    return sorted(path for path in states if path.name.partition(".")[0] not in ended)


def without_before(state):
    """The newest state of the cell that one is the state before of."""
    return state.with_name(state.name.replace(".before", ""))


def product_of(state):
    return load_tensors(state)[1]["info"]["step"]
