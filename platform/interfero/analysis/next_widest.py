"""Whether an answer's interval is wide over its seeds or over its domains: which of them to have more of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import CONTROL, first_method, methods_of
from interfero.analysis.first_block import first_block
from interfero.analysis.next_domains import ALL
from interfero.analysis.seed_means import half_width, means
from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.metrics.names import GAIN, UNROUTED
from interfero.records import CellRecord

Over = Literal["domains", "seeds"]
COLOURED = ("charts", "windows", "fundus", "astronomy", "histology")
"""Bundled domains that a command may add: none is grey, none is a source domain's relative."""


@dataclass(frozen=True)
class Width:
    """Half of the 95 % interval of a mean, once over its seeds and once over its domains."""

    what: str
    """`gain` or `cost`."""
    method: str
    mean: float
    """Percent, as the next two."""
    over_seeds: float
    over_domains: float
    num_seeds: int
    num_domains: int

    @property
    def wide_over(self) -> Over | None:
        """Over which of the two it is wider; None where neither is more than half of the mean."""
        if max(self.over_seeds, self.over_domains) <= abs(self.mean) / 2:
            return None
        return "domains" if self.over_domains > self.over_seeds else "seeds"


def widths(records: Iterable[CellRecord]) -> list[Width]:
    """Of the gain and the cost that the answer names first; none with one seed or one domain."""
    choices = [c for c in first_block(records).block.choices if c.setting.method != CONTROL]
    methods = methods_of(choices)
    if not methods:
        return []
    first = first_method(methods)
    found = []
    for what, metric in (("gain", GAIN), ("cost", UNROUTED)):
        mean = means([first], choices, metric).get(first)
        if mean is not None and mean.num_seeds > 1 and len(set(mean.domains)) > 1:
            over_seeds = half_width([value for _, value in mean.by_seed])
            found.append(
                Width(
                    what, first, mean.value, over_seeds, half_width(mean.cases),
                    mean.num_seeds, len(set(mean.domains)),
                )
            )  # fmt: skip
    return found


def wide_text(found: Sequence[Width], over: Over) -> str:
    """Where intervals are wide over domains, or over seeds; empty where none is.

    `the 95 % interval is wider over 3 domains than over 3 seeds (gain of finetune ±2.65 and ±0.44 %)`.
    """
    own = [width for width in found if width.wide_over == over]
    if not own:
        return ""
    first = own[0]
    ways = [
        ("domain", first.num_domains, [width.over_domains for width in own]),
        ("seed", first.num_seeds, [width.over_seeds for width in own]),
    ]
    (wide, count, more), (other, other_count, less) = ways if over == "domains" else ways[::-1]
    each = ", ".join(
        f"{width.what} of {width.method} ±{a:.2f} and ±{b:.2f} %"
        for width, a, b in zip(own, more, less, strict=True)
    )
    return (
        f"the 95 % interval is wider over {counted(count, wide)} than over {counted(other_count, other)} "
        f"({each})"
    )


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
