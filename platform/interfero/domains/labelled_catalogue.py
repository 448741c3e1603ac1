"""From what a user types to a labelled domain: `mosaics`, `streets=FOLDER`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from interfero.domains.digits import NAME as DIGITS
from interfero.domains.digits import digits
from interfero.domains.domain import spread
from interfero.domains.images import MAX_SIDE, ImageRules, SkippedImageError, UInt8Array
from interfero.domains.ingest import unit_of
from interfero.domains.jpeg_past import jpeg_note
from interfero.domains.label_layouts import find_layout
from interfero.domains.label_maps import crop_alike, read_image, read_label_map
from interfero.domains.label_pairs import Layout, Pair, WholeImage
from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample
from interfero.domains.listing import is_any_image, is_picture, shown
from interfero.domains.memory import MemoryBudget
from interfero.domains.mosaics import NAME as MOSAICS
from interfero.domains.mosaics import mosaics
from interfero.domains.names import labelled_folder
from interfero.domains.polygons import Outlines
from interfero.domains.portions import TEST_SHARE
from interfero.domains.sources import Row
from interfero.domains.specs import split_spec
from interfero.domains.stretching import with_stretch
from interfero.errors import DomainError
from interfero.randomness import Role, seed_for

LABELLED: dict[str, Callable[[], LabelledDomain]] = {MOSAICS: mosaics, DIGITS: digits}
"""Labelled domains that come with the project."""
MIN_CLASSES = 2
NAMED_CLASSES = 6
"""Classes left out whose names a line holds, at most."""
RESTORATION_SHARE = 0.4
"""Of the training images, by source image, where no `val` is there for the restorer."""


def load_labelled(
    spec: str, *, max_images: int = 0, max_side: int = MAX_SIDE, budget: MemoryBudget | None = None
) -> LabelledDomain:
    """The labelled domain that a user names.

    `NAME` is bundled, or a folder of that name in $INTERFERO_DATA that has label maps; `NAME=PATH` is a
    folder in one of the layouts of `label_layouts`. A layout's `val` images are the restoration portion;
    without them it takes a seeded part of the training images. Layouts without a test portion (VOC's,
    Cityscapes', whose test labels nobody has) test on `val`, and the seed parts their training images.

    What is declared behind the path (`:bands=4,3,2:range=0,4095`) is declared of the images; label maps are
    numbers or colours as they are.

    Args:
        spec: `NAME` or `NAME=PATH`.
        max_images: Images of each portion at most, each source image once before any twice; 0 is all.
        max_side: Longer images are cut to their centre, label maps with them, in pixels.
        budget: Memory for decoded images and labels.

    Raises:
        DomainError: names the domain or the file, the rule and the remedy.
    """
    name, path, mapping = split_spec(spec)
    if path is None and name in LABELLED:
        return _limited(LABELLED[name](), max_images)
    root = labelled_folder(name) if path is None else path
    if not root.is_dir():
        raise DomainError(
            f"domain {name!r}: there is no folder {root}; give one that holds images and label maps"
        )
    layout = find_layout(name, root, is_any_image if mapping.is_declared else is_picture)
    parts = [spread_pairs(p, max_images) for p in _portions(name, layout)]
    rules = ImageRules(halve_jpeg=False, max_side=max_side, mapping=mapping)
    rules = with_stretch(name, (partial(_train_row, p) for p in parts[0]), len(parts[0]), rules)
    counts: Counter[str] = Counter()
    room = budget or MemoryBudget()
    read = [_read(name, layout, pairs, rules, counts, room) for pairs in parts]
    said = [f"values become pixels by {rules.mapping.text}"] if mapping.is_declared else []
    notes = [f"{layout.kind} layout: {shown(root)}", *layout.notes, *said]
    notes += [f"{n} x {what}" for what, n in sorted(counts.items())]
    classes = layout.classes
    if layout.fixed_classes or max_images:
        classes, read, left_out = without_absent(classes, read)
        notes += left_out
    train, restoration, test = read
    notes += filter(None, [jpeg_note([*train, *restoration, *test])])
    unit = unit_of([*train, *restoration, *test])
    return LabelledDomain(
        name, classes, train, restoration, test, unit, tuple(notes), layout.label_kind
    )


def without_absent(
    classes: tuple[str, ...], parts: Sequence[tuple[LabelledSample, ...]]
) -> tuple[tuple[str, ...], list[tuple[LabelledSample, ...]], list[str]]:
    """Leave out classes without a training pixel: their pixels elsewhere become void.

    For classes that are a dataset's own, or that are lost because few images were asked for: nobody can
    rename those. Nothing changes where every class is there, or where fewer than two would be left.

    Args:
        classes: Names by number.
        parts: Images for training first.

    Returns:
        Classes and parts with new numbers, and a line each class left out.
    """
    pixels = [np.zeros(256, dtype=np.int64) for _ in parts]
    for total, samples in zip(pixels, parts, strict=True):
        for sample in samples:
            total += np.bincount(sample.labels_HW.reshape(-1), minlength=256)
    kept = [i for i in range(len(classes)) if pixels[0][i]]
    if len(kept) == len(classes) or len(kept) < MIN_CLASSES:
        return classes, list(parts), []
    table = np.full(256, VOID, dtype=np.uint8)
    table[kept] = np.arange(len(kept))
    renumbered = [
        tuple(replace(sample, labels_HW=table[sample.labels_HW]) for sample in samples)
        for samples in parts
    ]
    absent = [i for i in range(len(classes)) if not pixels[0][i]]
    elsewhere = sum(int(total[absent].sum()) for total in pixels[1:])
    names = ", ".join(f"{classes[i]!r}" for i in absent[:NAMED_CLASSES])
    more = f" and {len(absent) - NAMED_CLASSES} more" if len(absent) > NAMED_CLASSES else ""
    line = (
        f"left out: {len(absent)} classes without a pixel in the {len(parts[0])} training images ({names}"
        f"{more}); their {elsewhere} pixels in other portions are void"
    )
    return tuple(classes[i] for i in kept), renumbered, [line]


def spread_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count` pairs by a seeded order, taking each source image once before any twice.

    Of images that have one class each, every class comes once before any twice, in the order of their
    numbers: few images of one portion have the classes of few of another.
    """
    if not count or len(pairs) <= count:
        return list(pairs)
    seen: Counter[str | int] = Counter()
    ranked: list[tuple[int, int, Pair]] = []
    for pair in sorted(pairs, key=lambda p: seed_for(0, 0, Role.SPLIT, label=p.name)):
        whole = pair.labels.label if isinstance(pair.labels, WholeImage) else None
        mark = pair.group if whole is None else whole
        ranked.append((seen[mark], len(ranked) if whole is None else whole, pair))
        seen[mark] += 1
    return [pair for _, _, pair in sorted(ranked, key=lambda r: r[:2])[:count]]


def _limited(domain: LabelledDomain, max_images: int) -> LabelledDomain:
    if not max_images:
        return domain

    def some(samples: tuple[LabelledSample, ...]) -> tuple[LabelledSample, ...]:
        if domain.label_kind == "images":
            return _of_each_class(samples)[:max_images]
        return spread(samples, max_images)  # type: ignore[return-value]

    parts = [some(domain.train), some(domain.restoration), some(domain.test)]
    classes, parts, left_out = without_absent(domain.classes, parts)
    notes = (*domain.notes, *left_out)
    train, restoration, test = parts
    return LabelledDomain(
        domain.name, classes, train, restoration, test, domain.unit, notes, domain.label_kind
    )


def _of_each_class(samples: tuple[LabelledSample, ...]) -> tuple[LabelledSample, ...]:
    """Images of one class each, every class once before any twice."""
    seen: Counter[int] = Counter()
    ranked: list[tuple[int, int, LabelledSample]] = []
    for sample in samples:
        label = int(sample.labels_HW[0, 0])
        ranked.append((seen[label], label, sample))
        seen[label] += 1
    return tuple(sample for _, _, sample in sorted(ranked, key=lambda r: r[:2]))


def _portions(name: str, layout: Layout) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Pairs for training, restoration and test."""
    train, val, test, rest = (
        [pair for pair in layout.pairs if pair.part == part]
        for part in ("train", "val", "test", "any")
    )
    if rest:
        test, train = _parted(name, rest, TEST_SHARE, "test")
    if not test:
        val, test = [], val
    if not val:
        val, train = _parted(name, train, RESTORATION_SHARE, "restoration")
    return train, val, test


def _parted(
    name: str, pairs: Sequence[Pair], share: float, what: str
) -> tuple[list[Pair], list[Pair]]:
    """A share of the source images, and the others."""
    groups = sorted({p.group for p in pairs}, key=lambda g: seed_for(0, 0, Role.SPLIT, label=g))
    if len(groups) < 2:
        raise DomainError(
            f"domain {name!r} has {len(groups)} source images to part into train and {what}: add some, "
            "or make folders train/, val/ and test/"
        )
    chosen = set(groups[: max(1, round(share * len(groups)))])
    inside = [pair for pair in pairs if pair.group in chosen]
    return inside, [pair for pair in pairs if pair.group not in chosen]


def _train_row(pair: Pair) -> list[Row]:
    return [Row(shown(pair.image), pair.group, "train", pair.image)]


def _read(
    name: str, layout: Layout, pairs: Sequence[Pair], rules: ImageRules, counts: Counter[str],
    budget: MemoryBudget,
) -> tuple[LabelledSample, ...]:  # fmt: skip
    """Decoded pairs.

    Raises:
        DomainError: an image or a label map cannot be used, or they do not fit the memory.
    """
    samples = []
    for pair in pairs:
        try:
            pixels, size = read_image(pair.image, rules, counts)
        except SkippedImageError as error:
            # Of a labelled pair nothing is skipped: its label map would say that all is well.
            raise DomainError(f"domain {name!r}: {error}; mend or remove the pair") from error
        labels = crop_alike(pixels, _labels_of(pair, size, layout))
        num_bytes = pixels.nbytes + labels.nbytes
        if not budget.has(num_bytes):
            raise DomainError(
                f"domain {name!r}: {len(pairs)} images of about {num_bytes / 2**20:.1f} MiB do not fit "
                "the memory for domains: use --max-images, --max-side, or more --max-domain-memory"
            )
        budget.take(num_bytes)
        samples.append(LabelledSample(pair.name, pair.group, pixels, labels))
    return tuple(samples)


def _labels_of(pair: Pair, size: tuple[int, int], layout: Layout) -> UInt8Array:
    if isinstance(pair.labels, Outlines | WholeImage):
        return pair.labels.draw(size, pair.image)
    return read_label_map(pair.labels, size, layout.rules)
