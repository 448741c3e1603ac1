"""Whether an answer's interval is wide over its seeds or over its domains: which of them to have more of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import CONTROL, first_method, methods_of
from interfero.analysis.next_command import ALL
from interfero.analysis.seed_means import half_width, mean_of
from interfero.analysis.shared_block import first_block
from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.metrics.names import GAIN, UNROUTED
from interfero.records import CellRecord

Over = Literal["domain", "seed"]
COLOURED = ("charts", "windows", "fundus", "astronomy", "histology")
"""Bundled domains that a command may add: none is grey, none is a source domain's relative."""


def wide_texts(records: Iterable[CellRecord]) -> dict[Over, str]:
    """Over what the intervals of the answer's first gain and cost are wide: half of the mean or more.

    `the 95 % interval is wider over 3 domains than over 3 seeds (gain of finetune ±2.65 and ±0.44 %)`;
    nothing with one seed or one domain.
    """
    choices = [c for c in first_block(records).block.choices if c.setting.method != CONTROL]
    first = first_method(methods_of(choices)) if choices else ""
    starts: dict[Over, str] = {}
    parts: dict[Over, list[str]] = {"seed": [], "domain": []}
    for what, metric in (("gain", GAIN), ("cost", UNROUTED)):
        mean = mean_of(first, choices, metric)
        if mean is None or mean.num_seeds < 2 or len(set(mean.domains)) < 2:
            continue
        count: dict[Over, int] = {"seed": mean.num_seeds, "domain": len(set(mean.domains))}
        half: dict[Over, float] = {
            "seed": half_width([value for _, value in mean.by_seed]),
            "domain": half_width(mean.cases),
        }
        wide, other = sorted(half, key=lambda over: half[over], reverse=True)
        if half[wide] > abs(mean.value) / 2:
            over = [counted(count[name], name) for name in (wide, other)]
            starts.setdefault(wide, f"the 95 % interval is wider over {' than over '.join(over)}")
            parts[wide].append(f"{what} of {first} ±{half[wide]:.2f} and ±{half[other]:.2f} %")
    return {wide: f"{start} ({', '.join(parts[wide])})" for wide, start in starts.items()}


def further_domain(known: Collection[str], counts: Iterable[str]) -> str:
    """A bundled domain that has so many images and is not there yet; empty where there is none.

    Args:
        known: Names of domains that there are.
        counts: As `--num-images` takes them.
    """
    least = max((int(count) for count in counts if count != ALL), default=0)
    there = (
        name
        for name in COLOURED
        if name not in known
        and (BUNDLED_IMAGES[name].drawn or BUNDLED_IMAGES[name].num_images >= least)
    )
    return next(there, "")
