"""The comparison of sweeps with other searches, without training: what runs, what is judged, what is said."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from benchmarks import _hyperband
from benchmarks._answers import ArmRun, Question, Trial, keep
from benchmarks._asha import STEP, AshaByQuestion, in_turns
from benchmarks._price import START_S, fewest, price
from benchmarks._trial import question_of, rungs_of
from benchmarks.sweep_throughput import CORES
from benchmarks.time_to_answer import TimeToAnswer, ratio, recall, report, task_of
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.errors import ConfigError
from interfero.metrics.names import GAIN, VALIDATION_GAIN
from interfero.records import CellRecord

QUESTION = Question("text", "lora", 60)
RATES = (1e-3, 3e-3, 1e-2)
IDENTITY = Identity(
    codec="c", codec_hash="0", table_hash="0", domain_hash="0", source_domain="photos",
    source_domain_hash="0", loop_hash="0", versions={},
)  # fmt: skip


def cell(rate, num_steps=60, domain="text"):
    return Cell(
        block=Block(domain=domain, rd_lambda=0.013, num_images=5, data_seed=0),
        hyperparameters=Hyperparameters(method="lora", adapter_size=4, learning_rate=rate),
        loop=LoopConfig(num_steps=num_steps, schedule="wsd"),
        identity=IDENTITY,
    )


def grid(*num_steps):
    return [
        cell(rate, n, domain) for domain in ("text", "charts") for n in num_steps for rate in RATES
    ]


def arm_run(arm, seed, wall_s, rate=3e-3, gains=(1.0, 2.0, 1.5)):
    """A side that trained the whole grid, or only `rate`."""
    tried = zip(RATES, gains, strict=True)
    trials = [
        Trial(question=QUESTION, learning_rate=r, trained_steps=60, gain_percent=g)
        for r, g in tried
        if arm == "loop" or r == rate
    ]
    return ArmRun(
        arm=arm,
        data_seed=seed,
        settings={},
        wall_s=wall_s,
        cpu_s=0.0,
        trials=tuple(trials),
        machine={},
    )


def found(*runs):
    return {(one.arm, one.data_seed): one for one in runs}


def said(capsys, tmp_path, *runs):
    report(TimeToAnswer(folder=tmp_path, data_seeds=(0, 1)), found(*runs), Console(width=150))
    return capsys.readouterr().out


ALL = [
    arm_run(arm, seed, wall_s)
    for seed in (0, 1)
    for arm, wall_s in (("interfero", 10.0), ("loop", 50.0), ("asha", 30.0), ("hyperband", 30.0))
]


def test_only_sides_that_have_not_finished_are_run(tmp_path):
    keep(tmp_path, arm_run("loop", 0, 50.0))
    command = TimeToAnswer(folder=tmp_path, arms=("loop", "asha"))
    there, missing = recall(command, {0: {}, 1: {}})
    assert list(there) == [("loop", 0)]
    assert missing == [("asha", 0), ("loop", 1), ("asha", 1)]


def test_a_ratio_is_the_median_of_the_seeds_that_both_sides_have_answered():
    runs = [arm_run("interfero", s, 10.0) for s in (0, 1, 2)]
    runs += [arm_run("loop", 0, 40.0), arm_run("loop", 1, 60.0), arm_run("loop", 3, 1.0)]
    assert ratio(found(*runs), "loop", (0, 1, 2)) == 5.0
    assert ratio(found(*runs), "asha", (0, 1, 2)) is None


def test_faster_with_the_same_answers_is_ok(capsys, tmp_path):
    lines = said(capsys, tmp_path, *ALL).splitlines()
    assert lines[-1] == "time_to_answer: 5 x (target >= 4 x) ok"
    assert "time_to_answer_asha: 3 x (target >= 2 x) ok" in lines


def test_faster_with_another_answer_is_missed(capsys, tmp_path):
    worse = arm_run("interfero", 1, 10.0, rate=1e-2)
    lines = said(capsys, tmp_path, *ALL[:4], worse, *ALL[5:]).splitlines()
    assert "missed" in lines[-1]
    assert (
        "fewer of the full grid's answers than loop: 1 of 2 (interfero) and 2 of 2 (loop)"
        in lines[-1]
    )
    assert any(line.startswith("time_to_answer_asha: 3 x") and "missed" in line for line in lines)


def test_a_side_that_has_not_run_is_named(capsys, tmp_path):
    last = said(capsys, tmp_path, *ALL[:2]).splitlines()[-1]
    assert last.startswith("time_to_answer: 5 x")
    assert "asha or interfero has not been run" in last


def test_the_price_of_a_sweep_counts_shared_steps_once(tmp_path):
    command = TimeToAnswer(
        folder=tmp_path, domains=("text",), methods=("finetune",), num_steps=(20, 60)
    )
    plan = task_of(command, 1).plan
    assert len(plan.cells) == 6
    assert {c.block.data_seed for c in plan.cells} == {1}
    prices = {"finetune": 1.0, "evaluation": 100.0, "start": 10_000.0}
    # Three rates for 20 steps; two of them go on for 44, after the 16 before the cool-down.
    took = START_S + (3 * 20 + 2 * 44 + 5 * 100) / CORES
    assert price("interfero", plan, prices).seconds == pytest.approx((took, took))
    took = (3 * 20 + 3 * 60 + 6 * 10_100) / CORES
    assert price("loop", plan, prices).seconds == pytest.approx((took, took))


def test_a_method_that_the_plain_loop_cannot_train_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--methods replay"):
        task_of(TimeToAnswer(folder=tmp_path, methods=("replay",)), 0)


def test_the_least_that_halving_by_three_trains():
    # Rungs of 1,000 steps: 111 and 333, of 60: 6 and 18.
    steps, whole = fewest([cell(rate, 1000) for rate in RATES], "ninth")
    assert (sum(n for _, n in steps), whole) == (3 * 111 + 222 + 667, 1)
    steps, whole = fewest([cell(rate) for rate in (*RATES, 3e-2)], "ninth")
    assert (sum(n for _, n in steps), whole) == (4 * 6 + 2 * 12 + 42, 1)
    steps, whole = fewest([cell(rate) for rate in RATES], "third")
    assert (sum(n for _, n in steps), whole) == (3 * 18 + 42, 1)


def test_trials_of_one_question_are_apart_and_the_longest_come_first():
    cells = grid(60, 250)
    turns = in_turns(cells)
    assert sorted(c.key for c in turns) == sorted(c.key for c in cells)
    for start in range(0, 12, 4):
        assert len({question_of(c) for c in turns[start : start + 4]}) == 4
        assert [c.loop.num_steps for c in turns[start : start + 4]] == [250, 250, 60, 60]


def test_a_search_that_begins_at_a_third_has_one_rung_less():
    assert rungs_of(1000, "ninth") == (111, 333)
    assert rungs_of(1000, "third") == (333,)
    # Of two steps there is one rung at most.
    assert rungs_of(2, "third") == (1,)


def test_asha_compares_the_rates_of_one_question_only():
    scheduler = AshaByQuestion("ninth")
    trials = {
        c.key: SimpleNamespace(trial_id=c.key, config={"cell": c.model_dump_json()})
        for c in grid(60)
    }
    decided = {}
    for c in grid(60):
        # The rates of one domain gain less and less; all of charts gain less than all of text.
        gain = (100 if c.block.domain == "text" else 0) - 1000 * c.hyperparameters.learning_rate
        trial = trials[c.key]
        scheduler.on_trial_add(None, trial)
        told = {STEP: 6, VALIDATION_GAIN: gain}
        decided[c.block.domain, c.hyperparameters.learning_rate] = scheduler.on_trial_result(
            None, trial, told
        )
    assert [decided["charts", rate] for rate in RATES] == ["CONTINUE", "STOP", "STOP"]
    assert [decided["text", rate] for rate in RATES] == ["CONTINUE", "STOP", "STOP"]


def test_hyperband_tries_every_rate_and_prunes_some(monkeypatch, tmp_path):
    gains = dict(zip(RATES, (1.0, 2.0, 1.5), strict=True))

    def train(one, folder, rungs, at_rung):
        gain = gains[one.hyperparameters.learning_rate]
        assert rungs == (6, 18)
        for step in rungs:
            if at_rung(step, gain):
                return CellRecord(key=one.key, params={}, status="stopped")
        metrics = {VALIDATION_GAIN: gain, GAIN: gain}
        return CellRecord(key=one.key, params={}, status="finished", metrics=metrics)

    monkeypatch.setattr(_hyperband, "train", train)
    stopped = 0
    for num_steps in (59, 60, 61, 62):
        trials = _hyperband.search([cell(rate, num_steps) for rate in RATES], tmp_path, "ninth")
        assert sorted(t.learning_rate for t in trials) == sorted(RATES)
        for one in trials:
            whole = one.gain_percent is not None
            assert one.trained_steps == num_steps if whole else one.trained_steps in (6, 18)
            stopped += not whole
        assert max(t.gain_percent or 0 for t in trials) == pytest.approx(2.0)
    assert stopped
