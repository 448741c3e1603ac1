"""A domain: images, their splits, and nested subsets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from interfero.domains.images import Sample
from interfero.errors import DomainError
from interfero.randomness import Role, seed_for
from interfero.store.keys import new_digest

ImageUnit = Literal["images", "crops"]
"""What one image of a domain is: `crops` where several are cut from one picture."""

VALIDATION_SHARE = 0.15
MIN_VALIDATION = 3
MAX_VALIDATION = 12
"""Validation images at most; choices need a ranking, not a third decimal."""


@dataclass(frozen=True)
class Split:
    """What one cell trains on and validates with."""

    training: tuple[Sample, ...]
    validation: tuple[Sample, ...]


@dataclass(frozen=True)
class Domain:
    """Images of one kind, split by source image into train and test."""

    name: str
    train: tuple[Sample, ...] = field(repr=False)
    test: tuple[Sample, ...] = field(repr=False)
    unit: ImageUnit = "images"
    """What one image is: `images`, or `crops` where several are cut from one picture."""
    notes: tuple[str, ...] = ()
    """Conversions and skips, a line each, with their counts."""
    reserve: Mapping[int, tuple[Sample, ...]] = field(default_factory=dict, repr=False)
    """By data seed, training images that subsets take in order once `train` is used up.

    They are never validation images and no part of `all`, so that a reserve changes nothing else.
    """
    mapping: str = ""
    """How values became pixels, as it was declared; empty for plain 8-bit pictures."""
    mixed_in: frozenset[str] = frozenset()
    """Digests of training images that come from a second domain: subsets and validation keep their share."""
    validation_groups: frozenset[str] = frozenset()
    """Groups in `train` that are validation for every data seed; empty where a seed draws them."""

    def __post_init__(self) -> None:
        """Refuse a domain whose test images could have been trained on."""
        spare = [s for samples in self.reserve.values() for s in samples]
        copies = {s.digest: s.name for s in (*self.train, *spare)}
        for sample in self.test:
            if sample.digest in copies:
                raise DomainError(
                    f"domain {self.name!r}: test image {sample.name!r} is the train image "
                    f"{copies[sample.digest]!r}; remove one of them"
                )
        shared = {s.group for s in (*self.train, *spare)} & {s.group for s in self.test}
        if shared:
            raise DomainError(
                f"domain {self.name!r}: {sorted(shared)[0]!r} is in train and in test; "
                "move all images of one source image to one split"
            )
        unknown = self.validation_groups - {s.group for s in self.train}
        if unknown:
            raise DomainError(
                f"domain {self.name!r}: {sorted(unknown)[0]!r} is for validation and has no image in "
                "train; validation groups are groups of training images"
            )
        if not self.train or not self.test:
            raise DomainError(
                f"domain {self.name!r} needs at least 1 train and 1 test image, found "
                f"{len(self.train)} and {len(self.test)}"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of every image, of the splits and of what was declared of the files.

        Name, unit and reserve are no part.
        """
        digest = new_digest()
        if self.mapping:
            digest.update(f"mapping {self.mapping}\n".encode())
        if self.mixed_in:
            digest.update(f"mixed in {sorted(self.mixed_in)}\n".encode())
        if self.validation_groups:
            digest.update(f"validation {sorted(self.validation_groups)}\n".encode())
        for split, samples in (("train", self.train), ("test", self.test)):
            rows = sorted(f"{split} {s.group} {s.name} {s.digest}" for s in samples)
            digest.update("\n".join(rows).encode())
        return digest.hexdigest()

    def fingerprint_for(self, num_images: int, data_seed: int) -> str:
        """The fingerprint, and the images of the reserve if a subset takes any."""
        num_spare = num_images - self.num_outside_validation(data_seed)
        if num_spare <= 0:
            return self.fingerprint
        digest = new_digest()
        digest.update(self.fingerprint.encode())
        for sample in self.reserve.get(data_seed, ())[:num_spare]:
            digest.update(sample.digest.encode())
        return digest.hexdigest()

    @property
    def channels(self) -> int:
        """Channels of its images: all are read for one codec."""
        return int(self.train[0].pixels_HWC.shape[2])

    @property
    def max_images(self) -> int:
        """Images of the subset `all`: all training images outside validation."""
        return self.num_outside_validation(data_seed=0)

    def num_outside_validation(self, data_seed: int) -> int:
        """Training images that are left when validation has taken its own; no reserve."""
        return len(self._parted(data_seed)[0])

    def split(self, num_images: int | str, data_seed: int) -> Split:
        """A nested training subset and the validation images that go with every subset.

        The 5-image subset lies inside the 20-image one of the same seed. Validation images are
        drawn by source image unless the domain names their groups, lie outside every subset, and are the same
        for all counts.

        Args:
            num_images: Training images, or `all` of `train` outside validation.
            data_seed: Draws the order.

        Raises:
            DomainError: more images asked for than there are.
        """
        pool, validation = self._parted(data_seed)
        count = len(pool) if num_images == "all" else int(num_images)
        if count > len(pool):
            pool = (*pool, *self.reserve.get(data_seed, ()))
        if not 1 <= count <= len(pool):
            raise DomainError(
                f"domain {self.name!r} has {len(pool)} training {self.unit} beside "
                f"{len(validation)} for validation, asked for {count}: ask for 1 to {len(pool)}, "
                "or `all`"
            )
        return Split(pool[:count], validation[:MAX_VALIDATION])

    def _parted(self, data_seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """The training images outside validation and those inside, each in the order of a seed."""
        if data_seed not in self._parts:
            groups = self._validation_groups(data_seed)
            inside = [s for s in self.train if s.group in groups]
            outside = [s for s in self.train if s.group not in groups]
            self._check_validation(inside, outside)
            self._parts[data_seed] = (
                self._in_order(outside, data_seed, Role.SUBSET),
                self._in_order(inside, data_seed, Role.VALIDATION),
            )
        return self._parts[data_seed]

    def _in_order(self, samples: Sequence[Sample], seed: int, role: Role) -> tuple[Sample, ...]:
        """Shuffled; of two domains each in its turn, so that any beginning has their shares."""
        places = [
            ((place + 0.5) / len(part), which, sample)
            for which, part in enumerate(self._origins(samples))
            for place, sample in enumerate(_shuffled(part, seed, role))
        ]
        return tuple(sample for *_, sample in sorted(places, key=lambda place: place[:2]))

    def _origins(self, samples: Iterable[Sample]) -> list[list[Sample]]:
        """The images of the domain's own, and those of a second one, as far as there are any."""
        parts: tuple[list[Sample], list[Sample]] = ([], [])
        for sample in samples:
            parts[sample.digest in self.mixed_in].append(sample)
        return [part for part in parts if part]

    def _check_validation(self, inside: Sequence[Sample], outside: Sequence[Sample]) -> None:
        """Refuse validation images whose content is trained on under another name."""
        copies = {s.digest: s.name for s in outside}
        for sample in inside:
            if sample.digest in copies:
                raise DomainError(
                    f"domain {self.name!r}: validation image {sample.name!r} is the training image "
                    f"{copies[sample.digest]!r}; remove one of them, or give both one group"
                )

    @cached_property
    def _parts(self) -> dict[int, tuple[tuple[Sample, ...], tuple[Sample, ...]]]:
        # Every cell asks for its split, and hashing 100,000 names takes half a second.
        return {}

    def _validation_groups(self, data_seed: int) -> frozenset[str]:
        parts = self._origins(self.train)
        chosen: set[str] = set()
        for part in parts:
            groups = {s.group for s in part}
            named = groups & self.validation_groups
            # A small share of a mixture can be made of these groups only: one of them has to train.
            chosen |= named if named and named != groups else _validation_groups(part, data_seed)
        if not chosen:
            each = " of each domain" if len(parts) > 1 else ""
            raise DomainError(
                f"domain {self.name!r} has 1 source image{each} in train: validation needs a second one"
            )
        return frozenset(chosen)


def _validation_groups(samples: Sequence[Sample], data_seed: int) -> set[str]:
    """Groups that validation takes of some images; none where there is one group."""
    groups = sorted({s.group for s in samples})
    groups.sort(key=lambda g: seed_for(data_seed, 0, Role.VALIDATION, label=g))
    chosen: set[str] = set()
    wanted = max(MIN_VALIDATION, round(VALIDATION_SHARE * len(samples)))
    # A small domain keeps most of its images for training.
    wanted = min(wanted, max(1, len(samples) // 3))
    for group in groups[: len(groups) - 1]:
        if sum(s.group in chosen for s in samples) >= min(wanted, MAX_VALIDATION):
            break
        chosen.add(group)
    return chosen


def check_channels(domain: Domain, channels: int) -> None:
    """Refuse a domain for a codec of another number of channels.

    Raises:
        DomainError: names both numbers.
    """
    if domain.channels != channels:
        raise DomainError(
            f"domain {domain.name!r} has images of {domain.channels} channels, the codec codes {channels}: "
            "give a domain of files with as many bands, or another codec"
        )


def _shuffled(samples: Iterable[Sample], seed: int, role: Role) -> list[Sample]:
    """Order by a hash of content, so that the order of files in a folder never matters."""
    return sorted(samples, key=lambda s: (seed_for(seed, 0, role, label=s.name + s.digest), s.name))


def spread(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
    """At most `count` samples, taking each group once before any twice."""
    rank: dict[str, int] = {}
    keyed: list[tuple[int, int, Sample]] = []
    for sample in sorted(samples, key=lambda s: seed_for(0, 0, Role.SPLIT, label=s.name)):
        rank[sample.group] = rank.get(sample.group, -1) + 1
        keyed.append((rank[sample.group], len(keyed), sample))
    return tuple(sample for _, _, sample in sorted(keyed, key=lambda k: k[:2])[:count])
