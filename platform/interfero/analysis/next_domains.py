"""Which images cells were made of, as a command can name them again: bundled ones, others, or not known."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.domains.graded_names import parse_graded
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.records import CellRecord

NOWHERE = "path/to/"
ALL = "all"
Images = Literal["bundled", "other", "unknown"]


def typed_domains(commands: Iterable[str]) -> dict[str, str]:
    """By name, what was typed for a domain: `thing=photos/thing`, or the name alone."""
    found: dict[str, str] = {}
    for command in commands:
        option = ""
        for word in shlex.split(command):
            if word.startswith("--"):
                option = word
            elif option in ("--domains", "--source-domain"):
                found.setdefault(word.partition("=")[0], word)
    return found


def target_domain(name: str, records: Iterable[CellRecord], typed: Mapping[str, str]) -> str:
    """What to type for a target: as it was typed, a bundled one by its name, else with a place to fill in."""
    return typed.get(name) or _named(name, _of_target(name, records))


def source_domain(name: str, records: Iterable[CellRecord], typed: Mapping[str, str]) -> str:
    """The same for a source domain; empty for the default, which a command leaves out."""
    text = typed.get(name) or _named(name, _of_source(name, records))
    return "" if text == DEFAULT_SOURCE else text


def domain_reasons(records: Sequence[CellRecord], typed: Mapping[str, str]) -> list[str]:
    """What a reader has to know of the images that a command would run: they may be others."""
    found: dict[Images, list[str]] = defaultdict(list)
    for name in sorted({str(r.params["domain"]) for r in records} - typed.keys()):
        found[_of_target(name, records)].append(name)
    for name in sorted(_sources(records) - typed.keys()):
        found[_of_source(name, records)].append(f"{name} (source)")
    lines = []
    if changed := [n for n in found["other"] if n.removesuffix(" (source)") in BUNDLED_IMAGES]:
        has = "has" if len(changed) == 1 else "have"
        lines.append(
            f"{', '.join(changed)} {has} other images here than the bundled domain of that name"
        )
    if found["unknown"]:
        lines.append(
            f"the cells do not say whether {', '.join(found['unknown'])} is the bundled domain of that name: "
            "if it is not, give its folder as NAME=PATH"
        )
    return lines


def unknown_folders() -> str:
    """What a command with `NOWHERE` in it still needs."""
    return f"where the images are is not known: put their folders in place of {NOWHERE}"


def domains_by_counts(
    records: Sequence[CellRecord], typed: Mapping[str, str], *, all_asked: bool
) -> dict[tuple[str, ...], list[str]]:
    """Domains by the image counts that their cells have: one command has one list of counts for all.

    Args:
        records: Cells.
        typed: By name, what was typed for a domain.
        all_asked: Whether the largest count of each domain is what `all` gave it.
    """
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        counts[str(record.params["domain"])].add(int(record.params["num_images"]))
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, own in sorted(counts.items()):
        largest = max(own)
        bundled = name not in typed and _of_target(name, records) == "bundled"
        whole = all_asked or (bundled and BUNDLED_IMAGES[name].num_images == largest)
        texts = tuple(ALL if whole and n == largest else str(n) for n in sorted(own))
        found[texts].append(name)
    if len(found) > 1 and len({max(own) for own in counts.values()}) == 1:
        # Some may be asked for all that they have, and others for the same number.
        return _by_numbers(counts)
    return dict(found)


def _by_numbers(counts: Mapping[str, set[int]]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, own in sorted(counts.items()):
        found[tuple(map(str, sorted(own)))].append(name)
    return dict(found)


def _named(name: str, images: Images) -> str:
    return f"{name}={NOWHERE}{name}" if images == "other" else name


def _of_target(name: str, records: Iterable[CellRecord]) -> Images:
    own = [r for r in records if r.params["domain"] == name]
    hashes = {r.provenance.get("domain_hash", "") for r in own} - {""}
    least = min((int(r.params["num_images"]) for r in own), default=0)
    return _images(name, hashes, least)


def _of_source(name: str, records: Iterable[CellRecord]) -> Images:
    own = [r for r in records if r.provenance.get("source_domain") == name]
    return _images(name, {r.provenance.get("source_domain_hash", "") for r in own} - {""}, 0)


def _sources(records: Iterable[CellRecord]) -> set[str]:
    return {r.provenance.get("source_domain", "") for r in records} - {""}


def _images(name: str, hashes: set[str], least: int) -> Images:
    """Whether hashes of a domain's images are those of the bundled domain that has its name."""
    known, graded = BUNDLED_IMAGES.get(name), parse_graded(name)
    if known is None:
        return "unknown" if graded is not None and graded.base in BUNDLED_IMAGES else "other"
    if known.fingerprint in hashes:
        return "bundled"
    # A subset that took drawn images has their hash, too.
    return "unknown" if not hashes or (known.drawn and least > known.num_images) else "other"
