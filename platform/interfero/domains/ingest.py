"""Folders of images and Parquet files as domains, in memory or in mapped files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from interfero.domains.decoding import DecodedFile, decode_rows, in_threads, is_field_row
from interfero.domains.domain import Domain, ImageUnit
from interfero.domains.images import ImageRules, Sample, decoded_bytes
from interfero.domains.jpeg_past import jpeg_note
from interfero.domains.leaks import check_crops, without_copies
from interfero.domains.listing import Portion, is_any_image, is_picture
from interfero.domains.memory import MemoryBudget
from interfero.domains.pixel_files import decode_to_files
from interfero.domains.portions import SPLITS, held_out, split_of
from interfero.domains.sources import FolderSource, ParquetSource, Row, Source
from interfero.domains.stretching import with_stretch
from interfero.errors import DomainError

MAX_SKIPPED_SHARE = 0.1


def load_folder(
    name: str, path: Path, rules: ImageRules | None = None, budget: MemoryBudget | None = None
) -> Domain:
    """A folder of images as a domain.

    `train/` and `test/` below it are used if both are there (`val/` joins train); else the images
    are split by source image, a quarter of them for test. Names such as `s0000_0` and `s0000_1`
    are crops of one source image.

    Args:
        name: The domain's.
        path: The folder.
        rules: How files become images.
        budget: Memory for decoded images; what does not fit lies in mapped files.

    Raises:
        DomainError: no folder, no image in it, or too many that cannot be used.
    """
    rules = rules or ImageRules()
    return load_source(name, folder_source(name, path, rules), rules, budget)


def load_parquet(
    name: str,
    path: Path | Sequence[Path],
    rules: ImageRules | None = None,
    budget: MemoryBudget | None = None,
) -> Domain:
    """Parquet as a domain: `image` (encoded bytes), and `name`, `group`, `source_image`, `split` if any.

    Several files are read as one table, in the order given. Arguments are those of `load_folder`.

    Raises:
        DomainError: the file cannot be read, lacks `image`, or holds too many unusable images.
    """
    paths = (path,) if isinstance(path, Path) else tuple(path)
    return load_source(name, ParquetSource(name, paths), rules, budget)


def folder_source(name: str, path: Path, rules: ImageRules) -> FolderSource:
    """A folder's files: pictures, or where there is none or something is declared, every kind."""
    is_plain = rules.is_plain and any(is_picture(file) for file in path.rglob("*"))
    return FolderSource(name, path, is_picture if is_plain else is_any_image)


def split_by_group(name: str, samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """A seeded split by source image, about a quarter of the images for test."""
    test_groups = held_out(name, {s.group for s in samples})
    train = [s for s in samples if s.group not in test_groups]
    return train, [s for s in samples if s.group in test_groups]


def unit_of(samples: Sequence[Sample]) -> ImageUnit:
    """`crops` where at least one source image gave several."""
    return "crops" if len({s.source_image for s in samples}) < len(samples) else "images"


def load_source(
    name: str, source: Source, rules: ImageRules | None = None, budget: MemoryBudget | None = None
) -> Domain:
    """Encoded images as a domain; see `load_folder`."""
    rules, budget = rules or ImageRules(), budget or MemoryBudget()
    rules = with_stretch(name, (c.read for c in source.chunks()), source.num_images, rules)
    if _fits(source, rules, budget):
        decoded = _decode_to_memory(source, rules)
        budget.take(sum(_bytes_of(sample) for _, sample in decoded.samples))
    else:
        decoded = decode_to_files(source, rules)
    for portion in ("train", "test", "any"):
        _count_skipped(name, portion, decoded)
    mapping = rules.mapping.text
    said = [f"values become pixels by {mapping}"] if mapping else []
    notes = [*source.notes, *said, *_lines(decoded.counts)]
    train, test, any_ = (_portion(portion, decoded, notes) for portion in ("train", "test", "any"))
    if isinstance(source, FolderSource):
        notes += filter(None, [check_crops(name, _by_folder([*train, *test, *any_]))])
    if any_ or not train + test:
        train, test = split_by_group(name, any_)
    notes += filter(None, [jpeg_note([*train, *test]) if rules.channels == 3 else ""])
    unit = "crops" if source.unit == b"crops" else unit_of([*train, *test])
    return Domain(name, tuple(train), tuple(test), unit, tuple(notes), mapping=mapping)


def _portion(portion: Portion, decoded: DecodedFile, notes: list[str]) -> list[Sample]:
    """The images of a portion, copies left out with a line."""
    kept, line = without_copies([s for where, s in decoded.samples if where == portion])
    notes += [line] if line else []
    return kept


def _by_folder(samples: Sequence[Sample]) -> dict[str, Sequence[Sample]]:
    """Samples that lie in folders of a split, by the split: `val` apart from `train`."""
    found: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for sample in samples:
        told = filter(None, map(split_of, sample.name.split("/")[:-1]))
        found[next(told, "train")].append(sample)
    return {split: inside for split, inside in found.items() if inside}


def _fits(source: Source, rules: ImageRules, budget: MemoryBudget) -> bool:
    """Whether the budget has room for all images, by their headers if their number leaves doubt."""
    is_plain = rules.is_plain and source.holds_pictures
    largest = 3 * rules.max_side**2 if is_plain else _most_bytes(rules)
    if budget.has(largest * source.num_images):
        return True
    total = 0
    for num_bytes in in_threads(_measuring(source, rules)):
        total += num_bytes
        if not budget.has(total):
            return False
    return True


def _measuring(source: Source, rules: ImageRules) -> Iterator[Callable[[], int]]:
    for chunk in source.chunks():
        yield partial(_measure, chunk.read(), rules)


def _measure(rows: Sequence[Row], rules: ImageRules) -> int:
    return sum(
        _most_bytes(rules) if is_field_row(row, rules) else decoded_bytes(row.data, rules)
        for row in rows
    )


def _most_bytes(rules: ImageRules) -> int:
    """What a file that may hold several images takes at most, with what rounding left over."""
    return 2 * rules.channels * rules.max_side**2 * rules.mapping.num_frames


def _bytes_of(sample: Sample) -> int:
    return sample.pixels_HWC.nbytes * (1 if sample.fine_HWC is None else 2)


def _decode_to_memory(source: Source, rules: ImageRules) -> DecodedFile:
    result = DecodedFile()
    for decoded in in_threads(partial(decode_rows, c.read(), rules) for c in source.chunks()):
        result.samples += decoded.samples
        result.skipped += decoded.skipped
        result.counts += decoded.counts
    return result


def _count_skipped(name: str, portion: Portion, decoded: DecodedFile) -> None:
    """Count a portion's unusable images among the conversions, and refuse too many of them."""
    skipped = [text for where, text in decoded.skipped if where == portion]
    total = len(skipped) + sum(where == portion for where, _ in decoded.samples)
    if len(skipped) > MAX_SKIPPED_SHARE * total:
        raise DomainError(
            f"domain {name!r}: {len(skipped)} of {total} images cannot be used (at most "
            f"{MAX_SKIPPED_SHARE:.0%} are skipped):\n  " + "\n  ".join(skipped[:8])
        )
    if skipped:
        decoded.counts[f"skipped, the first: {skipped[0]}"] += len(skipped)


def _lines(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{n} x {what}" for what, n in sorted(counts.items()))
