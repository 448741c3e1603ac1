"""One training for every number of steps, against one training each: `python benchmarks/schedules.py`.

Runs `sweeps/adapter_capacity.py` twice, with `--schedule cosine` (a training for each number of steps) and
`--schedule wsd` (warm-up, constant, cool-down: one training that all share), and compares gains on test
images: at the learning rate that validation chose, for each domain, method and number of steps, and cell by
cell where both sweeps have the cell. With `--sampler halving`, the default here as in the sweeps, each
schedule decides by its own validation which learning rates go on to more steps; `grid` trains all of them.
Two schedules agree where the mean difference over seeds is at most the standard deviation over seeds (of
the two, pooled). The first table is that of docs/budgets.md.

The sweeps are ordinary ones: interrupt the command at any time, and start it again to go on. When all cells
are there it only prints; more data seeds cost what they add. `--dry-run` prints what the sweeps will cost.
`--csv FILE` keeps the cells, and with `--print-only` prints what a file holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro
from pydantic import Field

from benchmarks._asked import Asked
from benchmarks._report import Target, finish, run
from benchmarks.startup import HERE
from interfero.adaptation.table import METHOD_TABLE
from interfero.errors import InterferoError
from interfero.metrics.names import GAIN, VALIDATION_GAIN
from interfero.store.sweep import SweepStore

AGREE = Target(">=", 100.0)
SMALL = 0.5
"""Points of gain, in percent of the loss before."""
SCHEDULES = ("cosine", "wsd")
SETTING = ["num_steps", "method", "domain"]
RATE, SEED = "learning_rate", "data_seed"
COLUMNS = ["status", *SETTING, RATE, SEED, GAIN, VALIDATION_GAIN]


class Schedules(Asked):
    """Which cells are compared, and where they are kept."""

    storage: Path = Path("schedules-storage")
    """Folder of the two sweeps."""
    methods: tuple[str, ...] = ("finetune", "lora", "cawf", "bias_gain")
    """Methods; each has its own grid of learning rates (docs/learning_rates.md)."""
    sampler: Literal["halving", "grid"] = "halving"
    """Of both sweeps."""
    data_seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=2)
    """Their spread is what a difference is compared with."""
    csv: Path | None = None
    """File for the cells of both sweeps, a row each."""
    print_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what the CSV file holds, and run nothing."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the sweeps' plans and costs, by a few steps of each method, and run neither."""


def sweep_name(command: Schedules, schedule: str) -> str:
    """Of one of the sweeps; with other seeds it is another, which takes over the cells it has in common."""
    return "-".join([schedule, *map(str, command.data_seeds)])


def arguments_of(command: Schedules, schedule: str) -> list[str]:
    """Options of one of the sweeps."""
    where = ["--storage", str(command.storage), "--name", sweep_name(command, schedule)]
    return [
        *command.arguments(command.data_seeds),
        "--schedule",
        schedule,
        "--sampler",
        command.sampler,
        *where,
    ]


def run_sweep(command: Schedules, schedule: str) -> None:
    """Start a sweep, or go on with it; its output is this command's.

    Raises:
        InterferoError: it did not finish.
    """
    arguments = arguments_of(command, schedule)
    if command.dry_run:
        arguments += ["--dry-run", "--no-list-cells", "--calibrate"]
    elif (command.storage / sweep_name(command, schedule) / "sweep.json").exists():
        arguments.append("--resume")
    script = HERE / "sweeps" / "adapter_capacity.py"
    uri = f"sqlite:///{command.storage.resolve()}/mlflow.db"
    environment = {"MLFLOW_TRACKING_URI": uri, **os.environ}
    command.storage.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, script, *arguments], env=environment, check=False)
    code = done.returncode
    if code:
        raise InterferoError(
            f"the sweep with --schedule {schedule} exits with {code}, see above; start it again to go on"
        )


def num_cells(command: Schedules) -> int:
    """Cells of each sweep."""
    rates = (
        command.learning_rates or METHOD_TABLE[name].learning_rates for name in command.methods
    )
    axes = command.domains, command.num_steps, command.data_seeds
    cells = sum(map(len, rates))
    for axis in axes:
        cells *= len(axis)
    return cells


def decided_cells(command: Schedules, schedule: str) -> pd.DataFrame:
    """Cells of a sweep that finished or were stopped, one row each; empty before it has begun."""
    store = SweepStore(command.storage, sweep_name(command, schedule))
    rows = [
        {"status": record.status, **record.params, **record.metrics}
        for record in store.each_record()
        if record.status in ("finished", "stopped")
    ]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def finished(cells: pd.DataFrame) -> pd.DataFrame:
    """Those that finished, without their status."""
    return cells[cells["status"] == "finished"].drop(columns="status").reset_index(drop=True)


def kept_cells(path: Path | None) -> dict[str, pd.DataFrame]:
    """What a CSV file holds, by schedule.

    Raises:
        InterferoError: none is named, it is not there, or it is another one.
    """
    if path is None or not path.is_file():
        raise InterferoError(
            f"--print-only: there is no file {path or ''} to print; name one with --csv"
        )
    table = pd.read_csv(path)
    lacking = {"schedule", *COLUMNS} - {*table.columns}
    if lacking:
        named = ", ".join(sorted(lacking))
        raise InterferoError(f"{path} has no column {named}: --csv names another file")
    return {s: table[table["schedule"] == s].reset_index(drop=True) for s in SCHEDULES}


def compared_cells(command: Schedules) -> dict[str, pd.DataFrame] | None:
    """The cells of both sweeps, which run where they have to; None after a dry run.

    Raises:
        InterferoError: a sweep did not finish, or as `kept_cells`.
    """
    if command.print_only:
        return kept_cells(command.csv)
    for schedule in SCHEDULES:
        if command.dry_run or len(decided_cells(command, schedule)) < num_cells(command):
            run_sweep(command, schedule)
    if command.dry_run:
        return None
    found = {s: decided_cells(command, s) for s in SCHEDULES}
    if command.csv is not None:
        table = pd.concat([cells.assign(schedule=s) for s, cells in found.items()])
        rows = table.sort_values(["schedule", *SETTING, RATE, SEED])
        rows[["schedule", *COLUMNS]].to_csv(command.csv, index=False, float_format="%.6g")
    return found


def chosen(cells: pd.DataFrame) -> pd.DataFrame:
    """Of each setting and seed, the cell that gains most on validation images."""
    best = cells.groupby([*SETTING, SEED])[VALIDATION_GAIN].idxmax()
    return cells.loc[best].reset_index(drop=True)


def differences(cosine: pd.DataFrame, wsd: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Gain on test images by schedule, in percent, and how far the two are apart.

    Args:
        cosine: Cells, at most one for each key and seed.
        wsd: The same of the other schedule.
        keys: Columns that name what is compared; seeds are averaged.

    Returns:
        A row for each key that both have with two seeds or more: means `cosine` and `wsd`, standard
        deviations over seeds with `_sd`, the learning rates with `_rates`, `difference` (wsd - cosine, seed
        by seed), `spread` (root mean square of the two standard deviations) and `agree`.
    """
    columns = [*keys, SEED, GAIN, *({RATE} - {*keys})]
    both = cosine[columns].merge(wsd[columns], on=[*keys, SEED], suffixes=("_cosine", "_wsd"))
    rows = []
    for key, group in both.groupby([*keys]):
        if len(group) < 2:
            continue
        row = dict(zip(keys, key, strict=True))
        for schedule in SCHEDULES:
            gains = group[f"{GAIN}_{schedule}"]
            row[schedule], row[f"{schedule}_sd"] = gains.mean(), gains.std(ddof=1)
            rates = group[RATE if RATE in keys else f"{RATE}_{schedule}"]
            row[f"{schedule}_rates"] = sorted(set(rates))
        row["difference"] = (group[f"{GAIN}_wsd"] - group[f"{GAIN}_cosine"]).mean()
        row["spread"] = ((row["cosine_sd"] ** 2 + row["wsd_sd"] ** 2) / 2) ** 0.5
        row["agree"] = bool(abs(row["difference"]) <= row["spread"])
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """The table of docs/budgets.md, line by line."""
    yield "| steps | method | domain | `cosine` | `wsd` | difference | agree |"
    yield "|---|---|---|---|---|---|---|"
    for row in table.to_dict("records"):
        gains = (
            f"{row[s]:.1f} ± {row[f'{s}_sd']:.1f} ({', '.join(f'{r:g}' for r in row[f'{s}_rates'])})"
            for s in SCHEDULES
        )
        agree = "yes" if row["agree"] else "no"
        yield (
            f"| {row['num_steps']} | `{row['method']}` | {row['domain']} | {' | '.join(gains)} | "
            f"{row['difference']:+.1f} | {agree} |"
        )


def summary(table: pd.DataFrame) -> Iterator[str]:
    """Line by line, for each number of steps: how many agree, and the difference of the rest."""
    for steps, part in table.groupby("num_steps"):
        apart = part.loc[~part["agree"], "difference"]
        higher = int((apart > 0).sum())
        line = f"{steps} steps: {int(part['agree'].sum())} of {len(part)} agree"
        if len(apart):
            line += (
                f"; of the others wsd gains more in {higher}, less in {len(apart) - higher}: "
                f"{apart.min():+.1f} to {apart.max():+.1f} points"
            )
        yield line


def sizes(table: pd.DataFrame) -> str:
    """How many differences are small, and which way the others go."""
    apart = table.loc[table["difference"].abs() > SMALL, "difference"]
    return (
        f"{len(table) - len(apart)} of {len(table)} settings differ by at most {SMALL:g} points; of the "
        f"others wsd gains more in {int((apart > 0).sum())}, less in {int((apart < 0).sum())}"
    )


def main() -> None:
    """Command line."""
    command = tyro.cli(Schedules, description=__doc__)
    found = compared_cells(command)
    if found is None:
        return
    cosine, wsd = (finished(found[s]) for s in SCHEDULES)
    table = differences(chosen(cosine), chosen(wsd), SETTING)
    by_cell = differences(cosine, wsd, [*SETTING, RATE])
    print(
        *markdown(table),
        "",
        "At the learning rates that validation chose:",
        *summary(table),
        sizes(table),
        sep="\n",
    )
    print("Cell by cell, at the same learning rate:", *summary(by_cell), sep="\n")
    share = 100 * float(table["agree"].mean())
    finish(
        "schedules_that_agree", share, "%", AGREE, AGREE.met(share),
        {"chosen": table.to_dict("records"), "cells": by_cell.to_dict("records")},
        command.json_path, reason="how far the others are apart is printed above",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
