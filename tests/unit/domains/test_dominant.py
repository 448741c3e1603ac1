"""The second task on the images of a domain: the class that has most of an image."""

import numpy as np
import pytest

from interfero.domains.dominant import dominant
from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample
from interfero.errors import DomainError


def sample(name, *rows):
    """An image whose label map has these rows; its pixels are drawn by its name."""
    labels = np.array(rows, dtype=np.uint8)
    pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (*labels.shape, 3))
    return LabelledSample(name, name, pixels.astype(np.uint8), labels, source_image=name)


def domain(train, test=((1, 1),)):
    return LabelledDomain(
        "d", ("sky", "road", "car"), tuple(sample(f"t{i}", rows) for i, rows in enumerate(train)),
        (sample("r", (0, 0, 1)),), (sample("x", *test),),
    )  # fmt: skip


def test_each_image_has_the_class_of_most_pixels():
    found = dominant(domain([(0, 0, 2), (VOID, VOID, 1), (0, 2, 0)]))
    # No training image has most of a car.
    assert found.classes == ("sky", "road")
    assert [np.unique(s.labels_HW).tolist() for s in found.train] == [[0], [1], [0]]
    assert found.test[0].labels_HW.tolist() == [[1, 1]]
    assert (found.name, found.label_kind) == ("d-dominant", "images")


def test_its_images_are_those_of_the_domain_and_its_labels_its_own():
    given = domain([(0, 0, 2), (1, 1, 1)])
    found = dominant(given)
    assert found.images_hash == given.images_hash == given.fingerprint
    assert found.fingerprint != given.fingerprint
    assert [s.digest for s in found.train] == [s.digest for s in given.train]


def test_a_class_that_has_no_part_is_not_the_answer():
    found = dominant(domain([(0, 0, 2), (1, 1, 2)], test=((2, 2, 1),)))
    assert found.test[0].labels_HW.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ([(0, 0, 1), (0, 0, 2)], ((0, 1),), "'sky' has most pixels in every training image"),
        ([(0, 0, 2), (1, 1, 2)], ((2, 2),), "x has no pixel of sky, road"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(train, test, said):
    with pytest.raises(DomainError, match=said):
        dominant(domain(train, test))
