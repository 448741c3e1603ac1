"""A third task on the images of a labelled domain: where one class ends and another begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample
from interfero.errors import DomainError

SUFFIX = "-edges"
"""Of the domain's name."""
REACH = 2
"""Pixels: an edge is this far to either side of where the class changes, along both axes."""
CLASSES = ("inside", "edge")


def edges(domain: LabelledDomain) -> LabelledDomain:
    """The same images, each pixel labelled as an edge or not: whether another class is within `REACH`.

    Void pixels are void, and so are pixels that have void and no other class within it: nobody knows what
    is there. Compressed and restored copies of these images are those of the domain: no codec and no
    restorer has seen a label.

    Raises:
        DomainError: the domain has one class per image; no image of training, or none of testing, has an
            edge; or training images have nothing else.
    """
    if domain.label_kind != "pixels":
        raise DomainError(
            f"domain {domain.name!r} has a class for every image, and no edges: leave out --tasks"
        )
    train, test = _labelled(domain.train), _labelled(domain.test)
    for portion, samples, wanted in (("train", train, 1), ("test", test, 1), ("train", train, 0)):
        if not any((sample.labels_HW == wanted).any() for sample in samples):
            lack = (
                f"no two classes touch in any image of {portion}, there are no edges to find"
                if wanted
                else f"every pixel is within {REACH} pixels of another class or of void: all would be edges"
            )
            raise DomainError(f"domain {domain.name!r}: {lack}; leave edges out of --tasks")
    return replace(
        domain,
        name=f"{domain.name}{SUFFIX}",
        classes=CLASSES,
        train=train,
        restoration=_labelled(domain.restoration),
        test=test,
        label_kind="edges",
        images_of=domain.fingerprint,
    )


def edge_map(labels_HW: UInt8Array) -> UInt8Array:
    """(height, width) of 1 (edge), 0 or `VOID`, from a class or `VOID` for every pixel."""
    from scipy import ndimage

    void = labels_HW == VOID
    side = 2 * REACH + 1
    highest = ndimage.maximum_filter(np.where(void, -1, labels_HW.astype(np.int16)), side)
    lowest = ndimage.minimum_filter(labels_HW, side)
    unknown = void | ndimage.maximum_filter(void, side)
    found = np.where(highest != lowest, 1, np.where(unknown, VOID, 0)).astype(np.uint8)
    found[void] = VOID
    return found


def _labelled(samples: tuple[LabelledSample, ...]) -> tuple[LabelledSample, ...]:
    return tuple(replace(sample, labels_HW=edge_map(sample.labels_HW)) for sample in samples)
