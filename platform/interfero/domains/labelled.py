"""A labelled domain: images with a class for every pixel, in three portions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from interfero.domains.domain import ImageUnit
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import DomainError
from interfero.metrics.names import LabelKind, TaskName
from interfero.store.keys import new_digest

Portion = Literal["train", "restoration", "test"]
"""What images are for: segmentation trains on `train`; `restoration` teaches a restorer, and no more."""
PORTIONS: tuple[Portion, ...] = ("train", "restoration", "test")

VOID = 255
"""Label of pixels that count neither in a loss nor in a score; files may call it otherwise."""
MAX_CLASSES = 254
MAX_CLASS_NAME = 200
"""Characters; a score's name may have 250 in MLflow, and holds a class' name."""
_CLASS_NAME = re.compile(r"[\w.: -]+(/[\w.: -]+)*")


@dataclass(frozen=True)
class LabelledSample(Sample):
    """One image and its label map."""

    labels_HW: UInt8Array = field(repr=False)
    """(height, width), class of every pixel or `VOID`."""

    @cached_property
    def labels_digest(self) -> str:
        """Content hash of the label map and its shape."""
        digest = new_digest()
        digest.update(str(self.labels_HW.shape).encode())
        digest.update(np.ascontiguousarray(self.labels_HW).reshape(-1).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class LabelledDomain:
    """Labelled images, split so that nothing is in two portions."""

    name: str
    classes: tuple[str, ...]
    """Name of each class, in the order of their numbers."""
    train: tuple[LabelledSample, ...] = field(repr=False)
    restoration: tuple[LabelledSample, ...] = field(repr=False)
    """Images that only a restorer trains on; their labels are never read."""
    test: tuple[LabelledSample, ...] = field(repr=False)
    unit: ImageUnit = "images"
    notes: tuple[str, ...] = ()
    """Where the images come from, conversions and skips, a line each."""
    label_kind: LabelKind = "pixels"
    """Of `images`, a label map has one class in every pixel."""
    images_of: str = ""
    """Fingerprint of the domain that has these images and portions, with other labels; empty if none has."""

    def __post_init__(self) -> None:
        """Refuse portions that share an image, are empty, or lack a class that is asked for."""
        empty = [portion for portion in PORTIONS if not self.portion(portion)]
        if empty:
            raise DomainError(
                f"domain {self.name!r} has no image in {', '.join(empty)}: each of "
                f"{', '.join(PORTIONS)} needs one at least"
            )
        check_classes(f"domain {self.name!r}", self.classes)
        self._check_disjoint()
        self._check_classes()

    def _check_disjoint(self) -> None:
        homes: dict[str, tuple[Portion, str]] = {}
        for portion in PORTIONS:
            for sample in self.portion(portion):
                for mark in (sample.digest, f"group {sample.group}"):
                    home, name = homes.setdefault(mark, (portion, sample.name))
                    if home != portion:
                        raise DomainError(
                            f"domain {self.name!r}: {name!r} in {home} and {sample.name!r} in "
                            f"{portion} are one image, or cut from one; keep it in one of them"
                        )

    def _check_classes(self) -> None:
        missing = np.flatnonzero(self.class_pixels == 0)
        if missing.size:
            names = ", ".join(f"{self.classes[i]!r} ({i})" for i in missing)
            place = self.train[0].name
            raise DomainError(
                f"domain {self.name!r}: no label map in train ({place} and {len(self.train) - 1} "
                f"more) has a pixel of {names}: nothing could be learned of it; leave the class out, "
                f"or label some{self._void_hint(missing.size)}"
            )

    def _void_hint(self, num_missing: int) -> str:
        """What is likely where all that is labelled is one class, and the rest is void."""
        has_void = any((sample.labels_HW == VOID).any() for sample in self.train)
        if not has_void or len(self.classes) - num_missing > 1:
            return ""
        return f"; {VOID} is void here: a mask of 0 and {VOID} needs 1 for its class"

    def portion(self, portion: Portion) -> tuple[LabelledSample, ...]:
        """The images of a portion."""
        found: tuple[LabelledSample, ...] = getattr(self, portion)
        return found

    @cached_property
    def class_pixels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(classes,) pixels of each class in `train`."""
        total = np.zeros(256, dtype=np.int64)
        for sample in self.train:
            total += np.bincount(sample.labels_HW.reshape(-1), minlength=256)
        return total[: len(self.classes)]

    @property
    def images_hash(self) -> str:
        """Names the images and portions: copies of them do not depend on the labels."""
        return self.images_of or self.fingerprint

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of every image and label map, of the portions and the classes."""
        kind = () if self.label_kind == "pixels" else (self.label_kind,)
        return fingerprint({p: self.portion(p) for p in PORTIONS}, (*self.classes, *kind))


def class_metric(class_name: str, task: TaskName = "segmentation") -> str:
    """What the score of a class is called, its intersection over union: `segmentation/iou_traffic_light`."""
    return f"{task}/iou_{class_name.replace(' ', '_')}"


def check_classes(place: str, classes: Sequence[str]) -> None:
    """Refuse classes that cannot all be told apart, or whose scores MLflow would not take.

    One bad name of a metric has MLflow refuse all metrics of a cell.

    Args:
        place: Where they are from, the error begins so.
        classes: Their names.

    Raises:
        DomainError: too few or too many, a name of other characters or too long, two of one name.
    """
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DomainError(
            f"{place} has {len(classes)} classes, it must be 2 to {MAX_CLASSES}: name those that label "
            "maps have, a line each, or merge some"
        )
    first: dict[str, str] = {}
    for name in classes:
        steps = any(part in (".", "..") for part in name.split("/"))
        if not _CLASS_NAME.fullmatch(name) or steps or len(name) > MAX_CLASS_NAME:
            raise DomainError(
                f"{place}: the class {name!r} cannot be the name of a score: it may have up to "
                f"{MAX_CLASS_NAME} letters, digits, spaces and `_ - . :`, with `/` between them; "
                "rename it"
            )
        metric = class_metric(name)
        if metric in first:
            raise DomainError(
                f"{place}: the classes {first[metric]!r} and {name!r} would have one score, {metric!r}: "
                "a name is given once, and a space counts as `_`; rename one"
            )
        first[metric] = name


def fingerprint(portions: Mapping[str, Sequence[LabelledSample]], classes: Sequence[str]) -> str:
    """Content hash of labelled images by portion, in their order: it decides which crops are drawn."""
    digest = new_digest()
    digest.update("\n".join(classes).encode())
    for portion, samples in portions.items():
        rows = (f"{portion} {s.group} {s.name} {s.digest} {s.labels_digest}" for s in samples)
        digest.update("\n".join(rows).encode())
    return digest.hexdigest()
