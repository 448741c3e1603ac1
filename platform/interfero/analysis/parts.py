"""What a change of loss is made of: rate, luma and chroma; what it is in dB; which domains are grey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from interfero.analysis.cells import Cells, arrays_of, image_arrays, once_for_cells, rows_of
from interfero.metrics.bd_rate import db_at_equal_rate
from interfero.records import NUMBERS, CellRecord, ImageRow

GREY_POWER = 1.0
"""Square of one 8-bit level: images of a grey domain have less chroma, what rounding left of it."""


@dataclass(frozen=True)
class LossParts:
    """A change of loss over the test images of one role, after less before."""

    rate: float
    """Percent of the loss before, as the next two."""
    luma: float | None
    """None where the record has no chroma; of all distortion, `distortion`."""
    chroma: float | None
    distortion: float
    db: float
    """At equal rate; positive is better."""


@once_for_cells
def loss_parts(records: Iterable[CellRecord], role: str) -> dict[str, LossParts]:
    """By the key of a cell; one without images of the role has none.

    Args:
        records: Cells.
        role: As in `ImageRow`.
    """
    found = (
        (r.key, _parts(_Same(r.images), float(r.params["rd_lambda"]), role))
        for r in records
        if r.status == "finished"
    )
    return {key: parts for key, parts in found if parts is not None}


@dataclass(frozen=True, eq=False, slots=True)
class _Same:
    """Rows of test images, told apart by which object they are: a hash of what they hold makes every row."""

    rows: Sequence[ImageRow]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.rows is other.rows

    def __hash__(self) -> int:
        return id(self.rows)


@lru_cache(maxsize=1 << 16)
def _parts(images: _Same, value: float, role: str) -> LossParts | None:
    """At lambda `value`. Tables by domain, by method and by setting ask for the same cells."""
    words, numbers = arrays_of(images.rows)
    rows = numbers[rows_of(words, role)]
    if not len(rows):
        return None
    mean = dict(zip(NUMBERS, rows.mean(axis=0).tolist(), strict=True))
    loss = mean["rd_loss_before"]
    points = [(mean[f"bpp{s}"], mean[f"psnr_db{s}"]) for s in ("_before", "")]
    errors = [(mean[f"rd_loss{s}"] - mean[f"bpp{s}"]) / value for s in ("_before", "")]
    if loss <= 0 or min(errors) <= 0:
        return None
    each = 100 * value / loss
    distortion = each * (errors[1] - errors[0])
    chroma = each * (mean["chroma_mse"] - mean["chroma_mse_before"])
    known = chroma == chroma
    return LossParts(
        rate=100 * (points[1][0] - points[0][0]) / loss,
        luma=distortion - chroma if known else None,
        chroma=chroma if known else None,
        distortion=distortion,
        db=db_at_equal_rate(points[0], points[1], errors[0], value),
    )


@once_for_cells
def grey_domains(records: Iterable[CellRecord]) -> frozenset[str]:
    """Target domains whose test images have no chroma; earlier records do not say, and have none."""
    power: dict[str, list[float]] = defaultdict(list)
    column = NUMBERS.index("chroma_power")
    for record in records:
        words, numbers = image_arrays(record)
        target = numbers[rows_of(words, "target"), column]
        power[str(record.params["domain"])] += target.tolist()
    return frozenset(d for d, values in power.items() if values and np.median(values) < GREY_POWER)


@once_for_cells
def without_grey(records: Iterable[CellRecord]) -> Cells:
    """What may be averaged over domains: what is learned and forgotten of a grey one says nothing of colour.

    All cells where every domain is grey.
    """
    every = Cells(records)
    grey = grey_domains(every)
    return (Cells(r for r in every if r.params["domain"] not in grey) or every) if grey else every


def grey_text(records: Iterable[CellRecord]) -> str:
    """`Grey domains are left out: textures.`, if `without_grey` leaves any out; else empty."""
    every = Cells(records)
    if len(without_grey(every)) == len(every):
        return ""
    return f"Grey domains are left out: {', '.join(sorted(grey_domains(every)))}."
