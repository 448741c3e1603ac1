"""Domains whose shift from another one is known: its images corrupted, or a share of them exchanged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interfero.domains.corruptions.table import corrupt
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, UInt8Array
from interfero.domains.ingest import unit_of
from interfero.errors import DomainError
from interfero.randomness import Role, numpy_generator
from interfero.store.keys import text_key

KEPT_BYTES = 256 * 2**20
"""Corrupted images that a process keeps: they are made anew when they are asked for again."""
_LIBRARIES = ("numpy", "scipy", "pillow")

_kept: OrderedDict[str, UInt8Array] = OrderedDict()


class CorruptedSample(Sample):
    """An image under a corruption, made when its pixels are asked for; it pickles as its origin.

    Its digest is of the origin's content and of everything that decides what becomes of it, so that no
    image is corrupted only to be named.
    """

    def __init__(self, origin: Sample, corruption: str, severity: int) -> None:
        """Refer to an image; nothing is corrupted.

        Args:
            origin: The image as it is: (height, width, 3).
            corruption: Of `corruptions.table`.
            severity: 1 to 5.
        """
        # Not through the frozen dataclass: `pixels_HWC` and `digest` are made otherwise here.
        vars(self).update(
            name=origin.name, group=origin.group, source_image=origin.source_image, _origin=origin,
            _how=(corruption, severity),
            digest=text_key(origin.digest, corruption, str(severity), _recipe()),
        )  # fmt: skip

    @property
    def pixels_HWC(self) -> UInt8Array:
        """(height, width, 3), 0-255, read-only: a function of the origin's content and the corruption."""
        if self.digest not in _kept:
            _keep(self.digest, self._made())
        _kept.move_to_end(self.digest)
        return _kept[self.digest]

    def _made(self) -> UInt8Array:
        origin: Sample = vars(self)["_origin"]
        corruption, severity = vars(self)["_how"]
        label = f"{origin.digest}/{corruption}/{severity}"
        random = numpy_generator(0, 0, Role.CORRUPTION, label=label)
        made = corrupt(origin.pixels_HWC, corruption, severity, random)
        made.flags.writeable = False
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Everything but the pixels."""
        return CorruptedSample, (vars(self)["_origin"], *vars(self)["_how"])


def corrupted(base: Domain, corruption: str, severity: int, name: str) -> Domain:
    """All images of a domain under a corruption, with its splits and groups.

    Args:
        base: The domain as it is.
        corruption: Of `corruptions.table`.
        severity: 1 to 5.
        name: Of the domain that comes of it.

    Raises:
        DomainError: its images are not plain 8-bit RGB.
    """
    _check_plain(base, name)

    def each(samples: Iterable[Sample]) -> tuple[Sample, ...]:
        return tuple(CorruptedSample(s, corruption, severity) for s in samples)

    return replace(
        base,
        name=name,
        train=each(base.train),
        test=each(base.test),
        reserve={seed: each(samples) for seed, samples in base.reserve.items()},
        notes=(f"{base.name} under {corruption}, severity {severity} (arXiv:1903.12261)",),
        mixed_in=frozenset(),
    )


def mixed(base: Domain, other: Domain, percent: int, name: str) -> Domain:
    """A domain of which a share of images, in train and in test, is of a second one.

    Both give images spread over their source images. Shares of one pair are nested: the second domain's
    images at 10 % are among those at 25 %, and the number of all images is the same, that of the smaller.

    Args:
        base: The first domain.
        other: The second one.
        percent: Of the second one, 0 to 100.
        name: Of the mixture.

    Raises:
        DomainError: images that are not plain 8-bit RGB, or one that would be in train and in test.
    """
    for domain in (base, other):
        _check_plain(domain, name)
    train, more = _shared_out(base.train, other.train, percent)
    test, more_test = _shared_out(base.test, other.test, percent)
    if _cross(base, other):
        more, more_test = (tuple(_named(s, other.name) for s in part) for part in (more, more_test))
    counts = " and ".join(
        f"{len(others)} of {len(own) + len(others)} {portion}"
        for portion, own, others in (("train", train, more), ("test", test, more_test))
    )
    return Domain(
        name,
        (*train, *more),
        (*test, *more_test),
        unit_of([*train, *more, *test, *more_test]),
        (f"{counts} images of {other.name}, the others of {base.name}",),
        mixed_in=frozenset(s.digest for s in more),
        validation_groups=base.validation_groups.intersection(s.group for s in train)
        | _groups_like(other.validation_groups, more, other.name),
    )


def _groups_like(groups: frozenset[str], samples: Iterable[Sample], domain: str) -> frozenset[str]:
    """Groups of a second domain that are among some of its own, as `_named` may have called them."""
    return frozenset(s.group for s in samples if s.group.removeprefix(f"{domain}/") in groups)


def _shared_out(
    own: tuple[Sample, ...], others: tuple[Sample, ...], percent: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    count = min(len(own), len(others))
    taken = (count * percent + 50) // 100
    return spread(own, count - taken), spread(others, taken)


def _cross(base: Domain, other: Domain) -> bool:
    """Whether a group of one is for training where a group of that name is for test in the other."""
    groups = [[{s.group for s in part} for part in (d.train, d.test)] for d in (base, other)]
    return bool(groups[0][0] & groups[1][1] or groups[0][1] & groups[1][0])


def _named(sample: Sample, domain: str) -> Sample:
    """The same image in groups of its domain: what two domains call `0001` is not one picture."""
    again = copy(sample)
    names = {key: f"{domain}/{vars(sample)[key]}" for key in ("name", "group", "source_image")}
    vars(again).update(names)
    return again


def _check_plain(domain: Domain, name: str) -> None:
    if domain.channels != 3 or domain.mapping:
        raise DomainError(
            f"domain {name!r}: corruptions and mixtures are of 8-bit RGB, {domain.name!r} has "
            f"{domain.channels} channels"
            + (f" by the declaration {domain.mapping!r}" if domain.mapping else "")
            + ": take a domain of plain pictures"
        )


def _keep(digest: str, pixels_HWC: UInt8Array) -> None:
    _kept[digest] = pixels_HWC
    total = sum(kept.nbytes for kept in _kept.values())
    while total > KEPT_BYTES and len(_kept) > 1:
        total -= _kept.popitem(last=False)[1].nbytes


@lru_cache(maxsize=1)
def _recipe() -> str:
    """What decides a corrupted image besides its origin: the code, and the libraries that it calls."""
    folder = Path(__file__).parent / "corruptions"
    code = [path.read_text() for path in sorted(folder.glob("*.py"))]
    return text_key(*code, *(f"{name} {version(name)}" for name in _LIBRARIES))
