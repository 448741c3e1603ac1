"""The third task on the images of a domain: where classes meet."""

from dataclasses import replace

import numpy as np
import pytest

from interfero.domains.edges import CLASSES, edge_map, edges
from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample
from interfero.domains.views import VIEWS, origin_of
from interfero.errors import DomainError


def sample(name, *rows):
    """An image whose label map has these rows; its pixels are drawn by its name."""
    labels = np.array(rows, dtype=np.uint8)
    pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (*labels.shape, 3))
    return LabelledSample(name, name, pixels.astype(np.uint8), labels, source_image=name)


def domain(train):
    return LabelledDomain(
        "d", ("sky", "road"), tuple(sample(f"t{i}", rows) for i, rows in enumerate(train)),
        (sample("r", (0, 0, 0, 1)),), (sample("x", (0, 0, 0, 0, 1, 1, 1, 1)),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((0, 0, 0, 0, 3, 3, 3, 3), (0, 0, 1, 1, 1, 1, 0, 0)),
        ((2, 2, 2, 2, 2, 2, 2, 2), (0,) * 8),
        ((VOID,) * 8, (VOID,) * 8),
        # Beside void nobody knows.
        ((0, 0, 0, 0, VOID, 3, 3, 3), (0, 0, VOID, 1, VOID, 1, VOID, 0)),
        ((0, 0, VOID, VOID, VOID, VOID, 3, 3), (VOID,) * 8),
        ((0, 1, VOID, 0, 0, 0, 0, 0), (1, 1, VOID, 1, VOID, 0, 0, 0)),
    ],
)
def test_pixels_near_another_class_are_edges(row, expected):
    assert edge_map(np.array([row], dtype=np.uint8)).tolist() == [list(expected)]
    column = edge_map(np.array([row], dtype=np.uint8).T)
    assert column.T.tolist() == [list(expected)]


def test_corners_touch():
    labels = np.zeros((7, 7), dtype=np.uint8)
    labels[3, 3] = 1
    expected = np.zeros((7, 7), dtype=np.uint8)
    expected[1:6, 1:6] = 1
    assert np.array_equal(edge_map(labels), expected)


def test_its_images_are_those_of_the_domain_and_its_labels_its_own():
    given = domain([(0, 0, 0, 0, 1), (1, 1, 0, 0, 0)])
    found = edges(given)
    assert (found.name, found.classes, found.label_kind) == ("d-edges", CLASSES, "edges")
    assert found.images_hash == given.images_hash == given.fingerprint
    assert found.fingerprint != given.fingerprint
    assert [s.digest for s in found.train] == [s.digest for s in given.train]
    assert found.test[0].labels_HW.tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]]


def test_a_domain_without_edges_is_refused():
    with pytest.raises(DomainError, match="'d': no two classes touch in any image of train"):
        edges(domain([(0, 0, 0, 0), (1, 1, 1, 1)]))
    tested = replace(domain([(0, 0, 0, 0, 1)]), test=(sample("x", (0, 0, 0, 0)),))
    with pytest.raises(DomainError, match="'d': no two classes touch in any image of test"):
        edges(tested)
    with pytest.raises(
        DomainError, match="'d': every pixel is within 2 pixels of another class or"
    ):
        edges(domain([(0, 0, 1, 1), (1, 0, 0)]))
    with pytest.raises(DomainError, match="has a class for every image, and no edges"):
        edges(replace(domain([(0, 0, 1), (1, 1, 0)]), label_kind="images"))


def test_a_view_knows_its_domain_whatever_that_is_called():
    given = domain([(0, 0, 0, 0, 1), (1, 1, 1, 0, 0)])
    odd = replace(given, name="d-edges")
    names = ("d", "d-edges", "e")
    assert origin_of(given, names) == ("d", "own")
    assert origin_of(odd, names) == ("d-edges", "own")
    for task in ("dominant", "edges"):
        for view in (VIEWS[task](given), VIEWS[task](odd)):
            assert origin_of(view, names) == (view.name.removesuffix(f"-{task}"), task)
    with pytest.raises(KeyError):
        origin_of(odd, ("d", "e"))
