"""Scores from counts: by hand, and against torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from interfero.metrics.segmentation import absent_share, class_iou, mean_iou, pixel_accuracy


def counts(predicted, labels, classes):
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    kept = labels != 255
    return tuple(
        np.array([(mask & kept).sum() for mask in masks])
        for masks in (
            [(predicted == c) & (labels == c) for c in range(classes)],
            [labels == c for c in range(classes)],
            [predicted == c for c in range(classes)],
        )
    )


def test_worked_by_hand():
    # Labels 0 0 1 1 and a void; predicted 0 1 1 1 and 0: IoU 1/2 and 2/3, the void counts nowhere.
    hits, labelled, predicted = counts([0, 1, 1, 1, 0], [0, 0, 1, 1, 255], 3)
    assert class_iou(hits, labelled, predicted)[:2] == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(class_iou(hits, labelled, predicted)[2])
    assert mean_iou(hits, labelled, predicted) == pytest.approx(7 / 12)
    assert pixel_accuracy(hits, labelled) == pytest.approx(3 / 4)


def test_as_torchmetrics_where_every_class_is_labelled():
    rng = np.random.default_rng(0)
    predicted, labels = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    labels[:50] = 255
    expected = multiclass_jaccard_index(
        torch.from_numpy(predicted), torch.from_numpy(labels), 5, ignore_index=255
    )
    assert mean_iou(*counts(predicted, labels, 5)) == pytest.approx(float(expected), abs=1e-6)


def test_a_stray_pixel_of_an_absent_class_costs_its_own_share_and_no_more():
    # Labels 0 0 1 1 1 1, predicted 0 0 1 1 1 and class 3, which nothing is: IoU 1 and 3/4.
    hits, labelled, predicted = counts([0, 0, 1, 1, 1, 3], [0, 0, 1, 1, 1, 1], 4)
    assert mean_iou(hits, labelled, predicted) == pytest.approx(7 / 8)
    assert absent_share(labelled, predicted) == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="at least one"):
        absent_share(labelled, np.zeros(4, dtype=np.int64))


def test_rows_average_the_same_classes():
    labelled = np.array([[4, 0, 0], [2, 2, 0]])
    hits, predicted = labelled, labelled
    # The first row has no pixel of class 1: 0 in every configuration, so that it leaves differences alone.
    assert mean_iou(hits, labelled, predicted) == pytest.approx([1 / 2, 1])
    only = np.array([True, False, False])
    assert mean_iou(hits, labelled, predicted, only) == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        mean_iou(hits, labelled, predicted, np.zeros(3, dtype=bool))


def test_nothing_labelled_is_refused():
    none = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        mean_iou(none, none, none)
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        pixel_accuracy(none, none)
