import pytest

from interfero.analysis import series
from interfero.analysis.series import metric_lines


def test_lines_over_size_and_rate_are_the_tables_numbers(sweep):
    records = sweep(("text",), lambdas=(0.0067, 0.025), rates=(1e-3,))
    lines = metric_lines(records)
    gains = {
        int(r.params["adapter_size"]): r.metrics["target/rd_gain_percent"]
        for r in records
        if r.params["method"] == "cawf" and r.params["rd_lambda"] == 0.0067
    }
    line = lines["gain_percent_by_adapter_size/text cawf lambda0.0067"]
    assert [step for step, _ in line] == sorted(gains)
    assert dict(line) == pytest.approx(gains)
    assert "forgetting_unrouted_percent_by_adapter_size/text cawf lambda0.025" in lines
    assert not any("continue_source" in name for name in lines), "the control adapts to no target"
    rates = lines["psnr_db_by_millibits/text finetune"]
    assert len(rates) == 2
    assert all(isinstance(step, int) and step > 10 for step, _ in rates)
    assert len(lines["psnr_db_by_millibits/text source codec"]) == 2


def test_one_point_is_no_line(sweep):
    records = [r for r in sweep(("text",), rates=(1e-3,)) if r.params["adapter_size"] in (0, 4)]
    assert metric_lines(records) == {}


def test_too_many_lines_are_left_to_the_report(sweep, monkeypatch):
    monkeypatch.setattr(series, "MAX_LINES", 1)
    records = sweep(("text", "charts"), rates=(1e-3,))
    assert metric_lines(records) == {}
