"""Tasks that models are trained for: what their labels are of, and how their answers are scored.

Every task counts alike, per class and image: what was labelled as it, predicted as it, and both (hits).
A task whose labels are of whole images counts one per image; one of pixels, one per pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from interfero.metrics.names import LabelKind, TaskName
from interfero.metrics.segmentation import BoolArray, FloatArray, IntArray, mean_iou


class Scoring(Protocol):
    """From (..., classes) counts to (...) scores in [0, 1]; `averaged` are the classes that take part."""

    def __call__(
        self,
        hits: IntArray,
        labelled: IntArray,
        predicted: IntArray,
        averaged: BoolArray | None = None,
    ) -> FloatArray:
        """See `mean_iou`."""
        ...


def accuracy(
    hits: IntArray, labelled: IntArray, predicted: IntArray, averaged: BoolArray | None = None
) -> FloatArray:
    """Share of what is labelled that was predicted right; 1 is perfect.

    Args:
        hits: (..., classes) of the class and predicted as such.
        labelled: (..., classes) of the class.
        predicted: Not used: what is missed in one class is predicted as another.
        averaged: (classes,) the classes that count; all by default.

    Raises:
        ValueError: nothing is labelled.
    """
    counted = np.ones(labelled.shape[-1], dtype=bool) if averaged is None else averaged
    total = labelled[..., counted].sum(axis=-1)
    if not np.all(total > 0):
        raise ValueError("an accuracy needs at least one label")
    found: FloatArray = hits[..., counted].sum(axis=-1) / total
    return found


def edge_f_score(
    hits: IntArray, labelled: IntArray, predicted: IntArray, averaged: BoolArray | None = None
) -> FloatArray:
    """F score of edge pixels (class 1), the harmonic mean of precision and recall; 1 is perfect.

    Where there is no edge and none is predicted it is 1. Pixels are matched exactly: the width of labelled
    edges is the tolerance, where Martin et al. (TPAMI 2004) match thin ones within a distance.

    Args:
        hits: (..., classes) of the class and predicted as such.
        labelled: (..., classes) of the class.
        predicted: (..., classes) predicted as the class.
        averaged: Not used: other pixels take no part.
    """
    both = labelled[..., 1] + predicted[..., 1]
    found: FloatArray = np.where(both > 0, 2 * hits[..., 1] / np.maximum(both, 1), 1.0)
    return found


@dataclass(frozen=True)
class Task:
    """What is the same for all models of a task."""

    name: TaskName
    label_kind: LabelKind
    metric: str
    """The score's name in records and MLflow; higher is better."""
    title: str
    """The score's name in figures and tables."""
    score: Scoring


SEGMENTATION = Task("segmentation", "pixels", "segmentation/miou", "mean IoU", mean_iou)
CLASSIFICATION = Task("classification", "images", "classification/accuracy", "accuracy", accuracy)
EDGES = Task("edges", "edges", "edges/f_score", "F score of edges", edge_f_score)
TASKS: Mapping[str, Task] = {task.name: task for task in (SEGMENTATION, CLASSIFICATION, EDGES)}
"""Tasks by name; a domain's labels say which one it is for."""


def task_for(label_kind: LabelKind) -> Task:
    """The task that labels of a kind are for."""
    return next(task for task in TASKS.values() if task.label_kind == label_kind)


def task_of(params: Mapping[str, str | int | float]) -> Task:
    """The task of a record, by its parameters; records of earlier releases are of segmentation."""
    return TASKS[str(params.get("task", SEGMENTATION.name))]
