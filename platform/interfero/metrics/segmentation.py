"""Scores of predicted label maps, from counts of pixels. Void pixels are in no count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


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


def mean_iou(hits: IntArray, labelled: IntArray, predicted: IntArray) -> FloatArray:
    """Mean of `class_iou` over the classes that are labelled or predicted, as torchmetrics does.

    Counts of several images are summed before, not their scores averaged (PASCAL VOC's protocol).

    Args:
        hits: As for `class_iou`.
        labelled: As for `class_iou`.
        predicted: As for `class_iou`.

    Raises:
        ValueError: no class has a pixel.
    """
    iou = class_iou(hits, labelled, predicted)
    if np.isnan(iou).all(axis=-1).any():
        raise ValueError("a mean IoU needs at least one labelled pixel")
    mean: FloatArray = np.nanmean(iou, axis=-1)
    return mean


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
