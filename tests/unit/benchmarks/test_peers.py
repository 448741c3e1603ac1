"""The peers of the sweep benchmarks train interfero's cells, and their clocks count what they should."""

import pytest

from benchmarks._cells import make_cell, workbench
from benchmarks._training_script import train_cell
from benchmarks._trial import train, trial_of
from benchmarks.sweep_throughput import CORES, own_parts
from interfero.engine.adaptation.nodes import LoopConfig
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord, StepSetting, Timing


@pytest.fixture(scope="module")
def cell():
    loop = LoopConfig(
        num_steps=9, schedule="wsd", warmup_steps=2, batch_size=2, crop_size=64,
        max_source_images=1, max_target_images=1,
    )  # fmt: skip
    return make_cell(workbench(), loop, "lora", 4, 3e-3)


def test_the_plain_script_trains_the_cell_that_a_search_trains(cell, tmp_path):
    asked = []
    record = train(cell, tmp_path / "search", (1, 3), lambda step, gain: asked.append((step, gain)))
    (tmp_path / "script").mkdir()
    metrics = train_cell(cell, None, tmp_path / "script", lambda step, values: None)
    assert [step for step, _ in asked] == [1, 3]
    assert record.status == "finished"
    gain = record.metrics[VALIDATION_GAIN]
    # One Adam is fused and the other is not: the last bits differ.
    assert metrics[VALIDATION_GAIN] == pytest.approx(gain, rel=1e-3)
    found = trial_of(cell, 9, record.metrics)
    assert (found.gain_percent, found.question.num_steps) == (gain, 9)


def test_a_search_stops_a_cell_at_a_rung(cell, tmp_path):
    record = train(cell, tmp_path, (1, 3), lambda step, gain: step >= 3)
    assert (record.status, record.stopped_at) == ("stopped", 3)


def test_what_cells_share_is_no_overhead_of_the_engine():
    setting = StepSetting(
        machine="m", codec="c", device="cpu", precision="float32", threads=1, batch_size=8,
        crop_size=128,
    )  # fmt: skip
    timing = Timing(
        setting=setting, method="lora", adapter_size=4, num_steps=9, step_seconds=0.1,
        pack_step_seconds=0.0, coding_seconds=2.0, validation_seconds=1.0,
    )  # fmt: skip
    cells = [
        CellRecord(
            key=str(i), params={}, status="finished", seconds=10.0, started_at=104.0 + i,
            timing=timing,
        )
        for i in range(2)
    ]  # fmt: skip
    shared = [CellRecord(key="reference-1", params={}, status="finished", seconds=5.0)]
    parts = own_parts(cells, shared, 100.0, 50.0)
    assert parts["overhead_percent"] == pytest.approx(100 * (1 - 25 / CORES / 50))
    assert parts["start_s"] == 4.0
    assert parts["parts"] == {"training": 7.0, "source": 2.5, "evaluation": 3.0, "start": 2.0}
