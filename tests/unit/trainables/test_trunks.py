"""A longer training goes on from where a shorter one began to cool down, and ends as if it had not."""

import pytest
import torch

from interfero.adaptation import load_adapter
from interfero.domains.batches import draw_batch
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.worker import LocalWorker
from trainables.adaptation import run_pack

KINDS = ("finetune", "lora", "ewc", "continue_source")
"""A copy, a branch, one that prepares, and one that never sees the target."""
SHORT, LONG = 5, 10
TRUNK = SHORT - 1
"""Steps before the short one's cool-down, a fifth."""


@pytest.fixture
def budgets(cell):
    """Cells of both lengths."""

    def build(*methods, **loop):
        given = {"schedule": "wsd", "warmup_steps": 2} | loop
        return [[cell(m, num_steps=n, **given) for m in methods] for n in (SHORT, LONG)]

    return build


@pytest.fixture
def attempt(monkeypatch, bench):
    """Train cells, and say at which steps batches were drawn; the process may die before one of them."""

    def run(folder, cells, *, continued=False, dies_at=None, seconds=60.0):
        steps = []

        def draw(samples, *, step, label="", **given):
            if not label:
                if step == dies_at:
                    raise KeyboardInterrupt
                steps.append(step)
            return draw_batch(samples, step=step, label=label, **given)

        monkeypatch.setattr("trainables.adaptation.draw_batch", draw)
        torch.manual_seed(len(str(folder)))
        keys = frozenset(c.key for c in cells) if continued else frozenset()
        records = []
        try:
            records = list(run_pack(cells, bench, LocalWorker(folder), seconds, keys))
        except KeyboardInterrupt:
            assert dies_at is not None
        return records, sorted(set(steps))

    return run


def trunks(folder):
    return sorted(p.name for p in (folder / "checkpoints").glob("trunk-*"))


def hashes(folder, cells, bench):
    files = [folder / "adapters" / f"{c.key}.safetensors" for c in cells]
    return [load_adapter(f, bench.codec)[1]["adapter_hash"] for f in files]


def test_the_longer_training_is_the_same_to_the_bit(tmp_path, budgets, attempt, bench):
    short, long = budgets(*KINDS)
    first, steps = attempt(tmp_path / "s" / "a", short, continued=True)
    assert steps == list(range(SHORT))
    assert len(trunks(tmp_path / "s" / "a")) == len(KINDS)
    second, steps = attempt(tmp_path / "s" / "a", long)
    assert steps == list(range(TRUNK, LONG)), "steps of the trunk were repeated"
    alone, steps = attempt(tmp_path / "t" / "b", long)
    assert steps == list(range(LONG))
    assert [r.error for r in (*first, *second, *alone)] == [None] * (3 * len(KINDS))
    assert hashes(tmp_path / "s" / "a", long, bench) == hashes(tmp_path / "t" / "b", long, bench)
    told = ("train/steps_per_second", "adapter/file_bytes")
    for one, other in zip(second, alone, strict=True):
        assert {k: v for k, v in one.metrics.items() if k not in told} == {
            k: v for k, v in other.metrics.items() if k not in told
        }
        assert one.curve[-1] == other.curve[-1]
        assert (one.resumed_step, one.curve[0][0]) == (0, 1), "it was never interrupted"
    assert hashes(tmp_path / "s" / "a", short, bench) != hashes(tmp_path / "t" / "b", long, bench)


def test_a_longer_training_that_dies_goes_on_from_its_own_state(tmp_path, budgets, attempt, bench):
    short, long = budgets("finetune")
    attempt(tmp_path / "s", short, continued=True)
    attempt(tmp_path / "s", long, dies_at=7, seconds=0.0)
    (resumed,), steps = attempt(tmp_path / "s", long)
    assert (steps, resumed.resumed_step) == ([7, 8, 9], 7)
    attempt(tmp_path / "t", long)
    assert hashes(tmp_path / "s", long, bench) == hashes(tmp_path / "t", long, bench)


def test_a_damaged_trunk_is_left_out(tmp_path, budgets, attempt, bench):
    short, long = budgets("lora")
    attempt(tmp_path / "s", short, continued=True)
    (state,) = (tmp_path / "s" / "checkpoints").glob("trunk-*")
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(bytes(data))
    _, steps = attempt(tmp_path / "s", long)
    assert steps == list(range(LONG))
    attempt(tmp_path / "t", long)
    assert hashes(tmp_path / "s", long, bench) == hashes(tmp_path / "t", long, bench)


def test_a_trunk_past_the_cool_down_is_not_for_a_shorter_training(tmp_path, budgets, attempt):
    short, long = budgets("lora")
    attempt(tmp_path / "s", long, continued=True)
    _, steps = attempt(tmp_path / "s", short)
    assert steps == list(range(SHORT))


def test_trunks_are_kept_only_for_those_that_go_on_and_go_at_last(tmp_path, budgets, attempt):
    short, _ = budgets("lora")
    attempt(tmp_path / "s", short)
    assert trunks(tmp_path / "s") == []
    attempt(tmp_path / "s", short, continued=True)
    assert len(trunks(tmp_path / "s")) == 1
    Checkpoints(tmp_path / "s").delete_trunks()
    assert trunks(tmp_path / "s") == []


def test_a_cosine_has_no_trunk(tmp_path, budgets, attempt):
    short, long = budgets("lora", schedule="cosine")
    attempt(tmp_path / "s", short, continued=True)
    assert trunks(tmp_path / "s") == []
    assert attempt(tmp_path / "s", long)[1] == list(range(LONG))


def test_other_learning_rates_and_methods_have_other_trunks(budgets, cell):
    wsd = {"schedule": "wsd"}
    (short,), (long,) = budgets("lora")
    others = [
        cell("finetune", **wsd),
        cell("lora", rate=1e-3, **wsd),
        cell("lora", **wsd, crop_size=128),
    ]
    assert short.trunk_key == long.trunk_key
    assert len({short.trunk_key, *(c.trunk_key for c in others)}) == 4
    assert short.key != long.key
