"""The arithmetic of estimates, on records made up for it."""

import pytest

from interfero.engine.adaptation.cost import (
    CostModel,
    PackCost,
    Span,
    Work,
    estimate,
    makespan,
    pack_cost,
    reference_cost,
    span,
)
from interfero.engine.adaptation.nodes import LoopConfig, Reference, Train
from interfero.engine.packs import Pack
from interfero.engine.spending import PackShare
from interfero.engine.timing import StepClock
from interfero.records import StepSetting, Timing

SETTING = StepSetting(
    machine="cpu", codec="tiny 8x12", device="cpu", precision="float32", threads=1, batch_size=8,
    crop_size=128,
)  # fmt: skip


def timing(method="finetune", size=0, **changes):
    given = {
        "setting": SETTING, "method": method, "adapter_size": size, "num_steps": 10,
        "step_seconds": 0.2, "pack_step_seconds": 0.05, "prepare_seconds": 1.0,
        "coding_seconds": 6.0, "coded_megapixels": 3.0,
        "validation_seconds": 1.0, "validated_megapixels": 2.0,
        "reference_seconds": 4.0, "reference_megapixels": 2.0,
    }  # fmt: skip
    return Timing(**given | changes)


def test_a_cell_costs_its_steps_its_preparation_and_its_evaluation(cell):
    model = CostModel([timing()], SETTING)
    one = cell(num_steps=100)
    # 100 steps of 0.2 s, 1 s before them; 6 megapixels at 2 s and 4 at half a second.
    assert model.training(one) == pytest.approx(Span(21.0, 21.0, 21.0))
    work = Work(coded=6.0, validated=4.0)
    assert model.evaluation(one, work) == pytest.approx(Span(14.0, 14.0, 14.0))
    assert model.shared(cell(num_steps=100)) == pytest.approx(Span(5.0, 5.0, 5.0))
    assert model.references(3.0) == pytest.approx(Span(6.0, 6.0, 6.0))


def test_what_a_pack_shares_is_paid_once(cell):
    cells = tuple(cell(num_steps=100, learning_rate=rate) for rate in (1e-4, 1e-3, 1e-2))
    cost = pack_cost(Pack(nodes=cells), CostModel([timing()], SETTING), lambda c: Work(6.0, 4.0))
    assert cost.total.middle == pytest.approx(3 * 35 + 5)


def test_a_training_of_several_targets_is_paid_once_and_its_cells_cost_their_evaluation(cell):
    one = cell(method="continue_source", num_steps=100)
    model = CostModel([timing("continue_source")], SETTING)

    def cost(node):
        return pack_cost(Pack(nodes=(node,)), model, lambda c: Work(3.0, 0.0)).total.middle

    assert cost(one) == pytest.approx(6.0)
    # 100 steps, what is before them, and the drawing of batches; no evaluation.
    assert cost(Train(cell=one)) == pytest.approx(20 + 1 + 5)


def test_a_shared_training_whose_like_was_never_timed_is_unknown(cell):
    one = cell(method="continue_source", num_steps=100)
    model = CostModel([timing("finetune")], SETTING)
    for node in (one, Train(cell=one)):
        assert pack_cost(Pack(nodes=(node,)), model, lambda c: Work(3.0, 0.0)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": "another"}, {"codec": "large 192x320"}, {"precision": "bfloat16"},
        {"threads": 2}, {"batch_size": 4}, {"crop_size": 64}, {"device": "cuda"}, {"workers": 2},
    ],
)  # fmt: skip
def test_times_of_another_setting_say_nothing(cell, changes):
    other = SETTING.model_copy(update=changes)
    model = CostModel([timing(setting=other)], SETTING)
    assert model.training(cell()) is None
    assert model.num_timings == 0
    evaluates_alike = {"precision", "batch_size", "crop_size", "workers"} & changes.keys()
    evaluated = model.evaluation(cell(), Work(1.0, 1.0))
    # Evaluation is always in float32 on the CPU, by one process, on whole images.
    assert (evaluated is not None) == bool(evaluates_alike)


def test_times_of_another_method_say_nothing(cell):
    model = CostModel([timing("cawf", 2)], SETTING)
    assert model.training(cell()) is None
    assert model.evaluation(cell(), Work(1.0, 1.0)) is None


def test_sizes_between_measured_ones_lie_between_them(cell):
    model = CostModel(
        [timing("cawf", 2, step_seconds=0.2), timing("cawf", 8, step_seconds=0.8)], SETTING
    )

    def steps(size):
        one = cell(method="cawf", adapter_size=size, num_steps=10)
        return model.training(one).middle - 1.0

    assert [steps(s) for s in (1, 2, 4, 8, 16)] == pytest.approx([2.0, 2.0, 4.0, 8.0, 8.0])


def test_a_spread_holds_the_middle_eight_tenths():
    assert span([1.0]) == (1.0, 1.0, 1.0)
    assert span(list(range(11))) == pytest.approx((1.0, 5.0, 9.0))


@pytest.mark.parametrize(
    ("jobs", "at_once", "end"),
    [
        ([], 2, 0.0),
        ([3.0], 2, 3.0),
        ([3.0, 2.0, 2.0], 2, 4.0),
        ([2.0, 2.0, 3.0], 2, 5.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 1, 15.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 3, 5.0),
    ],
)
def test_the_last_job_ends_when_a_list_schedule_says(jobs, at_once, end):
    assert makespan(jobs, at_once) == end


def test_no_worker_is_no_schedule():
    with pytest.raises(ValueError, match="at least 1 worker"):
        makespan([1.0], 0)


def test_an_estimate_is_the_sum_and_the_schedule_of_its_packs(cell):
    def pack(count, seconds, method="finetune"):
        cells = tuple(cell(method=method, init_seed=i) for i in range(count))
        each = Span(seconds * 0.9, seconds, seconds * 1.2)
        return Pack(nodes=cells), PackCost(Span(1.0, 1.0, 1.0), (each,) * count)

    unknown = pack(2, 1.0, "ewc")[0], None
    model = CostModel([timing()], SETTING)
    look = Pack.of([Reference(codec_hash="c", rd_lambda=0.013, domain="thing", domain_hash="d",
                              num_images=8, data_seed=0, code="l")])  # fmt: skip
    found = estimate(
        [(look, reference_cost(2.0, model)), pack(3, 10.0), pack(2, 10.0), pack(1, 10.0), unknown],
        at_once=2, share=PackShare(2.0, 0.0), num_timings=4, start_up_seconds=12.0,
    )  # fmt: skip
    assert (found.num_cells, found.num_known, found.unknown) == (8, 6, {"ewc": 2})
    # Packs of 31, 21 and 11 s and 4 s for the source codec.
    assert found.pack_seconds.middle == pytest.approx(31 + 21 + 11 + 4)
    # One worker looks for 4 s, then takes the second pack and, 25 s after the start, the third.
    assert found.wall_seconds.middle == pytest.approx(4 + 21 + 11 + 12)
    assert found.wall_seconds.low == pytest.approx(4 + 19 + 10 + 12)
    assert found.wall_seconds.low < found.wall_seconds.middle < found.wall_seconds.high


def test_nothing_to_train_costs_nothing():
    found = estimate([], at_once=2, share=PackShare(1.0, 0.0), num_timings=3)
    assert found.pack_seconds == found.wall_seconds == (0.0, 0.0, 0.0)


def test_the_first_of_several_steps_is_left_out_of_the_mean():
    clock = StepClock()
    assert clock.mean == 0
    clock.add(5.0)
    assert clock.mean == 5
    clock.add(1.0)
    clock.add(2.0)
    assert clock.mean == 1.5


def test_a_timing_survives_its_file():
    assert Timing.model_validate_json(timing().model_dump_json()) == timing()
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        timing(step_seconds=-1.0)


def test_settings_follow_the_loop():
    assert LoopConfig(num_steps=1).crop_size == SETTING.crop_size
