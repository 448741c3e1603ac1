"""Encoded rows to samples: in threads, in order, a few chunks at a time."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image

from interfero.cores import usable_cores
from interfero.domains.images import (
    ImageRules,
    Sample,
    SkippedImageError,
    UInt8Array,
    decode_image,
)
from interfero.domains.listing import Portion
from interfero.domains.mapped_values import map_values
from interfero.domains.readers.table import FIELD_SUFFIXES, read_raw, suffix_of
from interfero.domains.sources import Row

T = TypeVar("T")
_CROP_NAME = re.compile(r"^(.*\d)_\d{1,2}$")


@dataclass
class DecodedFile:
    """What became of some rows."""

    samples: list[tuple[Portion, Sample]] = field(default_factory=list)
    skipped: list[tuple[Portion, str]] = field(default_factory=list)
    """Images that cannot be used, and why."""
    counts: Counter[str] = field(default_factory=Counter)
    """Conversions."""


def decode_rows(rows: Sequence[Row], rules: ImageRules) -> DecodedFile:
    """Decode all rows into memory, digests included.

    Raises:
        DomainError: an image that refuses its whole domain, see `decode_image`.
    """
    decoded = DecodedFile()
    for portion, sample in each_sample(rows, rules, decoded):
        # Here, because this thread has company: hashing costs as much as decoding an easy image.
        _ = sample.digest
        decoded.samples.append((portion, sample))
    return decoded


def each_sample(
    rows: Iterable[Row], rules: ImageRules, result: DecodedFile
) -> Iterator[tuple[Portion, Sample]]:
    """Decode one row after the other; skips and conversions are added to `result`."""
    for row in rows:
        try:
            for image in _images(row, rules, result.counts):
                yield row.portion, _sample(row, image)
        except SkippedImageError as error:
            result.skipped.append((row.portion, str(error)))


def described(rows: Sequence[Row], rules: ImageRules) -> Iterator[str]:
    """What becomes of each row, a line each: the sizes it gives, and what was decided."""
    for row in rows:
        result = DecodedFile()
        made = Counter(
            f"{s.pixels_HWC.shape[1]}x{s.pixels_HWC.shape[0]}"
            for _, s in each_sample([row], rules, result)
        )
        sizes = ", ".join(f"{n} x {size}" if n > 1 else size for size, n in made.items())
        counts = [f"{n} x {what}" if n > 1 else what for what, n in sorted(result.counts.items())]
        skipped = [text.removeprefix(f"{row.label}: ") for _, text in result.skipped]
        where = {"any": "to be split"}.get(row.portion, row.portion)
        yield f"{row.label}: " + "; ".join(filter(None, [where, sizes, *counts, *skipped]))


def is_field_row(row: Row, rules: ImageRules) -> bool:
    """Whether a row is read by the table of readers, not as a plain picture."""
    return not rules.is_plain or suffix_of(row.label) in FIELD_SUFFIXES


def named_group(row: Row) -> str:
    """What splits keep whole, as the row or its name says."""
    stem = Path(row.label).with_suffix("").as_posix()
    folder, _, base = stem.rpartition("/")
    return row.group or f"{folder}/{group_of(base)}".lstrip("/")


class _Image(NamedTuple):
    """A decoded image of a row, which may hold several."""

    pixels_HWC: UInt8Array
    fine_HWC: UInt8Array | None = None
    place: str = ""
    group: str | None = None


def _images(row: Row, rules: ImageRules, counts: Counter[str]) -> Iterator[_Image]:
    if not is_field_row(row, rules):
        yield _Image(decode_image(row.data, row.label, rules, counts))
        return
    for raw in read_raw(row.data, row.label, rules.mapping, counts):
        pixels, fine = map_values(raw, row.label, rules, counts)
        yield _Image(pixels, fine, raw.place, raw.group)


def _sample(row: Row, image: _Image) -> Sample:
    name = f"{row.label}#{image.place}" if image.place else row.label
    group = image.group or named_group(row)
    return Sample(
        name, group, image.pixels_HWC, source_image=row.source_image or "", fine_HWC=image.fine_HWC
    )


def group_of(stem: str) -> str:
    """The source image that a file name stands for: `photo012_3` is a crop of `photo012`."""
    match = _CROP_NAME.match(stem)
    return match.group(1) if match else stem


def in_threads(tasks: Iterable[Callable[[], T]], num_threads: int | None = None) -> Iterator[T]:
    """Results of tasks in their order; a few are taken ahead.

    Threads, not processes: Pillow, hashing and files leave Python's lock while they work, and the
    main module of a user's script is not imported again.

    Args:
        tasks: What to do.
        num_threads: How many run at once; as many as there are cores by default.
    """
    # Pillow loads its plugins at first use, and a second thread that comes meanwhile is told that
    # its file is no image.
    Image.init()
    num_threads = num_threads or usable_cores()
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="decode") as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) > num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
