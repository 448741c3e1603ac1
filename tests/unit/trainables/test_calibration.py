"""Times of real steps of a tiny codec, and what a plan makes of them."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from interfero.engine.adaptation import calibration, precision
from interfero.engine.adaptation.calibration import calibrate, step_seconds
from interfero.engine.adaptation.cost import CostModel
from interfero.engine.adaptation.estimating import estimate_plan
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.nodes import Cell, Train
from interfero.engine.adaptation.plan import make_plan
from interfero.engine.adaptation.precision import PrecisionChoice, stored_choice
from interfero.engine.measurements import Measurements
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import run_sweep
from interfero.engine.timing import machine_name
from interfero.tracking.tracker import Tracker
from sweeps.adapter_capacity import SWEEP
from trainables.runner import Runner

LITTLE = [
    "--num-steps", "50", "--crop-size", "64", "--batch-size", "2", "--max-source-images", "2",
    "--max-target-images", "2", "--methods", "finetune", "cawf", "continue_source",
    "--adapter-sizes", "1", "4",
]  # fmt: skip


@pytest.fixture(scope="module")
def arguments(tiny_codec_file, image_folder, other_image_folder):
    return [
        "--source", str(tiny_codec_file), "--domains", f"thing={image_folder}",
        "--source-domain", f"other={other_image_folder}", *LITTLE,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def plan(tiny_codec_file, image_folder, other_image_folder):
    options = AdaptationOptions(
        source=str(tiny_codec_file), domains=(f"thing={image_folder}",),
        source_domain=f"other={other_image_folder}", methods=("finetune", "cawf", "continue_source"),
        adapter_sizes=(1, 4), num_steps=50, crop_size=64, batch_size=2, max_source_images=2,
        max_target_images=2, max_concurrent=1,
    )  # fmt: skip
    return make_plan(load(options), "loop", PrecisionChoice("float32", "as asked for"))


@pytest.fixture(scope="module")
def timings(plan):
    return calibrate(plan, Runner.of_adaptation(plan))


def dry_run(arguments, storage, *more):
    shown = io.StringIO()
    given = [*arguments, "--storage", str(storage), "--dry-run", *more]
    assert run_sweep(SWEEP, given, Console(file=shown, width=200)) == 0
    return shown.getvalue()


def test_each_method_is_timed_at_its_smallest_and_largest(timings):
    assert [(t.method, t.adapter_size) for t in timings] == [
        ("finetune", 0), ("finetune", 0), ("cawf", 1), ("cawf", 4),
        ("continue_source", 0), ("continue_source", 0),
    ]  # fmt: skip


def test_times_are_of_real_work(timings, plan):
    for timing in timings:
        assert timing.setting == plan.setting
        assert timing.num_steps == calibration.STEPS
        for name in ("step_seconds", "pack_step_seconds", "coding_seconds", "validation_seconds"):
            assert 0 < getattr(timing, name) < 60
    work = plan.work(plan.cells[0])
    assert {t.coded_megapixels for t in timings} == {work.coded}
    assert {t.validated_megapixels for t in timings} == {work.validated}
    # The source codec is evaluated for the first cell, and for no other of its pack.
    assert timings[0].reference_megapixels == pytest.approx(work.coded + work.validated)
    assert timings[1].reference_megapixels == timings[1].reference_seconds == 0


def test_the_estimate_is_the_sum_of_the_packs(timings, plan):
    packs = plan.packs(plan.cells)
    found = estimate_plan(plan, packs, Measurements(tuple(timings)))
    model = CostModel(timings, plan.setting)
    cells = sum(
        model.training(c).middle + model.evaluation(c, plan.work(c)).middle for c in plan.cells
    )
    # The control is trained by a node of its own, for all targets.
    firsts = [pack.nodes[0] for pack in packs]
    trained = [node.cell for node in firsts if isinstance(node, Train)]
    trained += [
        node
        for node in firsts
        if isinstance(node, Cell) and node.hyperparameters.method != "continue_source"
    ]
    shared = sum(model.shared(cell).middle for cell in trained)
    references = model.references(sum(plan.work(plan.cells[0]))).middle
    assert found.num_known == found.num_cells == len(plan.cells)
    assert found.pack_seconds.middle == pytest.approx(cells + shared + references)
    assert found.wall_seconds.middle == pytest.approx(
        cells + shared + references + found.start_up_seconds
    )
    assert min(cells, shared, references) > 0


def test_a_dry_run_alone_times_and_writes_nothing(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.adaptation._train", None)  # Any training would raise.
    # Where the machine has bfloat16, `auto` is measured: see TestPrecision.
    text = dry_run([*arguments, "--precision", "float32"], tmp_path / "storage")
    assert "cost: uncalibrated" in text
    assert not (tmp_path / "storage").exists()


def test_calibrated_times_are_known_to_the_next_dry_run(arguments, tmp_path):
    # `auto` measures anew, and may decide otherwise on a busy machine.
    arguments = [*arguments, "--precision", "float32", "--learning-rates", "1e-4", "1e-3"]
    first = dry_run(arguments, tmp_path, "--calibrate")
    assert "an estimate from 6 timed cells: 8 cells to train" in first
    assert sorted(p.name for p in tmp_path.iterdir()) == [".timings.json.lock", "timings.json"]
    again = dry_run(arguments, tmp_path)
    assert again.splitlines()[-2:] == first.splitlines()[-2:]
    # Another batch is another step: nothing is known of it.
    assert "without an estimate: " in dry_run([*arguments, "--batch-size", "3"], tmp_path)


def test_both_precisions_of_a_step_can_be_timed(plan):
    runner = Runner.of_adaptation(plan)
    for name in ("float32", "bfloat16"):
        assert 0 < step_seconds(plan, runner, name) < 60


def test_a_rate_at_which_training_diverges_stops_no_timing(plan):
    options = plan.options.model_copy(update={"learning_rates": (0.9,), "methods": ("finetune",)})
    diverging = replace(plan, options=options)
    runner = Runner.of_adaptation(diverging)
    assert 0 < step_seconds(diverging, runner, "float32") < 60
    assert [t.method for t in calibrate(diverging, runner)] == ["finetune"]


class TestPrecision:
    """On a machine that is said to compute bfloat16."""

    @pytest.fixture(autouse=True)
    def native(self, monkeypatch):
        monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
        monkeypatch.setattr(calibration, "has_bfloat16", lambda device: True)

    @pytest.fixture
    def timed(self, monkeypatch):
        asked = []

        def seconds(plan, runner, name):
            asked.append(name)
            return {"float32": 0.4, "bfloat16": 0.2}[name]

        monkeypatch.setattr(calibration, "step_seconds", seconds)
        return asked

    def test_a_dry_run_neither_measures_nor_decides(self, arguments, tmp_path, timed):
        assert "bfloat16: the machine has it; not timed" in dry_run(arguments, tmp_path / "new")
        assert timed == []
        assert not (tmp_path / "new").exists()

    def test_the_first_sweep_decides_and_later_ones_follow(self, arguments, tmp_path, timed):
        # Refused after the plan, so that nothing trains.
        once = [*arguments, "--storage", str(tmp_path), "--name", "one"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tracker, "open", _refuse)
            with pytest.raises(_Refused):
                run_sweep(SWEEP, once, Console(quiet=True))
        kept = stored_choice(tmp_path, machine_name("cpu"))
        assert kept == PrecisionChoice("bfloat16", "2.0x as fast here as float32")
        timed.clear()
        text = dry_run(arguments, tmp_path)
        assert "50 steps each in bfloat16" in text
        assert timed == []

    def test_what_is_asked_for_is_not_measured(self, arguments, tmp_path, timed):
        text = dry_run([*arguments, "--precision", "float32"], tmp_path)
        assert "float32: as asked for" in text
        assert timed == []


class _Refused(Exception):
    pass


def _refuse(*arguments, **named):
    raise _Refused
