"""The description in the MLflow UI: answer, table, command; never longer than MLflow keeps."""

import pytest

from interfero.analysis.best import best_adapters
from interfero.analysis.capacity_table import capacity_rows
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.headline import headline
from interfero.analysis.note import sweep_note
from interfero.analysis.report.sections import best_parts
from interfero.tracking.summary import TEXT_LIMIT as MAX_CHARACTERS

QUESTION = "How much adapter capacity does a new domain need?"
COMMAND = "python sweeps/adapter_capacity.py --domains text charts"


def note(records, **given):
    arguments = {
        "command": COMMAND,
        "question": QUESTION,
        "seeds": {"data": (0,), "init": (0,)},
        "versions": {"torch": "2.15.0", "compressai": "1.2.8"},
        "answer": headline(records).sentences,
        "sure": headline(records).how_sure,
        "limit": MAX_CHARACTERS,
    }
    return sweep_note(records, **{**arguments, **given})


def test_question_answer_table_and_command_are_there(sweep):
    records = sweep(domains=("text", "charts"))
    text = note(records)
    assert QUESTION in text
    assert all(line in text for line in headline(records).lines)
    assert f"\n    {COMMAND}\n" in text
    assert "illustration, n = 1 seed" in text
    assert "Seeds: data 0; init 0." in text
    assert "Versions: compressai 1.2.8, torch 2.15.0." in text


def test_the_table_has_every_chosen_cell_and_equal_columns(sweep):
    records = sweep(domains=("text", "charts"), seeds=(0, 1))
    rows = [line for line in note(records).splitlines() if line.startswith("|")]
    header, expected = capacity_rows(records)
    assert len(rows) == 2 + len(expected)
    assert {row.count("|") for row in rows} == {len(header) + 1}
    assert "n = 2 seeds" in note(records)
    assert "illustration" not in note(records)


def test_a_long_table_keeps_the_best_sizes(sweep):
    domains = tuple(f"domain-with-a-long-name-{i}" for i in range(12))
    text = note(sweep(domains=domains))
    assert len(text) <= MAX_CHARACTERS
    assert "Adapter size with the best validation for each method:" in text
    assert all(f"| {domain} |" in text for domain in domains)
    assert COMMAND in text


def test_a_longer_one_says_what_is_left_out(sweep):
    domains = tuple(f"d{i}" for i in range(60))
    text = note(sweep(domains=domains, rates=(1e-3,)))
    assert len(text) <= MAX_CHARACTERS
    assert "more rows are in `cells.parquet`" in text
    assert COMMAND in text


def test_nothing_is_longer_than_mlflow_keeps(sweep):
    text = note(sweep(domains=("text",)), command="x" * 20_000)
    assert len(text) <= MAX_CHARACTERS
    assert "x ..." in text
    assert QUESTION in text


def test_nothing_finished_is_said(sweep, fail):
    assert "No cell finished" in note([fail(r) for r in sweep(domains=("text",))])
    assert "No cell finished" in note([])


def test_the_best_adapter_of_each_domain_is_named_and_linked(sweep):
    records = sweep(domains=("text", "charts"))
    best = best_adapters(records)
    key = best[0].record.key
    text = note(records, best=best, link=lambda run, file: f"#/{run}/{file}")
    assert f"- charts: [cawf 16, learning rate 0.0003](#/{key}/); gain " in text
    assert f"[adapter file](#/{key}/adapter/{key}.safetensors)" in text
    assert "[report.html](#/None/report.html)" in text
    assert f"(cell {key})" in note(records, best=best)


def test_an_adapter_that_loses_on_test_images_is_not_praised(sweep):
    """Validation chose it; whoever deploys must know that the source codec codes the test images better."""
    records = sweep(domains=("text", "charts"))
    worse = [
        r.model_copy(update={"metrics": {**r.metrics, "target/rd_gain_percent": -1.0}})
        if r.params["domain"] == "text"
        else r
        for r in records
    ]
    text = note(worse, best=best_adapters(worse))
    lines = {line.split(":")[0]: line for line in text.splitlines() if "on test" in line}
    assert "the source codec is better" in lines["- text"]
    assert "the source codec is better" not in lines["- charts"]
    ((_, (_, (table, _))),) = best_parts(worse, RunLinks())
    place = table[1].header.index("gain (%)")
    gains = {row[0]: row[place] for row in table[1].rows}
    assert gains["text"] == "-1.00 (the source codec is better)"


@pytest.mark.parametrize("domains", [1, 60])
def test_answer_picture_and_command_come_first_whatever_the_number_of_cells(sweep, domains):
    records = sweep(domains=tuple(f"domain-{i}" for i in range(domains)), rates=(1e-3,))
    link = lambda run, file: f"#/experiments/1/runs/{run or 'abc'}" + (f"/{file}" if file else "")  # noqa: E731
    text = note(records, link=link, picture="overview.png", best=best_adapters(records))
    assert len(text) <= MAX_CHARACTERS
    lines = headline(records).sentences
    assert 1 <= len(lines) <= 3
    places = [text.index(part) for part in (
        QUESTION, *lines, "](get-artifact?path=overview.png&run_uuid=abc)", f"    {COMMAND}", "Seeds:",
        "**How sure that is**",
    )]  # fmt: skip
    assert places == sorted(places)
    assert places[-3] < 1500
