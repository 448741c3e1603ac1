"""Colour photographs that come with this package: crops in lossless files, with where each comes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from interfero.domains.domain import Domain
from interfero.domains.images import ImageRules, Sample, SkippedImageError, decode_image
from interfero.errors import DomainError

FOLDER = Path(__file__).parent / "pictures"
"""Crops, the text of their licence, and `PROVENANCE`."""
PROVENANCE = "provenance.json"
_AS_STORED = ImageRules(halve_jpeg=False)
_REMEDY = "install interfero again"


def photographs() -> Domain:
    """Colour photographs under CC0 or in the public domain, split by photograph.

    Training, validation and test are fixed. No bundled codec was trained on a validation or test photograph.

    Raises:
        DomainError: a file is missing, or is another one.
    """
    train: list[Sample] = []
    test: list[Sample] = []
    validation = set()
    sources: Counter[str] = Counter()
    for picture in provenance():
        crops = [_crop(picture["name"], crop) for crop in picture["crops"]]
        (test if picture["split"] == "test" else train).extend(crops)
        if picture["split"] == "validation":
            validation.add(picture["name"])
        sources[f"{picture['package']} {picture['version']} ({picture['licence']})"] += 1
    notes = (f"{n} photographs of {source}" for source, n in sorted(sources.items()))
    return Domain(
        "photographs", tuple(train), tuple(test), "crops", tuple(notes),
        validation_groups=frozenset(validation),
    )  # fmt: skip


@cache
def provenance() -> tuple[Mapping[str, Any], ...]:
    """One entry per photograph: its origin, licence and author, its split, how it was reduced, its crops.

    Raises:
        DomainError: the file is missing.
    """
    path = FOLDER / PROVENANCE
    try:
        return tuple(json.loads(path.read_text(encoding="utf-8"))["photographs"])
    except OSError as error:
        raise DomainError(
            f"domain 'photographs': {path} cannot be read ({error}): {_REMEDY}"
        ) from error


def _crop(name: str, crop: Mapping[str, Any]) -> Sample:
    path = FOLDER / crop["file"]
    try:
        sample = Sample(path.stem, name, decode_image(path, crop["file"], _AS_STORED, Counter()))
    except (SkippedImageError, OSError) as error:
        raise DomainError(f"domain 'photographs': {error}: {_REMEDY}") from error
    if sample.digest != crop["digest"]:
        raise DomainError(
            f"domain 'photographs': {path} is another picture than the one that came with the package: "
            f"{_REMEDY}"
        )
    return sample
