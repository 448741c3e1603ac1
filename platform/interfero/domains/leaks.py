"""One picture where two are counted: copies under two names, and crops of one picture in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from interfero.domains.decoding import group_of
from interfero.domains.images import Sample
from interfero.domains.listing import PICTURE_FOLDERS
from interfero.domains.portions import split_of
from interfero.errors import DomainError


def without_copies(samples: Sequence[Sample]) -> tuple[list[Sample], str]:
    """Samples, each content once: copies of a picture under another group's name are left out.

    Validation images are drawn by group, so a copy in another group would be trained on and validated with.
    Equal crops of one group are kept: they are never parted. Which copy stays does not depend on the order.

    Returns:
        What is kept, in order, and a line that counts the others; empty where all are kept.
    """
    first: dict[str, Sample] = {}
    for sample in samples:
        known = first.setdefault(sample.digest, sample)
        if (sample.group, sample.name) < (known.group, known.name):
            first[sample.digest] = sample
    kept = [s for s in samples if s.group == first[s.digest].group]
    if len(kept) == len(samples):
        return kept, ""
    copy = next(s for s in samples if s.group != first[s.digest].group)
    return kept, (
        f"{len(samples) - len(kept)} x copy of another image left out, the first: {copy.name} is "
        f"{first[copy.digest].name}"
    )


def check_crops(domain: str, portions: dict[str, Sequence[Sample]]) -> str:
    """Refuse crops of one source image, by their names, in two folders that are splits.

    Folders that number their crops anew, each from the start, share names: then names tell nothing across
    folders, and nothing is refused.

    Args:
        domain: Its name, for errors.
        portions: Samples by the folder that was given to them, such as `train` or `test`.

    Returns:
        A line where names were not compared; empty otherwise.

    Raises:
        DomainError: names both.
    """
    homes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for portion, samples in portions.items():
        for sample in samples:
            homes[_picture_of(sample)][portion].append(sample.name)
    shared = {
        picture: places
        for picture, places in homes.items()
        if len(places) > 1 and any(map(_is_crop, _all(places)))
    }
    stems = [
        [PurePosixPath(n).stem for n in names] for p in shared.values() for names in p.values()
    ]
    if len({stem for names in stems for stem in names}) < sum(map(len, stems)):
        folders = " and ".join(f"{portion}/" for portion in portions)
        return f"{folders} give one name to different images: crops are told apart in each alone"
    for picture, places in sorted(shared.items()):
        (one, ours), (other, theirs) = list(places.items())[:2]
        raise DomainError(
            f"domain {domain!r}: {ours[0]!r} in {one} and {theirs[0]!r} in {other} are crops of one source "
            f"image by their names ({picture}); move all of them to one folder, or rename those that are not"
        )
    return ""


def _picture_of(sample: Sample) -> str:
    """The source image without the folders that are splits."""
    parts = sample.group.split("/")
    folders = [p for p in parts[:-1] if split_of(p) is None and p not in PICTURE_FOLDERS]
    return "/".join([*folders, parts[-1]])


def _is_crop(name: str) -> bool:
    stem = PurePosixPath(name).stem
    return group_of(stem) != stem


def _all(places: dict[str, list[str]]) -> Iterable[str]:
    return (name for names in places.values() for name in names)
