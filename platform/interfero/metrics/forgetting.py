"""Gain, forgetting, and what happened to old bitstreams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
UNDECODABLE_PSNR_DB = 0.0
"""PSNR of a picture that does not decode at all; the drop is then the whole PSNR it had."""


def rd_gain(before: float, after: float) -> float:
    """Rate-distortion loss won on the target domain, before - after; higher is better."""
    return before - after


def forgetting(before: float, after: float) -> float:
    """Rate-distortion loss lost on the source domain, after - before; lower is better."""
    return after - before


def percent(change: float, before: float) -> float:
    """A change in percent of a positive loss before; comparable across lambdas and domains.

    Raises:
        ValueError: `before` is not positive.
    """
    if not before > 0:
        raise ValueError(f"the loss before must be positive, got {before}")
    return 100 * change / before


def log_points(percent: npt.ArrayLike) -> FloatArray:
    """A change in percent as 100 log(after / before).

    Log points are defined for every positive loss, add up over steps, and give no prediction of a loss below
    nothing, as percents do (Tornqvist, Vartia and Vartia, 1985, "How should relative changes be measured?").

    Args:
        percent: More than -100, of any shape.
    """
    return np.asarray(100 * np.log1p(np.asarray(percent, dtype=float) / 100))


def from_log_points(points: npt.ArrayLike) -> FloatArray:
    """Percent of the loss before."""
    return np.asarray(100 * np.expm1(np.asarray(points, dtype=float) / 100))


def exact_fraction(pairs: Sequence[tuple[object, object]]) -> float:
    """Share of pairs that are equal.

    Raises:
        ValueError: no pair.
    """
    if not pairs:
        raise ValueError("at least 1 pair is needed to count exact ones")
    return sum(a == b for a, b in pairs) / len(pairs)


def psnr_drop_db(before_db: float, after_db: float | None) -> float:
    """How much an old bitstream lost when the new codec decoded it, in dB; lower is better.

    Args:
        before_db: PSNR with the codec that made it.
        after_db: PSNR with the new codec; None if it did not decode, which counts as
            `UNDECODABLE_PSNR_DB`.
    """
    after = UNDECODABLE_PSNR_DB if after_db is None else after_db
    if not math.isfinite(after):
        raise ValueError(f"PSNR must be finite, got {after}")
    return before_db - after
