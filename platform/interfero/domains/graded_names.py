"""Names of domains whose shift is known: `photographs.fog-3`, `photographs.mix-text-25`; and short ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from interfero.domains.specs import data_folders
from interfero.errors import DomainError, nearest

CORRUPTION_GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for names in CORRUPTION_GROUPS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)
SHARES = (0, 10, 25, 50, 75, 100)
"""Percent that `BASE.mixes-OTHER` stands for; a name takes any from 0 to 100."""
MIX = "mix-"
NAMING = (
    "BASE.CORRUPTION-SEVERITY is a domain under one of 15 corruptions at severity 1 to 5, as in "
    "photographs.fog-3; BASE.mix-OTHER-PERCENT has that percentage of its images from a second domain, as in "
    "photographs.mix-text-25. BASE.corruptions, BASE.CORRUPTION and BASE.mixes-OTHER stand for all of these."
)
_CORRUPTED = re.compile(r"(.+)\.([A-Za-z_]+)-(\d+)")
_MIXED = re.compile(rf"(.+)\.({MIX}.+)-(\d+)")


class GradedName(NamedTuple):
    """What the name of such a domain says."""

    base: str
    """The domain that is corrupted, or mixed with another one."""
    family: str
    """The corruption, or `mix-` and the other domain."""
    level: int
    """Severity, or percent of the other domain's images."""

    @property
    def other(self) -> str:
        """The domain that is mixed in; empty for a corruption."""
        return self.family.removeprefix(MIX) if self.family.startswith(MIX) else ""


def parse_graded(name: str) -> GradedName | None:
    """What a name says, if it has the form of such a name and names a corruption or a mixture."""
    found = _read(name)
    return found if found is not None and (found.other or found.family in CORRUPTIONS) else None


def graded_name(name: str, known: Collection[str]) -> GradedName | None:
    """What the name of a domain says; None if it is no such name.

    Args:
        name: As a user typed it.
        known: Domains that have a name of their own.

    Raises:
        DomainError: an unknown corruption or domain, or a level out of range.
    """
    found = _read(name)
    if found is None or not (found.other or found.family in CORRUPTIONS or found.base in known):
        return None
    if not found.other and found.family not in CORRUPTIONS:
        raise DomainError(
            f"domain {name!r}: no corruption is called {found.family!r}: {nearest(found.family, CORRUPTIONS)}"
        )
    for part in filter(None, (found.base, found.other)):
        if part not in known and graded_name(part, known) is None:
            raise DomainError(
                f"domain {name!r}: {part!r} is neither a bundled domain nor a folder of $INTERFERO_DATA: "
                f"{nearest(part, known)}"
            )
    if found.other and found.level > 100:
        raise DomainError(
            f"domain {name!r}: a mixture has 0 to 100 % of {found.other}, got {found.level}; write "
            f"{found.base}.{found.family}-25, say"
        )
    if not found.other and found.level not in SEVERITIES:
        raise DomainError(
            f"domain {name!r}: severities are 1 to 5, got {found.level}; write "
            f"{found.base}.{found.family}-{min(max(found.level, 1), 5)}, say"
        )
    return found


def expanded(specs: Iterable[str]) -> tuple[str, ...]:
    """Domains as a user typed them, with short names replaced by what they stand for.

    `BASE.corruptions` stands for all 75, `BASE.fog` for five severities, `BASE.mixes-OTHER` for six
    shares. A folder of exactly that name in $INTERFERO_DATA goes first.

    Raises:
        DomainError: $INTERFERO_DATA names no folder.
    """
    return tuple(name for spec in specs for name in _expanded(spec))


def _expanded(spec: str) -> tuple[str, ...]:
    base, _, word = spec.rpartition(".")
    families = CORRUPTIONS if word == "corruptions" else (word,) if word in CORRUPTIONS else ()
    other = word.removeprefix("mixes-") if word.startswith("mixes-") else ""
    if not base or "=" in spec or not (families or other) or spec in data_folders():
        return (spec,)
    if other:
        return tuple(f"{base}.{MIX}{other}-{share}" for share in SHARES)
    return tuple(f"{base}.{family}-{level}" for family in families for level in SEVERITIES)


def _read(name: str) -> GradedName | None:
    match = _CORRUPTED.fullmatch(name) or _MIXED.fullmatch(name)
    return None if match is None else GradedName(match[1], match[2], int(match[3]))
