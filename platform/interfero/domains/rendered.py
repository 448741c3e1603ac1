"""Screen content as domains: text pages, charts and program windows, drawn rather than collected.

Screen content is rendered content, so these are what they claim to be, and there are as many
independent images as anybody asks for. An image is a function of (name, split, index), and beyond
the training images that every seed shares, of the data seed too: seeds share no more than those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from interfero.domains.domain import Domain
from interfero.domains.images import Sample, UInt8Array
from interfero.domains.rendering.charts import draw_chart
from interfero.domains.rendering.kept import kept_drawings
from interfero.domains.rendering.text import draw_page
from interfero.domains.rendering.windows import draw_window
from interfero.errors import DomainError
from interfero.randomness import Role, numpy_generator

SIDE = 256
"""Width and height of every image in pixels."""
NUM_TRAIN = 60
"""Training images that are always drawn; validation and `all` are taken from them."""
NUM_TEST = 16
MAX_TRAIN = 4096
"""Training images at most: 0.8 GB, held by the driver and by every worker."""

Renderer = Callable[[np.random.Generator, int], Image.Image]
"""From a generator and a side in pixels to a square RGB image."""


def text(num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> Domain:
    """Text pages: books, papers, letters, lists and tables in several faces, sizes and papers."""
    note = "text pages drawn with Pillow in the fonts of matplotlib (DejaVu, STIX)"
    return render_domain("text", draw_page, note, num_train=num_train, num_test=num_test)


def charts(num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> Domain:
    """Charts: curves, bars, clouds of points, heat maps, pies, in varied styles."""
    note = "charts of invented numbers drawn with matplotlib's Agg renderer"
    return render_domain("charts", draw_chart, note, num_train=num_train, num_test=num_test)


def windows(num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> Domain:
    """Program windows: editors, file managers, dialogs, forms, mail, tables, terminals."""
    note = "program windows drawn with Pillow in the fonts of matplotlib (DejaVu)"
    return render_domain("windows", draw_window, note, num_train=num_train, num_test=num_test)


def render_domain(name: str, draw: Renderer, note: str, *, num_train: int, num_test: int) -> Domain:
    """A domain of rendered images; asking for more adds images and changes none.

    Raises:
        DomainError: fewer than 2 training images or 1 test image asked for.
    """
    if num_train < 2 or num_test < 1:
        raise DomainError(
            f"domain {name!r} needs at least 2 train images (validation takes one) and 1 test "
            f"image, asked for {num_train} and {num_test}"
        )
    kept = kept_drawings(name)
    train, test = (
        tuple(_kept_sample(name, draw, split, i, kept) for i in range(count))
        for split, count in (("train", num_train), ("test", num_test))
    )
    return Domain(name, train, test, notes=(note, "further ones for --num-images beyond these"))


def _kept_sample(
    name: str, draw: Renderer, split: str, index: int, kept: Mapping[str, UInt8Array]
) -> Sample:
    """`render_sample`, of a drawing that is there already if it is."""
    place = f"{split}-{index:04d}"
    if place not in kept:
        return render_sample(name, draw, split, index)
    label = f"{name}-{place}"
    return Sample(label, label, kept[place])


def extend(domain: Domain, draw: Renderer, num_images: int, data_seeds: Iterable[int]) -> Domain:
    """The same domain with enough images in reserve for subsets of `num_images`.

    Raises:
        DomainError: more images than fit in memory.
    """
    if num_images > MAX_TRAIN:
        raise DomainError(
            f"domain {domain.name!r} draws at most {MAX_TRAIN} training images, asked for "
            f"{num_images}: ask for fewer"
        )
    reserve = {
        seed: tuple(
            render_sample(domain.name, draw, "train", len(domain.train) + i, seed)
            for i in range(num_images - domain.num_outside_validation(seed))
        )
        for seed in data_seeds
    }
    return replace(domain, reserve=reserve)


def render_sample(name: str, draw: Renderer, split: str, index: int, seed: int = 0) -> Sample:
    """Image `index` of a split: a function of (name, split, index, seed) alone."""
    random = numpy_generator(seed, 0, Role.RENDER, index, f"{name}/{split}")
    label = f"{name}-{split}-{index:04d}" + (f"-s{seed}" if seed else "")
    return Sample(label, label, np.asarray(draw(random, SIDE), dtype=np.uint8))
