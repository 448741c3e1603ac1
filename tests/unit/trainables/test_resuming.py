"""Cells that are stopped in the middle go on from their last whole checkpoint, and end the same."""

import logging

import pytest
import torch

from interfero.adaptation import load_adapter
from interfero.domains.batches import draw_batch
from interfero.engine.worker import Leaving, LocalWorker
from interfero.errors import StorageError
from trainables.adaptation import run_pack

pytestmark = pytest.mark.usefixtures("short_ewc")

KINDS = ("finetune", "lora", "cawf", "ewc")
"""A copy, a branch, a chain beside the source, and one that prepares."""


class Draws:
    """The steps whose batches are drawn; the process dies before one of them, as if it lost power.

    The machine's notice comes within one of them.
    """

    def __init__(self, worker, dies_at=None, noticed_at=None):
        self.worker, self.dies_at, self.noticed_at = worker, dies_at, noticed_at
        self.steps = []

    def __call__(self, samples, *, step, label="", **given):
        if not label:
            if step == self.dies_at:
                raise KeyboardInterrupt
            self.steps.append(step)
            self.worker.leaving = step == self.noticed_at
        return draw_batch(samples, step=step, label=label, **given)


@pytest.fixture(scope="module")
def uninterrupted():
    """What `whole` has trained, by the cells' keys."""
    return {}


@pytest.fixture
def whole(attempt, uninterrupted, tmp_path_factory):
    """Train cells without an interruption, once for all tests that ask for them: (folder, their records)."""

    def run(*cells):
        keys = tuple(cell.key for cell in cells)
        if keys not in uninterrupted:
            folder = tmp_path_factory.mktemp("uninterrupted") / "whole"
            records, steps = attempt(folder, *cells)
            assert steps == [0, 1, 2, 3, 4, 5]
            uninterrupted[keys] = folder, records
        return uninterrupted[keys]

    return run


@pytest.fixture
def attempt(monkeypatch, bench, tiny_codec_file):
    """Run a pack until it ends or dies: its records by key, and the steps that it trained."""
    # Several steps a point: the window of an unfinished point has to go on, too.
    monkeypatch.setattr("trainables.member.CURVE_POINTS", 2)

    def run(folder, *cells, dies_at=None, seconds=0.0, noticed_at=None):
        worker = LocalWorker(folder)
        draws = Draws(worker, dies_at, noticed_at)
        monkeypatch.setattr("trainables.adaptation.draw_batch", draws)
        torch.manual_seed(len(str(folder)))
        records = {}
        try:
            for record in run_pack(cells, bench, worker, seconds):
                records[record.key] = record
        except KeyboardInterrupt:
            assert dies_at is not None
        except Leaving:
            assert noticed_at is not None
        return records, sorted(set(draws.steps))

    return run


@pytest.fixture
def same(bench):
    """Assert that two runs of cells made the same adapters and told the same of them."""

    def check(cells, folders, records):
        for cell in cells:
            first, second = (given[cell.key] for given in records)
            told = ("train/steps_per_second", "adapter/file_bytes")
            assert first.error is None
            assert {k: v for k, v in first.metrics.items() if k not in told} == {
                k: v for k, v in second.metrics.items() if k not in told
            }
            assert first.curve == second.curve
            files = [folder / "adapters" / f"{cell.key}.safetensors" for folder in folders]
            hashes = {load_adapter(f, bench.codec)[1]["adapter_hash"] for f in files}
            assert len(hashes) == 1, cell.hyperparameters.method

    return check


def states(folder):
    return {p.name for p in (folder / "checkpoints").glob("*")}


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_pack_that_died_goes_on_as_if_it_never_had(tmp_path, cell, attempt, whole, same):
    cells = [cell(method) for method in KINDS]
    folder, expected = whole(*cells)
    died, steps = attempt(tmp_path / "parts", *cells, dies_at=4)
    assert (died, steps) == ({}, [0, 1, 2, 3])
    resumed, steps = attempt(tmp_path / "parts", *cells)
    assert steps == [4, 5], "steps before the checkpoint were repeated"
    same(cells, (folder, tmp_path / "parts"), (expected, resumed))
    assert {r.resumed_step for r in expected.values()} == {0}
    assert {r.resumed_step for r in resumed.values()} == {4}


@pytest.mark.parametrize("step", [3, 5])
def test_a_pack_whose_machine_leaves_goes_on_from_that_very_step(
    tmp_path, cell, attempt, whole, same, step
):
    """Also from its last step, to its evaluation; no state was due."""
    cells = [cell(method) for method in KINDS]
    folder, expected = whole(*cells)
    left, steps = attempt(tmp_path / "parts", *cells, seconds=3600, noticed_at=step)
    assert (left, steps) == ({}, list(range(step + 1)))
    resumed, steps = attempt(tmp_path / "parts", *cells, seconds=3600)
    assert steps == list(range(step + 1, 6)), "a step was trained twice"
    same(cells, (folder, tmp_path / "parts"), (expected, resumed))
    assert {r.resumed_step for r in resumed.values()} == {step + 1}


def test_a_full_disk_keeps_a_pack_on_a_machine_that_leaves(tmp_path, cell, attempt, monkeypatch):
    """What was trained is lost with the machine, and not before."""

    def full(*given):
        raise StorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("interfero.engine.checkpoints.save_state", full)
        left, steps = attempt(tmp_path, cell("lora"), seconds=3600, noticed_at=5)
    assert steps == [0, 1, 2, 3, 4, 5]
    assert [record.status for record in left.values()] == ["finished"]


def test_a_fused_pack_that_died_goes_on_as_if_it_never_had(tmp_path, cell, attempt, whole, same):
    """In the same company: the same bits, states of each member apart."""
    cells = [cell("cawf", rate=rate, fused=True) for rate in (1e-3, 2e-3, 3e-3)]
    folder, expected = whole(*cells)
    died, steps = attempt(tmp_path / "parts", *cells, dies_at=4)
    assert (died, steps) == ({}, [0, 1, 2, 3])
    assert {f"{c.key}.safetensors" for c in cells} <= states(tmp_path / "parts")
    resumed, steps = attempt(tmp_path / "parts", *cells)
    assert steps == [4, 5]
    same(cells, (folder, tmp_path / "parts"), (expected, resumed))
    assert {r.fused_members for r in (*expected.values(), *resumed.values())} == {3}


def test_a_fused_cell_goes_on_beside_cells_that_begin(tmp_path, cell, attempt, whole):
    """It steps alone until it is asked for again, and is known to rounding."""
    cells = [cell("cawf", rate=rate, fused=True) for rate in (1e-3, 2e-3, 3e-3)]
    _, uncut = whole(*cells)
    attempt(tmp_path / "parts", *cells[:2], dies_at=4)
    resumed, steps = attempt(tmp_path / "parts", *cells)
    assert steps == [0, 1, 2, 3, 4, 5]
    assert [r.resumed_step for r in resumed.values()] == [4, 4, 0]
    assert [r.fused_members for r in resumed.values()] == [3, 3, 3]
    for one in cells:
        expected = uncut[one.key].metrics["target/rd_loss"]
        assert resumed[one.key].metrics["target/rd_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path, cell, attempt, whole, same, caplog
):
    one = cell("finetune")
    folder, expected = whole(one)
    attempt(tmp_path / "parts", one, dies_at=4)
    damage(tmp_path / "parts" / "checkpoints" / f"{one.key}.safetensors")
    resumed, steps = attempt(tmp_path / "parts", one)
    assert steps == [3, 4, 5]
    assert "is damaged" in caplog.text
    same([one], (folder, tmp_path / "parts"), (expected, resumed))


def test_without_a_whole_checkpoint_it_starts_again(tmp_path, cell, attempt, whole, same):
    one, other = cell("lora"), cell("finetune")
    folder, expected = whole(one)
    attempt(tmp_path / "parts", one, other, dies_at=4)
    kept = tmp_path / "parts" / "checkpoints"
    damage(kept / f"{one.key}.safetensors")
    # Whole, but of another cell.
    (kept / f"{other.key}.safetensors").replace(kept / f"{one.key}.before.safetensors")
    resumed, steps = attempt(tmp_path / "parts", one)
    assert steps == [0, 1, 2, 3, 4, 5]
    same([one], (folder, tmp_path / "parts"), (expected, resumed))


def test_members_of_a_new_pack_go_on_each_from_its_own_step(tmp_path, cell, attempt, same):
    first, second, new = cell("finetune"), cell("finetune", rate=1e-3), cell("lora")
    cells = [first, second, new]
    whole, _ = attempt(tmp_path / "whole", *cells)
    attempt(tmp_path / "parts", first, dies_at=5)
    attempt(tmp_path / "parts", second, dies_at=2)
    resumed, steps = attempt(tmp_path / "parts", second, first)
    assert steps == [2, 3, 4, 5]
    assert [resumed[c.key].resumed_step for c in (first, second)] == [5, 2]
    resumed |= attempt(tmp_path / "parts", new)[0]
    same(cells, (tmp_path / "whole", tmp_path / "parts"), (whole, resumed))


def test_a_member_that_had_failed_stays_failed(tmp_path, cell, attempt):
    good, bad = cell("finetune"), cell("finetune", rate=0.9)
    whole, _ = attempt(tmp_path / "whole", bad, good)
    assert [r.status for r in whole.values()] == ["failed", "finished"]
    attempt(tmp_path / "parts", bad, good, dies_at=5)
    resumed, steps = attempt(tmp_path / "parts", bad, good)
    assert steps == [5]
    assert resumed[bad.key].status == "failed"
    assert resumed[bad.key].error == whole[bad.key].error
    assert resumed[bad.key].curve == whole[bad.key].curve
    alone, steps = attempt(tmp_path / "parts", bad)
    assert (alone[bad.key].error, steps) == (whole[bad.key].error, [])


def test_an_evaluation_that_died_repeats_no_training(
    tmp_path, cell, attempt, whole, same, monkeypatch
):
    one = cell("lora")
    folder, expected = whole(one)
    with monkeypatch.context() as patched:

        def die(*given):
            raise KeyboardInterrupt

        patched.setattr("trainables.finishing.evaluate", die)
        attempt(tmp_path / "parts", one, dies_at=-1)
    resumed, steps = attempt(tmp_path / "parts", one)
    assert steps == []
    same([one], (folder, tmp_path / "parts"), (expected, resumed))


def test_a_disk_that_takes_no_checkpoint_costs_no_cell(tmp_path, cell, attempt, caplog):
    one = cell("finetune")
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        records, _ = attempt(tmp_path, one)
    assert records[one.key].status == "finished"
    assert f"{one.key} trains on without a checkpoint" in caplog.text
    assert "free the disk" in caplog.text


def test_short_cells_write_no_checkpoint(tmp_path, cell, attempt):
    one = cell("finetune")
    assert attempt(tmp_path, one, seconds=60.0)[0][one.key].status == "finished"
    assert not (tmp_path / "checkpoints").exists()


def test_a_shared_training_may_be_stopped_as_well(tmp_path, cell, attempt, same):
    """Another target takes over what was trained on the source alone, in two parts."""
    one = cell("continue_source")
    block = one.block.model_copy(update={"domain": "another"})
    identity = one.identity.model_copy(update={"domain_hash": "1"})
    other = one.model_copy(update={"block": block, "identity": identity})
    # Shared trainings lie beside the sweeps: two storages.
    first, second = tmp_path / "one" / "whole", tmp_path / "two" / "parts"
    whole, _ = attempt(first, other)
    attempt(second, one, dies_at=4)
    assert attempt(second, one)[1] == [4, 5]
    taken, steps = attempt(second, other)
    assert steps == []
    same([other], (first, second), (whole, taken))
    assert {f"{one.key}.safetensors", f"{one.key}.before.safetensors"} == states(second)


def test_a_cell_that_was_stopped_early_stays_stopped(tmp_path, bench, cell, monkeypatch):
    one = cell("finetune")

    def worker():
        return LocalWorker(tmp_path, rungs=(2, 4), stop_after=1)

    def die(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # Killed behind the checkpoint of the step and before the record.
        patched.setattr("trainables.adaptation.finish", die)
        with pytest.raises(KeyboardInterrupt):
            list(run_pack([one], bench, worker(), 0.0))
    (record,) = run_pack([one], bench, worker(), 0.0)
    assert (record.status, record.stopped_at) == ("stopped", 2)
    assert record.metrics.keys() == {"val/rd_gain_percent"}
