"""The map as a tabular benchmark: every cell is a row of its task, and ten lines compare searches on it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from interfero import cli
from interfero.analysis.benchmark_table import write_benchmark
from interfero.errors import ConfigError
from interfero.store.files import read_json

PAGE = Path(__file__).resolve().parents[3] / "docs/tabular_benchmark.md"


def test_every_cell_is_a_row_of_its_task(sweep, fail, tmp_path):
    records = sweep(domains=("charts", "text"), seeds=(0, 1))
    records[0] = fail(records[0])
    write_benchmark(records, tmp_path)
    about = read_json(tmp_path / "metadata.json")
    assert about["task_names"] == ["charts-lambda0.0067-steps300", "text-lambda0.0067-steps300"]
    tables = {n: pd.read_parquet(tmp_path / f"data-{n}.parquet") for n in about["task_names"]}
    counted = [
        r for r in records if r.status == "finished" and r.params["method"] != "continue_source"
    ]
    assert sum(map(len, tables.values())) == len(counted)
    space = read_json(tmp_path / "configspace.json")
    (budget,) = read_json(tmp_path / "fidelityspace.json")
    index = [*space, budget, about["seed_col"]]
    for table in tables.values():
        assert set(table.columns) == {*index, *about["objectives_names"]}
        assert not table.duplicated(index).any()
        for name, domain in space.items():
            assert set(table[name]) <= set(domain["domain_kwargs"]["categories"])
    one = next(r for r in counted if r.params["domain"] == "text")
    table = tables["text-lambda0.0067-steps300"]
    (row,) = table[
        (table.method == one.params["method"]) & (table.learning_rate == one.params["learning_rate"])
        & (table.seed == 100 * one.params["data_seed"])
    ].itertuples()  # fmt: skip
    assert row.metric_val_gain_percent == one.metrics["val/rd_gain_percent"]
    assert row.metric_gain_percent == one.metrics["target/rd_gain_percent"]


def test_nothing_to_export_is_said(record, tmp_path):
    with pytest.raises(ConfigError, match="nothing to export"):
        write_benchmark([record("continue_source", metrics={"val/rd_gain_percent": 1.0})], tmp_path)


def test_the_example_of_the_page_runs_on_the_map_that_comes_along(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["interfero", "map", "export", "--out", "benchmark"])
    cli.main()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
    said = capsys.readouterr().out
    assert "12 tasks in benchmark" in said
    found = re.findall(
        r"^(\w+): ([\d.]+) points of gain below the best, (\d+) images", said, re.MULTILINE
    )
    images = {name: int(count) for name, _, count in found}
    assert images["random"] == images["TPE"] == 6 * 179
    assert images["halving"] < 6 * 179
