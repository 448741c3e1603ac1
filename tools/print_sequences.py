"""What each method came to after the last domain, as Markdown: `python tools/print_sequences.py CELLS...`.

Reads tables of cells (`cells.parquet`) and prints a row for each setting, at the learning rates that
validation chose; with `--every-rate` a row for each learning rate. docs/domain_sequences.md has both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from interfero.analysis.records import read_records
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.analysis.sequence.measures import AVERAGE, FORGETTING
from interfero.records import CellRecord

COLUMNS = {
    AVERAGE.name: "average loss",
    FORGETTING.name: "forgetting",
    "gain": "learned gain",
    "source": "forgetting of the source",
}
"""Measures that are shown, by name."""


def markdown(records: Sequence[CellRecord], *, every_rate: bool = False) -> Iterator[str]:
    """Line by line: a table for each case."""
    for summary in SequenceFindings(records).cases:
        yield f"| {summary.case.text} | {' | '.join(COLUMNS.values())} | learning rates | MB stored |"
        yield f"|---|{'---|' * len(COLUMNS)}---|---|"
        parts = at_each_rate(records) if every_rate else [records]
        cases = (case for part in parts for case in SequenceFindings(part).cases)
        for row in (row for case in cases if case.case == summary.case for row in case.rows):
            means = (row.means[name].short for name in COLUMNS)
            rates = sorted({chain.learning_rate for chain in row.chains})
            method, size = row.setting.method, row.stored["stored/bytes"] / 1e6
            named = row.setting.text.replace(method, f"`{method}`", 1)
            shown = ", ".join(f"{rate:g}" for rate in rates)
            yield f"| {named} | {' | '.join(means)} | {shown} | {size:.1f} |"
        yield ""


def at_each_rate(records: Sequence[CellRecord]) -> Iterator[list[CellRecord]]:
    """The rows of one method and learning rate after the other, each with those of the source codec."""
    source = [r for r in records if not r.params["sequence"]]
    found: dict[tuple[object, object], list[CellRecord]] = {}
    for record in records:
        if record.params["sequence"]:
            place = record.params["method"], record.params["learning_rate"]
            found.setdefault(place, []).append(record)
    for _, own in sorted(found.items(), key=lambda item: str(item[0])):
        yield [*source, *own]


def main(
    cells: tyro.conf.Positional[list[Path]], every_rate: tyro.conf.FlagCreatePairsOff[bool] = False
) -> None:
    """Command line."""
    records = {record.key: record for path in cells for record in read_records(path)}
    sys.stdout.write("\n".join(markdown([*records.values()], every_rate=every_rate)))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
