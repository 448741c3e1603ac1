"""Folders of images and Parquet files as domains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from interfero.domains.domain import Domain, ImageUnit
from interfero.domains.images import (
    IMAGE_SUFFIXES,
    ImageRules,
    Sample,
    SkippedImageError,
    decode_image,
)
from interfero.errors import DomainError
from interfero.randomness import Role, seed_for

MAX_SKIPPED_SHARE = 0.1
TEST_SHARE = 0.25
UNIT_KEY = b"interfero.unit"
"""Parquet metadata: what one image is, where its groups cannot tell (regions of one picture)."""
_CROP_NAME = re.compile(r"^(.*\d)_\d{1,2}$")

Encoded = tuple[str, str | None, bytes | Path]
"""(name, group if known, image)"""


def load_folder(name: str, path: Path, rules: ImageRules | None = None) -> Domain:
    """A folder of images as a domain.

    `train/` and `test/` below it are used if both are there (`val/` joins train); else the images
    are split by source image, a quarter of them for test. Names such as `s0000_0` and `s0000_1`
    are crops of one source image.

    Raises:
        DomainError: no folder, no image in it, or too many that cannot be used.
    """
    rules = rules or ImageRules()
    if not path.is_dir():
        raise DomainError(f"domain {name!r}: there is no folder {path}")
    counts: Counter[str] = Counter()
    if (path / "train").is_dir() and (path / "test").is_dir():
        train = _decode(name, _files(name, path, ("train", "val")), rules, counts)
        test = _decode(name, _files(name, path, ("test",)), rules, counts)
    else:
        train, test = split_by_group(name, _decode(name, _files(name, path, ("",)), rules, counts))
    return Domain(name, tuple(train), tuple(test), unit_of([*train, *test]), _lines(counts))


def load_parquet(name: str, path: Path | Sequence[Path], rules: ImageRules | None = None) -> Domain:
    """Parquet as a domain: column `image` (encoded bytes), and `name`, `group`, `split` if any.

    Several files are read as one table, in the order given.

    Raises:
        DomainError: the file cannot be read, lacks `image`, or holds too many unusable images.
    """
    rules = rules or ImageRules()
    table = _read_tables(name, [path] if isinstance(path, Path) else path)
    counts: Counter[str] = Counter()
    rows = table.to_pylist()
    encoded = [(*_row(i, r), r.get("split")) for i, r in enumerate(rows)]
    if "split" in table.column_names:
        train = _decode(name, [e[:3] for e in encoded if e[3] != "test"], rules, counts)
        test = _decode(name, [e[:3] for e in encoded if e[3] == "test"], rules, counts)
    else:
        samples = _decode(name, [e[:3] for e in encoded], rules, counts)
        train, test = split_by_group(name, samples)
    metadata = table.schema.metadata or {}
    unit = "crops" if metadata.get(UNIT_KEY) == b"crops" else unit_of([*train, *test])
    return Domain(name, tuple(train), tuple(test), unit, _lines(counts))


def split_by_group(name: str, samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """A seeded split by source image, about a quarter of the images for test."""
    groups = sorted({s.group for s in samples}, key=lambda g: seed_for(0, 0, Role.SPLIT, label=g))
    if len(groups) < 3:
        raise DomainError(
            f"domain {name!r} needs at least 3 source images to split into train, validation and "
            f"test, found {len(groups)}; add images, or make folders train/ and test/"
        )
    test_groups = set(groups[: max(1, round(TEST_SHARE * len(groups)))])
    train = [s for s in samples if s.group not in test_groups]
    return train, [s for s in samples if s.group in test_groups]


def unit_of(samples: Sequence[Sample]) -> ImageUnit:
    """`crops` where at least one source image gave several."""
    return "crops" if len({s.group for s in samples}) < len(samples) else "images"


def group_of(stem: str) -> str:
    """The source image that a file name stands for: `photo012_3` is a crop of `photo012`."""
    match = _CROP_NAME.match(stem)
    return match.group(1) if match else stem


def _read_tables(name: str, paths: Sequence[Path]) -> pyarrow.Table:
    tables: list[pyarrow.Table] = []
    for path in paths:
        try:
            # Without it, a folder called `key=value` would add a column.
            table = pyarrow.parquet.read_table(path, partitioning=None)
        except (OSError, pyarrow.ArrowException) as error:
            raise DomainError(
                f"domain {name!r}: {path} cannot be read as Parquet ({error}); write it again"
            ) from error
        if "image" not in table.column_names:
            raise DomainError(
                f"domain {name!r}: {path} has the columns {table.column_names}, "
                "it needs `image` with encoded images as bytes"
            )
        if tables and table.column_names != tables[0].column_names:
            raise DomainError(
                f"domain {name!r}: {path} has the columns {table.column_names}, {paths[0]} has "
                f"{tables[0].column_names}; write all files with the same columns"
            )
        tables.append(table)
    return pyarrow.concat_tables(tables, promote_options="permissive")


def _row(index: int, row: dict[str, object]) -> Encoded:
    label = str(row.get("name") or f"row {index}")
    group = row.get("group")
    image = row["image"]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise DomainError(f"{label}: column `image` must hold bytes, found {type(data).__name__}")
    return label, None if group is None else str(group), data


def _files(name: str, path: Path, folders: Iterable[str]) -> list[Encoded]:
    def walk() -> Iterator[Encoded]:
        for folder in folders:
            root = path / folder
            # CamVid's layout keeps the pictures beside their label maps.
            root = root / "images" if (root / "images").is_dir() else root
            for file in sorted(root.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
                # A link that points nowhere is an image that cannot be read, not none at all.
                there = file.is_file() or (file.is_symlink() and not file.exists())
                if file.suffix.lower() in IMAGE_SUFFIXES and there and not hidden:
                    yield str(file.relative_to(path)), None, file

    try:
        found = list(walk())
    except OSError as error:
        raise DomainError(f"domain {name!r}: {path} cannot be listed ({error})") from error
    if not found:
        raise DomainError(
            f"domain {name!r}: no image in {path}; it may hold {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return found


def _decode(
    name: str, encoded: list[Encoded], rules: ImageRules, counts: Counter[str]
) -> list[Sample]:
    samples, skipped = [], []
    for label, group, data in encoded:
        try:
            pixels = decode_image(data, label, rules, counts)
        except SkippedImageError as error:
            skipped.append(str(error))
            continue
        stem = Path(label).with_suffix("").as_posix()
        folder, _, base = stem.rpartition("/")
        samples.append(Sample(label, group or f"{folder}/{group_of(base)}".lstrip("/"), pixels))
    if len(skipped) > MAX_SKIPPED_SHARE * len(encoded):
        raise DomainError(
            f"domain {name!r}: {len(skipped)} of {len(encoded)} images cannot be used (at most "
            f"{MAX_SKIPPED_SHARE:.0%} are skipped):\n  " + "\n  ".join(skipped[:8])
        )
    if skipped:
        counts[f"skipped, the first: {skipped[0]}"] += len(skipped)
    return samples


def _lines(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{n} x {what}" for what, n in sorted(counts.items()))
