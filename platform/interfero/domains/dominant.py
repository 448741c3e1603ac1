"""A second task on the images of a labelled domain: which class has most of an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample
from interfero.errors import DomainError

SUFFIX = "-dominant"
"""Of the domain's name."""


def dominant(domain: LabelledDomain) -> LabelledDomain:
    """The same images, each with the class that most of its labelled pixels have.

    Classes that are first in no training image take no part. Compressed and restored copies of these images
    are those of the domain: no codec and no restorer has seen a label.

    Raises:
        DomainError: the domain has one class per image already, fewer than two classes are first in a
            training image, or an image has none of those that are.
    """
    if domain.label_kind != "pixels":
        raise DomainError(
            f"domain {domain.name!r} has a class for every image, and no second task: leave out --tasks"
        )
    first = {int(_pixels(sample, domain).argmax()) for sample in domain.train}
    kept = sorted(first)
    if len(kept) < 2:
        raise DomainError(
            f"domain {domain.name!r}: {domain.classes[kept[0]]!r} has most pixels in every training image, "
            "there is nothing to tell apart: leave out --tasks"
        )

    def labelled(samples: tuple[LabelledSample, ...]) -> tuple[LabelledSample, ...]:
        return tuple(_of_one_class(sample, domain, kept) for sample in samples)

    return replace(
        domain,
        name=f"{domain.name}{SUFFIX}",
        classes=tuple(domain.classes[i] for i in kept),
        train=labelled(domain.train),
        restoration=labelled(domain.restoration),
        test=labelled(domain.test),
        label_kind="images",
        images_of=domain.fingerprint,
    )


def _of_one_class(
    sample: LabelledSample, domain: LabelledDomain, kept: list[int]
) -> LabelledSample:
    pixels = _pixels(sample, domain)[kept]
    if not pixels.any():
        names = ", ".join(domain.classes[i] for i in kept)
        raise DomainError(
            f"domain {domain.name!r}: {sample.name} has no pixel of {names}, the classes that have most of "
            "a training image: leave out --tasks, or the image"
        )
    labels = np.full(sample.labels_HW.shape, pixels.argmax(), dtype=np.uint8)
    return replace(sample, labels_HW=labels)


def _pixels(
    sample: LabelledSample, domain: LabelledDomain
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(classes,) labelled pixels of each."""
    counts = np.bincount(sample.labels_HW.reshape(-1), minlength=VOID + 1)
    return counts[: len(domain.classes)]
