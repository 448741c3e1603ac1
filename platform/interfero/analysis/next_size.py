"""How many cells a printed command plans: what its `--dry-run` would say, told from its words."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from interfero.adaptation.table import METHOD_TABLE, MethodEntry
from interfero.analysis.next_command import words_of
from interfero.analysis.next_domains import ALL
from interfero.domains.graded_names import expanded
from interfero.records import CellRecord

SIZES = {"residual_adapter": (1, 3)}
"""Of methods that have only some."""
SEARCHES = ("random", "tpe", "nsga2")
NUM_SAMPLES = 16
"""Cells of a block that a search asks for, unless it is told otherwise."""


def planned_cells(command: str, records: Sequence[CellRecord], *, known: bool) -> int:
    """Cells that a command plans.

    Args:
        command: One line.
        records: The cells that it goes on from: an option that the command leaves out had their values.
        known: Whether it is their own sweep's, changed. Else it is put together of them, and learning rates
            and strengths that it leaves out are each method's own.
    """
    given = words_of(command)
    blocks = _num_blocks(given, records)
    if given.get("--sampler", [""])[0] in SEARCHES:
        return blocks * int(given.get("--num-samples", [str(NUM_SAMPLES)])[0])
    methods = given.get("--methods") or _levels(records, "method")
    steps = given.get("--num-steps") or _levels(records, "num_steps")
    return blocks * len(set(steps)) * sum(_points(m, given, records, known=known) for m in methods)


def time_text(planned: Iterable[tuple[str, float]], records: Sequence[CellRecord]) -> str:
    """`; about 3.2 hours of computing, at the times of these cells`; empty where a time is not known.

    Args:
        planned: Each command with how many cells it plans.
        records: The cells that they go on from: a command's cells take what those of its methods took.
    """
    total = 0.0
    for line, count in planned:
        methods = words_of(line).get("--methods") or _levels(records, "method")
        times = [r.seconds for r in records if r.params["method"] in methods and r.seconds > 0]
        if not times:
            return ""
        total += count * statistics.fmean(times)
    lasts = f"{total / 3600:.1f} hours" if total >= 5400 else f"{max(1.0, total / 60):.0f} minutes"
    return f"; about {lasts} of computing, at the times of these cells"


def _levels(records: Iterable[CellRecord], name: str) -> list[str]:
    return sorted({str(r.params[name]) for r in records})


def _num_blocks(given: Mapping[str, list[str]], records: Sequence[CellRecord]) -> int:
    """Domains x lambdas x image counts x data seeds; `all` and the same number in figures are one count."""
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        counts[str(record.params["domain"])].add(int(record.params["num_images"]))
    typed = expanded(given.get("--domains", ()))
    domains = [spec.partition("=")[0] for spec in typed] or list(counts)
    asked, places = given.get("--num-images"), 0
    for domain in domains:
        own = counts.get(domain, {0})
        places += len({max(own) if n == ALL else int(n) for n in asked} if asked else own)
    names = {"--lambdas": "rd_lambda", "--data-seeds": "data_seed"}
    return places * math.prod(
        len(given.get(option) or _levels(records, name)) for option, name in names.items()
    )


def _points(
    method: str, given: Mapping[str, list[str]], records: Sequence[CellRecord], *, known: bool
) -> int:
    """Sizes x strengths x learning rates x initial seeds, as far as a method has them."""
    entry = METHOD_TABLE.get(method, MethodEntry())
    own = [r for r in records if r.params["method"] == method]
    sizes, strengths = 1, 1
    if entry.size_unit is not None:
        asked = [int(v) for v in given.get("--adapter-sizes", ())]
        allowed = SIZES.get(method)
        sizes = len([v for v in asked if allowed is None or v in allowed]) or len(
            _levels(own, "adapter_size")
        )
    if entry.strength_unit is not None:
        tried = {float(r.params.get("strength", 0)) for r in own} if known else entry.strengths
        strengths = len(given.get("--strengths") or tried)
    rates = given.get("--learning-rates") or (
        _levels(own, "learning_rate") if known and own else entry.learning_rates
    )
    seeds = given.get("--init-seeds") or (_levels(records, "init_seed") if known else ["0"])
    return sizes * strengths * len(rates) * (len(seeds) if entry.random_init else 1)
