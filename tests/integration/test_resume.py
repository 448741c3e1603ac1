"""A sweep that is killed, interrupted, repeated or enlarged loses nothing and repeats nothing."""

import re

import pytest

from interfero.errors import ConfigError
from interfero.store.tensors import load_tensors
from sweeps.adapter_capacity import SWEEP
from tests.processes import kept_states, product_of, stop_in_mid_cell, without_before

from .conftest import cells_at, contents

KILLED = [
    "--name", "killed", "--methods", "finetune", "--learning-rates", "1e-3", "0.9",
    "--data-seeds", "0", "1", "--max-concurrent", "1", "--num-steps", "40", "--checkpoint-seconds", "0",
]  # fmt: skip
"""Two packs of two cells, one after the other; at 0.9 the loss turns NaN. Every step's state is kept."""


@pytest.fixture(scope="module")
def killed(make_workplace):
    """A sweep that was killed in the middle of its second pack, and what a second driver was told meanwhile.

    Returns:
        The workplace, the records, the message, the driver's process, and the cell in training then with the
        steps that its newest state has.
    """
    place = make_workplace("killed")
    process = place.start(*KILLED)
    place.wait_until((place.sweep("killed") / "sweep.json").exists, process)
    with pytest.raises(ConfigError) as second_driver:
        place.call(SWEEP, *place.tiny, *KILLED, "--resume")
    place.wait_for_records("killed", 2, process)
    stop_in_mid_cell(place, process, "killed")
    # Of the pack's two cells the one that goes on: the other's loss is NaN after its first step.
    found = map(newest_of, kept_states(place, "killed"))
    step, key = max((step, key) for step, key, failure in found if failure is None)
    runs = place.runs("killed")[1]
    place.cut_power(process)
    message = str(second_driver.value)
    return place, contents(place, "killed"), message, process.pid, runs, (key, step)


def newest_of(state):
    """(step, key, failure) of what a cell goes on from that a state and the state before it are kept of."""
    newest = without_before(state)
    found = newest if newest.exists() else state
    failure = load_tensors(found)[1]["info"]["failure"]
    return product_of(found), state.name.partition(".")[0], failure


@pytest.fixture(scope="module")
def resumed(killed, ray_here):
    place = killed[0]
    return place, place.called(SWEEP, *KILLED, "--resume"), contents(place, "killed")


def test_a_second_driver_is_refused_while_the_first_runs(killed):
    _, _, message, pid, *_ = killed
    assert f"is running (process {pid} on " in message


def test_the_killed_sweep_had_not_finished(killed):
    _, before, _, _, cells, _ = killed
    assert 2 <= len(before) < 4
    assert "RUNNING" in {run.info.status for run in cells.values()}


def test_resume_finishes_every_cell_and_rewrites_those_that_failed(killed, resumed):
    before, (_, done, after) = killed[1], resumed
    assert len(after) == 4, done.stdout + done.stderr
    finished = {key for key, (text, _) in before.items() if b'"finished"' in text}
    assert len(finished) == 1
    assert {key for key in before if after[key] != before[key]} == before.keys() - finished


def test_resume_leaves_one_run_a_cell_and_none_running(resumed):
    place, _, after = resumed
    parent, cells = place.runs("killed")
    assert set(cells) == set(after)
    assert sorted(r.info.status for r in cells.values()) == 2 * ["FAILED"] + 2 * ["FINISHED"]
    assert parent.info.status == "FAILED"


def test_diverging_members_are_records_and_the_others_go_on(resumed):
    place, done, _ = resumed
    records = place.records("killed")
    failed = {key for key, record in records.items() if record["status"] == "failed"}
    assert failed == cells_at(place, "killed", 0.9)
    assert len(failed) == 2
    for key in failed:
        assert re.search(
            r"(loss nan|norm inf).* at step 1; last finite loss \d+", records[key]["error"]
        )
        assert records[key]["curve"][0][0] == 1
    assert cells_at(place, "killed", 1e-3, status="finished") == records.keys() - failed
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 cells failed, --max-failed is 0" in done.stdout


def test_a_cell_killed_in_the_middle_goes_on_as_if_it_never_was(killed, resumed, tmp_path):
    place, (key, step) = killed[0], killed[5]
    assert 0 < step < 40
    record = place.records("killed")[key]
    assert record["resumed_step"] == step, "steps before the checkpoint were repeated"
    assert list((place.sweep("killed") / "checkpoints").iterdir()) == []
    cell, metadata = place.adapter("killed", record)
    assert cell.key == key
    ((whole, again),) = place.trained_here([cell], tmp_path)
    assert metadata["adapter_hash"] == again["adapter_hash"]
    assert record["curve"] == [[step, values] for step, values in whole.curve]


def test_a_name_is_taken_once(resumed):
    place = resumed[0]
    with pytest.raises(ConfigError, match=r"add --resume .* or choose another --name"):
        place.call(SWEEP, *place.tiny, *KILLED)


def test_changed_options_are_refused_on_resume_all_at_once(resumed):
    place = resumed[0]
    changed = [*KILLED, "--num-steps", "5", "--batch-size", "3", "--resume"]
    with pytest.raises(ConfigError) as caught:
        place.call(SWEEP, *place.tiny, *changed)
    assert "num_steps was 40, now it is 5" in str(caught.value)
    assert "batch_size was 2, now it is 3" in str(caught.value)


def test_changed_images_are_refused_on_resume(resumed, other_image_folder):
    place = resumed[0]
    swapped = ["--domains", f"thing={other_image_folder}", "--resume"]
    with pytest.raises(ConfigError, match="domain thing was"):
        place.call(SWEEP, *place.tiny, *KILLED, *swapped)
