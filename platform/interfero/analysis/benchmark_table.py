"""The cells of a map as a tabular benchmark, in the files that Syne Tune's `BlackboxOffline` reads.

    configspace.json       what a search chooses: method, adapter size, strength, learning rate
    fidelityspace.json     the budget of an evaluation: optimiser steps, or training images
    data-TASK.parquet      a row for each configuration, budget and seed that was run; a task for each domain,
                           lambda, codec and what else is no budget
    metadata.json          names of objectives, tasks and the seed's column; which way each objective is good

Syne Tune's `BlackboxTabular` and HPOBench's tables are full grids of configurations, seeds and budgets, with
a value at each place. The cells of a map are no grid (adapters have sizes, other methods strengths, a cross
has arms), and a table with a row for each evaluation needs no place holders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from interfero.analysis.choices import CONTROL
from interfero.errors import ConfigError
from interfero.metrics.names import (
    FRACTION,
    GAIN,
    ROUTED,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_ROUTED,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic, write_json

Budget = Literal["num_steps", "num_images"]
OBJECTIVES: Mapping[str, tuple[str, str]] = {
    "metric_val_gain_percent": (VALIDATION_GAIN, "max"),
    "metric_val_forgetting_percent": (VALIDATION_ROUTED, "min"),
    "metric_gain_percent": (GAIN, "max"),
    "metric_forgetting_percent": (ROUTED, "min"),
    "metric_forgetting_unrouted_percent": (UNROUTED, "min"),
    "metric_adapter_fraction": (FRACTION, "min"),
}
"""Column to a cell's metric, and which way is better; searches read `metric_val_*`, the others report."""
SECONDS = "metric_elapsed_time"
"""Training and evaluation of one cell; a larger budget is trained from the start."""
CONFIGURATION = ("method", "adapter_size", "strength", "learning_rate")


def write_benchmark(
    records: Sequence[CellRecord], folder: Path, budget: Budget | None = None
) -> list[Path]:
    """Write the files: finished cells with a validation result, of all methods but the control.

    Args:
        records: All cells of a map.
        folder: Made if it is not there.
        budget: What an evaluation costs; by default steps if they vary, else training images.

    Raises:
        ConfigError: no cell can be a row.
        StorageError: the folder is not writable.
    """
    rows = [_row(r) for r in records if _usable(r)]
    if not rows:
        raise ConfigError("no finished cell of a method has a validation result: nothing to export")
    if budget is None:
        budget = "num_steps" if len({row["num_steps"] for row in rows}) > 1 else "num_images"
    tasks = _tasks(rows, budget)
    columns = [*CONFIGURATION, budget, "seed", *OBJECTIVES, SECONDS]
    paths = [folder / f"data-{name}.parquet" for name in tasks]
    for path, own in zip(paths, tasks.values(), strict=True):
        table = pa.table({column: [row[column] for row in own] for column in columns})
        write_atomic(path, partial(pq.write_table, table, compression="gzip"))
    spaces = {
        "configspace.json": {name: _choice({row[name] for row in rows}) for name in CONFIGURATION},
        "fidelityspace.json": {budget: _whole({row[budget] for row in rows})},
        "metadata.json": {
            "objectives_names": [*OBJECTIVES, SECONDS],
            "objectives": {name: way for name, (_, way) in OBJECTIVES.items()} | {SECONDS: "min"},
            "task_names": list(tasks),
            "seed_col": "seed",
        },
    }
    for name, value in spaces.items():
        write_json(folder / name, value)
    return [*paths, *(folder / name for name in spaces)]


def _tasks(rows: Sequence[dict[str, Any]], budget: Budget) -> dict[str, list[dict[str, Any]]]:
    """Rows by domain, lambda, codec, and steps or images, whichever is no budget."""
    fixed = "num_images" if budget == "num_steps" else "num_steps"
    several = len({row["codec"] for row in rows}) > 1
    tasks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        parts = (
            row["domain"],
            f"lambda{row['rd_lambda']:g}",
            f"{fixed.removeprefix('num_')}{row[fixed]}",
        )
        tasks["-".join([*parts, *([row["codec"]] if several else [])])].append(row)
    return dict(sorted(tasks.items()))


def _usable(record: CellRecord) -> bool:
    known = VALIDATION_GAIN in record.metrics and GAIN in record.metrics
    return record.status == "finished" and known and record.params["method"] != CONTROL


def _row(record: CellRecord) -> dict[str, Any]:
    p = record.params
    return {
        **{name: p[name] for name in ("domain", "codec", "method")},
        **{name: int(p[name]) for name in ("adapter_size", "num_steps", "num_images")},
        **{name: float(p.get(name, 0)) for name in ("strength", "learning_rate", "rd_lambda")},
        # Methods that draw nothing run with the first initial seed alone: pairs of seeds are few.
        "seed": 100 * int(p["data_seed"]) + int(p["init_seed"]),
        **{column: record.metrics.get(metric) for column, (metric, _) in OBJECTIVES.items()},
        SECONDS: record.seconds,
    }


def _choice(values: set[Any]) -> dict[str, Any]:
    """As Syne Tune writes a `Categorical`, or an `Ordinal` of numbers."""
    kind = "Categorical" if any(isinstance(v, str) for v in values) else "Ordinal"
    return {"domain_cls": kind, "domain_kwargs": {"categories": sorted(values)}}


def _whole(values: set[int]) -> dict[str, Any]:
    """As Syne Tune writes a range of whole numbers."""
    ends = {"lower": min(values), "upper": max(values)}
    return {"domain_cls": "Integer", "domain_kwargs": ends}
