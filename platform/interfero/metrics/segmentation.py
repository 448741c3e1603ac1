"""Scores of predicted label maps, from counts of pixels. Void pixels are in no count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def class_iou(hits: IntArray, labelled: IntArray, predicted: IntArray) -> FloatArray:
    """Intersection over union of each class (the Jaccard index); 1 is perfect.

    Args:
        hits: (..., classes) pixels of the class that were predicted as such.
        labelled: (..., classes) pixels of the class.
        predicted: (..., classes) pixels predicted as the class.

    Returns:
        (..., classes); NaN where a class is neither labelled nor predicted.
    """
    union = labelled + predicted - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou: FloatArray = np.where(union > 0, hits / union, np.nan)
    return iou


def mean_iou(
    hits: IntArray, labelled: IntArray, predicted: IntArray, averaged: BoolArray | None = None
) -> FloatArray:
    """Mean of `class_iou` over the classes that are labelled, whatever was predicted.

    Counts of several images are summed before, not their scores averaged (PASCAL VOC's protocol). A class
    that no label has is left out even where it is predicted: one stray pixel would otherwise cost a whole
    class' share (torchmetrics counts such a class as 0). Its pixels still cost the classes they were taken
    from, and `absent_share` reports them.

    Args:
        hits: As for `class_iou`.
        labelled: As for `class_iou`.
        predicted: As for `class_iou`.
        averaged: (classes,) the classes to average; by default those that any entry of `labelled` has. Give
            it where images are drawn again, so that every draw averages the same classes: one of which a
            draw has no pixel then scores 0 there, in all configurations alike.

    Raises:
        ValueError: no class has a labelled pixel, or none is averaged.
    """
    if averaged is None:
        averaged = (labelled > 0).reshape(-1, labelled.shape[-1]).any(axis=0)
    if not averaged.any() or (labelled.sum(axis=-1) == 0).any():
        raise ValueError("a mean IoU needs at least one labelled pixel")
    iou = np.nan_to_num(class_iou(hits, labelled, predicted)[..., averaged], nan=0.0)
    mean: FloatArray = iou.mean(axis=-1)
    return mean


def absent_share(labelled: IntArray, predicted: IntArray) -> float:
    """Share of the pixels that were predicted as classes which no label has; 0 is best.

    Args:
        labelled: (classes,) pixels of the class.
        predicted: (classes,) pixels predicted as the class.

    Raises:
        ValueError: no pixel was predicted.
    """
    if not predicted.sum():
        raise ValueError("a share of predicted pixels needs at least one")
    return float(predicted[labelled == 0].sum() / predicted.sum())


def pixel_accuracy(hits: IntArray, labelled: IntArray) -> float:
    """Share of labelled pixels that were predicted right.

    Args:
        hits: (classes,) pixels predicted right.
        labelled: (classes,) pixels of the class.

    Raises:
        ValueError: no pixel is labelled.
    """
    if not labelled.sum():
        raise ValueError("a pixel accuracy needs at least one labelled pixel")
    return float(hits.sum() / labelled.sum())
