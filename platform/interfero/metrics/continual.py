"""What the literature of continual learning reads from the matrix of a sequence, for losses.

R has a row a stage and a column a domain: `R[i, j]` is the loss, lower is better, on the test images of
domain j after stage i. Stage 0 is the source codec and domain 0 what it was trained for, so that the source
is the first task of the sequence and domain j is learned in stage j. Unit: that of R, a loss, or
percent of the source codec's loss where domains are averaged.

The papers define their measures for accuracy `a`, higher is better. Here `a = -R`: every sign is theirs, so
that a positive transfer is good and a positive forgetting is bad.

Measures after fewer stages are those of a leading part, `R[:k + 1, :k + 1]`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def average_loss(loss: npt.ArrayLike) -> float:
    """Mean loss over all domains met, after the last stage: `mean_j R[T, j]`; lower is better.

    ACC of arXiv:1706.08840 is its negative.

    Args:
        loss: (stages, domains) R, square.

    Raises:
        ValueError: R has another shape, or holds what is no number.
    """
    return float(_square(loss)[-1].mean())


def backward_transfer(loss: npt.ArrayLike) -> float:
    """What later stages did to domains learned before: `mean_{j < T} (R[j, j] - R[T, j])`.

    Positive where later stages helped, negative where they did harm (BWT, arXiv:1706.08840).

    Args:
        loss: (stages, domains) R, square, at least 2 stages.

    Raises:
        ValueError: as `average_loss`, or too few stages.
    """
    whole = _square(loss, 2)
    return float((whole.diagonal() - whole[-1])[:-1].mean())


def forward_transfer(loss: npt.ArrayLike, before: npt.ArrayLike | None = None) -> float:
    """What earlier stages did for a domain that is to come: `mean_{j >= 2} (before[j] - R[j - 1, j])`.

    Positive where they helped (FWT, arXiv:1706.08840). The paper compares with networks of random weights;
    a codec that is adapted begins as the source codec, which is what `before` is if nothing else is given.
    The mean begins with the second domain after the source: before the first there is nothing but the
    source codec.

    Args:
        loss: (stages, domains) R, square, at least 3 stages.
        before: (domains,) loss without any earlier stage; `R[0]` if not given.

    Raises:
        ValueError: as `average_loss`, or too few stages, or another shape of `before`.
    """
    whole = _square(loss, 3)
    reference = whole[0] if before is None else _row(before, "before", whole)
    return float((reference[1:] - whole.diagonal(offset=1))[1:].mean())


def forgetting(loss: npt.ArrayLike) -> float:
    """How much worse domains are than they ever were: `mean_{j < T} (R[T, j] - min_{l < T} R[l, j])`.

    Positive is forgotten; negative where the last stage is the best (arXiv:1801.10112, equation 3, where
    every earlier stage counts, those before the domain was learned too).

    Args:
        loss: (stages, domains) R, square, at least 2 stages.

    Raises:
        ValueError: as `average_loss`, or too few stages.
    """
    whole = _square(loss, 2)
    return float((whole[-1] - whole[:-1].min(axis=0))[:-1].mean())


def intransigence(loss: npt.ArrayLike, joint: npt.ArrayLike) -> float:
    """What was not learned of each domain: `mean_{j >= 1} (R[j, j] - joint[j])`; lower is better.

    The reference was trained on all domains up to j together (arXiv:1801.10112, equation 4); negative where
    learning one after the other did better.

    Args:
        loss: (stages, domains) R, square, at least 2 stages.
        joint: (domains,) loss on domain j of the reference trained on domains 0 to j; that of the source
            domain is not read.

    Raises:
        ValueError: as `average_loss`, or too few stages, or another shape of `joint`.
    """
    whole = _square(loss, 2)
    return float((whole.diagonal() - _row(joint, "joint", whole))[1:].mean())


def stage_harm(loss: npt.ArrayLike) -> FloatArray:
    """What each stage l did to the domains met before it: `mean_{j < l} (R[l, j] - R[l - 1, j])`.

    Positive is harm; of the first stage it is what the source domain lost. No paper's measure:
    those of whole sequences mix what every stage did.

    Args:
        loss: (stages, domains) R, square, at least 2 stages.

    Returns:
        (stages - 1,) by the stage in which a domain was learned; the source codec's stage has none.

    Raises:
        ValueError: as `backward_transfer`.
    """
    whole = _square(loss, 2)
    change = np.diff(whole, axis=0)
    return np.array([row[: stage + 1].mean() for stage, row in enumerate(change)])


def percent_of_source(loss: npt.ArrayLike) -> FloatArray:
    """(stages, domains) change of each loss in percent of the source codec's on the same domain.

    Losses of domains differ by factors; their means say something in percent alone.

    Args:
        loss: (stages, domains) R with positive losses; the first row is the source codec's.

    Raises:
        ValueError: R is no matrix, or a loss of the source codec is not positive.
    """
    whole = _checked(np.asarray(loss, dtype=float))
    if whole.ndim != 2 or not (whole[0] > 0).all():
        raise ValueError(
            f"R must be (stages, domains) with positive losses in its first row, got shape {whole.shape}"
        )
    return np.asarray(100 * (whole / whole[0] - 1))


def _square(loss: npt.ArrayLike, at_least: int = 1) -> FloatArray:
    whole = np.asarray(loss, dtype=float)
    if whole.ndim != 2 or whole.shape[0] != whole.shape[1]:
        raise ValueError(
            "R must be square, a row a stage and a column a domain, the source first; got shape "
            f"{whole.shape}"
        )
    if len(whole) < at_least:
        raise ValueError(
            f"R has {len(whole)} stages, the source codec among them; {at_least} are needed: add domains"
        )
    return _checked(whole)


def _row(values: npt.ArrayLike, name: str, whole: FloatArray) -> FloatArray:
    row = np.asarray(values, dtype=float)
    if row.shape != whole[0].shape:
        raise ValueError(
            f"{name} has shape {row.shape}, R has {len(whole)} domains: give one loss a domain"
        )
    return _checked(row)


def _checked(values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise ValueError("R holds what is no number: a stage was not measured on every domain")
    return values
