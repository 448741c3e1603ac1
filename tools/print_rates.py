"""What each learning rate gains on validation images, as Markdown: `python tools/print_rates.py CELLS...`.

Reads tables of cells (`cells.parquet`) or what this wrote before (`--csv FILE`), and prints a row for each
method, number of steps and domain, the best learning rate in bold. docs/learning_rates.md is made of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

GAIN = "val/rd_gain_percent"
SETTING = ["method", "adapter_size", "num_steps", "domain"]
COLUMNS = [*SETTING, "learning_rate", "schedule", GAIN]


def gains(paths: list[Path]) -> pd.DataFrame:
    """One row a cell, of all tables together."""
    tables = []
    for path in paths:
        if path.suffix == ".csv":
            tables.append(pd.read_csv(path))
            continue
        table = pd.read_parquet(path)
        loop = table["loop"].str.extract(r'"schedule": "(\w+)"')[0]
        tables.append(table.assign(schedule=loop.fillna("cosine"))[COLUMNS])
    return pd.concat(tables).sort_values(COLUMNS[:-1]).drop_duplicates(COLUMNS[:-1])


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """Line by line: a table for each schedule."""
    for schedule, part in table.groupby("schedule"):
        wide = part.pivot_table(index=SETTING, columns="learning_rate", values=GAIN, dropna=True)
        yield f"`{schedule}`:"
        yield ""
        yield f"| method | steps | domain | {' | '.join(f'{rate:g}' for rate in wide.columns)} |"
        yield f"|---|---|---|{'---|' * len(wide.columns)}"
        for (method, size, steps, domain), row in wide.iterrows():
            named = f"`{method}` {size}" if size else f"`{method}`"
            cells = ("" if pd.isna(v) else _shown(v, best=v == row.max()) for v in row)
            yield f"| {named} | {steps} | {domain} | {' | '.join(cells)} |"
        yield ""


def _shown(value: float, *, best: bool) -> str:
    text = f"{value:.2f}" if value > -10 else f"{value:.0f}"
    return f"**{text}**" if best else text


def main(
    cells: tyro.conf.Positional[list[Path]], csv: Annotated[Path | None, tyro.conf.arg()] = None
) -> None:
    """Command line."""
    table = gains(cells)
    if csv is not None:
        table.to_csv(csv, index=False, float_format="%.4g")
    sys.stdout.writelines(f"{line}\n" for line in markdown(table))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
