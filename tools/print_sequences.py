"""What each method came to after the last domain, as Markdown: `python tools/print_sequences.py CELLS...`.

Reads tables of cells (`cells.parquet`) and prints a row for each setting, at the learning rates that
validation chose; with `--every-rate` a row for each learning rate. docs/domain_sequences.md has both. With
`--against METHOD` it prints what every other method has less that one, in the same orders and seeds; with
`--against SETTING`, named as these tables do, what every other setting has.
With `--transfer` it prints what stages did for other domains, and what joint training gains more; with
`--by-order` a row for each setting and order; with `--where method=finetune,lora learning_rate=3e-5` it
reads only such cells.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import tyro

from interfero.analysis.capacity_table import markdown
from interfero.analysis.grouping import grouped
from interfero.analysis.part import part_of
from interfero.analysis.records import read_records
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.analysis.sequence.measures import (
    AVERAGE,
    FORGETTING,
    MEASURES,
    SequenceSummary,
    SettingRow,
    alike,
)
from interfero.analysis.sequence.orders import corrected, paired
from interfero.errors import ConfigError
from interfero.records import CellRecord

COLUMNS = {
    AVERAGE.name: "average loss",
    FORGETTING.name: "forgetting",
    "gain": "learned gain",
    "source": "forgetting of the source",
}
"""Measures that are shown, by name."""
TRANSFER = {"backward": "backward transfer", "forward": "forward transfer"}
"""Those of `--transfer`, by name; above zero is good."""


def tables(records: Sequence[CellRecord], *, every_rate: bool = False) -> Iterator[str]:
    """A table for each case, over the orders and seeds that all its rows have; what has others is named."""
    parts = at_each_rate(records) if every_rate else [records]
    cases = [case for part in parts for case in SequenceFindings(part).cases]
    for case, own in grouped(cases, lambda summary: summary.case).items():
        rows = [row for summary in own for row in summary.rows]
        shown = alike(rows)
        header = [case.text, *COLUMNS.values(), "learning rates", "MB stored"]
        yield markdown(header, [_row(row) for row in shown]) + _left_out(rows, shown)


def _left_out(rows: Sequence[SettingRow], shown: Sequence[SettingRow]) -> str:
    """What the table holds, below it."""
    sample = shown[0].means[AVERAGE.name].sample
    names = {row.setting.text for row in rows} - {row.setting.text for row in shown}
    others = f" Left out, of other orders or seeds: {', '.join(sorted(names))}." if names else ""
    return f"\n\nOver the {sample} that all of these have.{others}"


def differences(records: Sequence[CellRecord], name: str) -> Iterator[str]:
    """A table for each case: everything else less one, paired; Holm's correction is over a column.

    Args:
        records: Rows of one or several cases.
        name: A method: the others at their chosen settings. Or a setting, as the tables name it: all other
            settings, those of its own method too.

    Raises:
        ConfigError: no case has it.
    """
    cases = SequenceFindings(records).cases
    methods = sorted({method for case in cases for method in case.best})
    settings = sorted({row.setting.text for case in cases for row in case.alike} - {*methods})
    if name not in (*methods, *settings):
        raise ConfigError(
            f"--against must be a method of the cells ({', '.join(methods)}), not {name!r}; or a setting "
            f"({'; '.join(settings)})"
        )
    for case in cases:
        rows = [*case.best.values()] if name in methods else [*case.alike]
        one = [r for r in rows if name in (r.setting.method, r.setting.text)]
        if one:
            yield _less(case, one[0], [row for row in rows if row is not one[0]])


def each_order(records: Sequence[CellRecord]) -> Iterator[str]:
    """A table for each case: every setting at the end of each order, over seeds alone."""
    for case in SequenceFindings(records).cases:
        header = [case.case.text, "order", *COLUMNS.values(), "learning rates", "seeds"]
        rows = [
            [_name(row), ">".join(order), *(own.means[name].short for name in COLUMNS), _rates(own),
             str(own.means[AVERAGE.name].num_seeds)]
            for row in case.rows
            for order, own in row.by_order.items()
        ]  # fmt: skip
        yield markdown(header, rows)


def transfers(records: Sequence[CellRecord]) -> Iterator[str]:
    """A table for each case: transfer and intransigence of each method at its chosen setting."""
    for case in SequenceFindings(records).cases:
        header = [case.case.text, *TRANSFER.values(), "intransigence"]
        yield markdown(header, [_transfer(case, method, row) for method, row in case.best.items()])


def _transfer(summary: SequenceSummary, method: str, row: SettingRow) -> list[str]:
    means = [row.means.get(name) for name in TRANSFER]
    means.append(summary.intransigence.get(method))
    return [_name(row), *("-" if mean is None else mean.short for mean in means)]


def _less(summary: SequenceSummary, one: SettingRow, others: Sequence[SettingRow]) -> str:
    shown = [measure for measure in MEASURES if measure.name in COLUMNS]
    columns = [
        corrected([paired(row.values(measure), one.values(measure)) for row in others])
        for measure in shown
    ]
    count = f", corrected for {len(others)}" if len(others) > 1 else ""
    header = [f"{summary.case.text}, less {_name(one)}{count}", *(COLUMNS[m.name] for m in shown)]
    rows = [
        [_name(row), *("-" if mean is None else mean.judged for mean in means)]
        for row, *means in zip(others, *columns, strict=True)
    ]
    return markdown(header, rows)


def at_each_rate(records: Sequence[CellRecord]) -> Iterator[list[CellRecord]]:
    """The rows of one method and learning rate after the other, each with those of the source codec."""
    source = [r for r in records if not r.params["sequence"]]
    others = [r for r in records if r.params["sequence"]]
    parts = grouped(others, lambda r: (str(r.params["method"]), float(r.params["learning_rate"])))
    for _, own in sorted(parts.items()):
        yield [*source, *own]


def _row(row: SettingRow) -> list[str]:
    return [
        _name(row),
        *(row.means[name].short for name in COLUMNS),
        _rates(row),
        "-" if row.num_bytes is None else f"{row.num_bytes / 1e6:.1f}",
    ]


def _rates(row: SettingRow) -> str:
    """The learning rates of its chains; of several, how many chains have each."""
    counts = sorted(Counter(chain.learning_rate for chain in row.chains).items())
    several = len(counts) > 1
    return ", ".join(f"{rate:g} ({count})" if several else f"{rate:g}" for rate, count in counts)


def _name(row: SettingRow) -> str:
    method = row.setting.method
    return row.setting.text.replace(method, f"`{method}`", 1)


def main(
    cells: tyro.conf.Positional[list[Path]],
    every_rate: tyro.conf.FlagCreatePairsOff[bool] = False,
    against: str | None = None,
    transfer: tyro.conf.FlagCreatePairsOff[bool] = False,
    by_order: tyro.conf.FlagCreatePairsOff[bool] = False,
    where: tuple[str, ...] = (),
) -> None:
    """Command line."""
    alone = [name for name, asked in (("--transfer", transfer), ("--by-order", by_order)) if asked]
    if alone and (every_rate or against or len(alone) > 1):
        raise ConfigError(f"{alone[0]} is a table of its own: give none of the others with it")
    records = {record.key: record for path in cells for record in read_records(path)}
    every = part_of([*records.values()], where)
    if transfer or by_order:
        shown = transfers(every) if transfer else each_order(every)
    else:
        shown = differences(every, against) if against else tables(every, every_rate=every_rate)
    sys.stdout.write("\n\n".join(shown) + "\n")


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__)
    except ConfigError as error:
        sys.exit(str(error))
