"""The domains that come with the project: no download, every name in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from interfero.domains import packaged, rendered
from interfero.domains.domain import Domain
from interfero.domains.photographs import photographs
from interfero.domains.rendering.charts import draw_chart
from interfero.domains.rendering.text import draw_page
from interfero.domains.rendering.windows import draw_window


@dataclass(frozen=True)
class BundledDomain:
    """A domain that needs no files from its user."""

    load: Callable[[], Domain]
    description: str
    """One line for listings."""
    role: Literal["source", "target"]
    """`source`: like the photographs the codecs learned from; `target`: something else."""
    draw: rendered.Renderer | None = None
    """Draws further images of a rendered domain; None where there is only what there is."""

    def load_for(self, num_images: int, data_seeds: Iterable[int]) -> Domain:
        """The domain, with images for subsets of `num_images` if they can be drawn."""
        domain = self.load()
        if self.draw is None or num_images <= domain.max_images:
            return domain
        return rendered.extend(domain, self.draw, num_images, data_seeds)


BUNDLED: dict[str, BundledDomain] = {
    "photographs": BundledDomain(photographs, "colour photographs, CC0 or public domain", "source"),
    "photos": BundledDomain(packaged.photos, "colour photographs at half scale", "source"),
    "histology": BundledDomain(packaged.histology, "stained tissue, one micrograph", "target"),
    "fundus": BundledDomain(packaged.fundus, "the back of an eye, one photograph", "target"),
    "astronomy": BundledDomain(packaged.astronomy, "galaxies, one Hubble picture", "target"),
    "textures": BundledDomain(packaged.textures, "brick, grass and gravel in grey", "target"),
    "text": BundledDomain(rendered.text, "rendered text pages", "target", draw_page),
    "charts": BundledDomain(rendered.charts, "rendered charts", "target", draw_chart),
    "windows": BundledDomain(rendered.windows, "rendered program windows", "target", draw_window),
}
"""Command-line name to domain."""
