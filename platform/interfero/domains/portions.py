"""Words by which data name their split: `train`, `valid`, `Test`, `validation-00000-of-00002.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from interfero.errors import DomainError
from interfero.randomness import Role, seed_for

TEST_SHARE = 0.25
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What counts as each, in any case; the first is the name of our own."""
_BY_WORD = {word: split for split, words in WORDS.items() for word in words}
_SHARD = re.compile(r"([A-Za-z]+)(?:[-_. ]?\d[-_.\w]*)?")
"""A file's name without suffix: `test`, `train-00000-of-00001`, `validation_3`."""


def split_of(word: str) -> Split | None:
    """The split that a word means, in any case; None for other words."""
    return _BY_WORD.get(word.lower())


def split_of_shard(stem: str) -> Split | None:
    """The split that a file's name without suffix begins with, as `datasets` writes shards."""
    match = _SHARD.fullmatch(stem)
    return split_of(match.group(1)) if match else None


def split_folders(name: str, root: Path) -> dict[Split, Path]:
    """Folders directly below another one that are its splits.

    A folder of exactly our name is taken before `valid/` or `Train/`.

    Raises:
        DomainError: two folders mean one split; names both.
    """
    found: dict[Split, list[Path]] = {}
    for folder in sorted(p for p in root.iterdir() if split_of(p.name) and p.is_dir()):
        split = split_of(folder.name)
        assert split is not None
        found.setdefault(split, []).append(folder)
    chosen: dict[Split, Path] = {}
    for split, folders in found.items():
        exact = [f for f in folders if f.name == split]
        if not exact and len(folders) > 1:
            both = " and ".join(f"{f.name}/" for f in folders)
            raise DomainError(
                f"domain {name!r}: {both} in {root} would both be {split}/; name the one that is "
                f"meant {split}/"
            )
        chosen[split] = (exact or folders)[0]
    return {split: chosen[split] for split in SPLITS if split in chosen}


def held_out(name: str, groups: Iterable[str]) -> set[str]:
    """The groups that are for test where nothing says which: a quarter of them, drawn by a seed.

    Raises:
        DomainError: there are fewer than 3.
    """
    drawn = sorted(groups, key=lambda g: seed_for(0, 0, Role.SPLIT, label=g))
    if len(drawn) < 3:
        raise DomainError(
            f"domain {name!r} needs at least 3 source images to split into train, validation and "
            f"test, found {len(drawn)}; add images, or make folders train/ and test/"
        )
    return set(drawn[: max(1, round(TEST_SHARE * len(drawn)))])


def said_as(folders: Iterable[tuple[Split, str]]) -> str:
    """`valid/ is read as val/`, of those that are not called so already; nothing for none."""
    others = [(called, split) for split, called in folders if called != split]
    return ", ".join(f"{called}/ is read as {split}/" for called, split in others)
