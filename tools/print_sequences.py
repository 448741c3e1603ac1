"""What each method came to after the last domain, as Markdown: `python tools/print_sequences.py CELLS...`.

Reads tables of cells (`cells.parquet`) and prints a row for each setting, at the learning rates that
validation chose; with `--every-rate` a row for each learning rate. docs/domain_sequences.md has both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from interfero.analysis.capacity_table import markdown
from interfero.analysis.grouping import grouped
from interfero.analysis.records import read_records
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.analysis.sequence.measures import AVERAGE, FORGETTING, SettingRow
from interfero.records import CellRecord

COLUMNS = {
    AVERAGE.name: "average loss",
    FORGETTING.name: "forgetting",
    "gain": "learned gain",
    "source": "forgetting of the source",
}
"""Measures that are shown, by name."""


def tables(records: Sequence[CellRecord], *, every_rate: bool = False) -> Iterator[str]:
    """A table for each case."""
    parts = at_each_rate(records) if every_rate else [records]
    cases = [case for part in parts for case in SequenceFindings(part).cases]
    for case, own in grouped(cases, lambda summary: summary.case).items():
        header = [case.text, *COLUMNS.values(), "learning rates", "MB stored"]
        yield markdown(header, [_row(row) for summary in own for row in summary.rows])


def at_each_rate(records: Sequence[CellRecord]) -> Iterator[list[CellRecord]]:
    """The rows of one method and learning rate after the other, each with those of the source codec."""
    source = [r for r in records if not r.params["sequence"]]
    others = [r for r in records if r.params["sequence"]]
    parts = grouped(others, lambda r: (str(r.params["method"]), float(r.params["learning_rate"])))
    for _, own in sorted(parts.items()):
        yield [*source, *own]


def _row(row: SettingRow) -> list[str]:
    method, rates = row.setting.method, sorted({chain.learning_rate for chain in row.chains})
    return [
        row.setting.text.replace(method, f"`{method}`", 1),
        *(row.means[name].short for name in COLUMNS),
        ", ".join(f"{rate:g}" for rate in rates),
        "-" if row.num_bytes is None else f"{row.num_bytes / 1e6:.1f}",
    ]


def main(
    cells: tyro.conf.Positional[list[Path]], every_rate: tyro.conf.FlagCreatePairsOff[bool] = False
) -> None:
    """Command line."""
    records = {record.key: record for path in cells for record in read_records(path)}
    shown = tables([*records.values()], every_rate=every_rate)
    sys.stdout.write("\n\n".join(shown) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
