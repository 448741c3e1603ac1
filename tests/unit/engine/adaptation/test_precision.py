"""What `--precision auto` means, on machines that are made up."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from interfero.engine.adaptation import precision
from interfero.engine.adaptation.precision import (
    PrecisionChoice,
    choose_precision,
    keep_choice,
    stored_choice,
)


@pytest.fixture
def native(monkeypatch):
    """A machine that computes bfloat16."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)


def seconds(float32, bfloat16):
    return {"float32": float32, "bfloat16": bfloat16}.__getitem__


def never(asked):
    raise AssertionError("measured without need")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("half", "chosen", "reason"),
    [
        (0.1, "bfloat16", "2.1x as fast here as float32"),
        (0.2, "float32", "bfloat16 is no gain here: 1.05x as fast"),
        (2.1, "float32", "bfloat16 is no gain here: 0.10x as fast"),
    ],
)
def test_auto_takes_what_is_clearly_faster(half, chosen, reason):
    assert choose_precision("auto", "cpu", seconds(0.21, half)) == (chosen, reason)


@pytest.mark.usefixtures("native")
def test_a_machine_that_is_busy_for_a_while_decides_nothing():
    taken = iter([("float32", 0.21), ("bfloat16", 0.9), ("float32", 0.8), ("bfloat16", 0.1)])

    def time_step(asked):
        precision_of_turn, value = next(taken)
        assert asked == precision_of_turn
        return value

    assert choose_precision("auto", "cpu", time_step).precision == "bfloat16"


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_is_asked_for_is_never_measured(asked):
    assert choose_precision(asked, "cpu", never).precision == asked


def test_without_bfloat16_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    choice = choose_precision("auto", "cpu", never)
    assert choice.precision == "float32"
    assert "this processor has no bfloat16" in choice.reason


def test_a_gpu_elsewhere_cannot_be_asked(monkeypatch):
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: False)
    choice = choose_precision("auto", "cuda", never)
    assert choice.precision == "float32"
    assert "no GPU here" in choice.reason


def test_a_storage_decides_once_for_each_machine(tmp_path):
    first, second = PrecisionChoice("bfloat16", "2x"), PrecisionChoice("float32", "slow")
    assert stored_choice(tmp_path, "EPYC") is None
    assert keep_choice(tmp_path, "EPYC", first) == first
    assert keep_choice(tmp_path, "EPYC", second) == first
    assert keep_choice(tmp_path, "Xeon", second) == second
    assert stored_choice(tmp_path, "EPYC") == first
    assert stored_choice(tmp_path, "Xeon") == second


def test_sweeps_that_start_together_decide_the_same(tmp_path):
    choices = [PrecisionChoice(p, str(i)) for i, p in enumerate(4 * ["bfloat16", "float32"])]
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(lambda c: keep_choice(tmp_path, "EPYC", c), choices))
    assert len(set(kept)) == 1


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"EPYC": {"precision": "float8"}})])
def test_a_damaged_answer_is_no_answer(tmp_path, text):
    (tmp_path / precision.FILE).write_text(text)
    assert stored_choice(tmp_path, "EPYC") is None
    choice = PrecisionChoice("float32", "again")
    assert keep_choice(tmp_path, "EPYC", choice) == choice
