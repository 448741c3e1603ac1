"""What the bundled domains hold, known without reading or drawing them: drawing charts takes seconds.

The fingerprints tell whether cells were made of these images, or of others under the same name.
"""

from __future__ import annotations

from typing import NamedTuple


class BundledImages(NamedTuple):
    """Of one domain."""

    fingerprint: str
    """`Domain.fingerprint`, the hash that cells carry."""
    num_images: int
    """`Domain.max_images`: what `--num-images all` is."""
    drawn: bool = False
    """Whether more are drawn for larger subsets, whose cells carry another hash."""


BUNDLED_IMAGES = {
    "photographs": BundledImages("79a47b132938cd30f12e6200b5a2aa3a", 26),
    "photos": BundledImages("6bb1c1240d37c2ac419eedddb4672b55", 14),
    "histology": BundledImages("c9cf008154fb56fa3fbf25c4e7a32469", 6),
    "fundus": BundledImages("245c405b74ce937787df2ef7413067d6", 12),
    "astronomy": BundledImages("a654a3bb100d6f1ae60db51317b2b4d2", 12),
    "textures": BundledImages("21c2af96a382910495412939630bf199", 20),
    "text": BundledImages("4a7046057ff466a1533d781ff11f84ca", 51, drawn=True),
    "charts": BundledImages("8baa250197b980e27283fb4611539886", 51, drawn=True),
    "windows": BundledImages("14c402533555d912472162827a425e86", 51, drawn=True),
}
"""A test loads every domain and compares."""
