"""A tracking server that goes away and comes back, a killed driver, and a state that is damaged meanwhile."""

import shutil

import pytest

from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests.processes import product_of, standing_still, stop_in_mid_cell
from tests.unit.tracking.test_server_away import Server

SWEEP = [
    "--name", "away", "--methods", "lora", "--adapter-sizes", "1",
    "--learning-rates", "3e-4", "1e-3", "3e-3", "1e-2", "--no-packs", "--max-concurrent", "1",
    "--num-steps", "120", "--checkpoint-seconds", "0",
]  # fmt: skip
NUM_CELLS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_database):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def swept(make_workplace, server, ray_here):
    """The server is killed after the first record and restarted after the second; then driver and worker
    are killed in mid-cell, and the newest state of that cell loses a byte."""
    place = make_workplace("away")
    place.tracking_uri = place.environment["MLFLOW_TRACKING_URI"] = server.uri
    process = place.start(*SWEEP)
    place.wait_for_records("away", 1, process)
    with standing_still(place, process):
        server.kill()
    place.wait_for_records("away", 2, process)
    with standing_still(place, process):
        outbox = place.sweep("away") / "outbox.jsonl"
        place.wait_until(lambda: outbox.exists() and outbox.stat().st_size, process)
        server.start()
    place.wait_for_records("away", 3, process)
    newest, before = stop_in_mid_cell(place, process, "away")
    place.cut_power(process)
    finished = {p.stem: p.read_bytes() for p in place.record_files("away")}
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    step = product_of(before)
    return place, finished, step, place.called(CAPACITY, *SWEEP, "--resume")


def test_the_sweep_ends_with_every_cell_once(swept, outcome):
    place, finished, _, done = swept
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tracking is behind" not in done.stdout
    outcome(place, "away").check(NUM_CELLS)
    after = {p.stem: p.read_bytes() for p in place.record_files("away")}
    assert {key: after[key] for key in finished} == finished


def test_the_cell_went_on_from_the_state_before_the_damaged_one(swept):
    place, finished, step, _ = swept
    (went_on,) = [r for key, r in place.records("away").items() if key not in finished]
    assert went_on["resumed_step"] == step > 0


def test_the_numbers_are_those_of_a_sweep_that_nothing_happened_to(swept, outcome, tmp_path):
    outcome(swept[0], "away").check_numbers(tmp_path)
