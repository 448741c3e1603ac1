"""The domains that come with the project: no download, every name in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from interfero.domains import packaged, rendered
from interfero.domains.domain import Domain


@dataclass(frozen=True)
class BundledDomain:
    """A domain that needs no files from its user."""

    load: Callable[[], Domain]
    description: str
    """One line for listings."""
    role: Literal["source", "target"]
    """`source`: like the photographs the codecs learned from; `target`: something else."""


BUNDLED: dict[str, BundledDomain] = {
    "photos": BundledDomain(packaged.photos, "colour photographs at half scale", "source"),
    "histology": BundledDomain(packaged.histology, "stained tissue, one micrograph", "target"),
    "fundus": BundledDomain(packaged.fundus, "the back of an eye, one photograph", "target"),
    "astronomy": BundledDomain(packaged.astronomy, "galaxies, one Hubble picture", "target"),
    "textures": BundledDomain(packaged.textures, "brick, grass and gravel in grey", "target"),
    "text": BundledDomain(rendered.text, "rendered text pages", "target"),
    "charts": BundledDomain(rendered.charts, "rendered charts", "target"),
    "windows": BundledDomain(rendered.windows, "rendered program windows", "target"),
}
"""Command-line name to domain."""
