"""Draw the images of the rendered domains that come with the package: `python tools/keep_drawings.py`.

Run it where a renderer changed, or where another version of matplotlib or Pillow draws otherwise: a test
says so. The fingerprints in `interfero.domains.bundled_images` then change too.
"""

from __future__ import annotations

import io
import zipfile

from PIL import Image

from interfero.domains.bundled import BUNDLED
from interfero.domains.rendered import NUM_TEST, NUM_TRAIN, Renderer, render_sample
from interfero.domains.rendering.kept import FOLDER

_DAY = (1980, 1, 1, 0, 0, 0)
"""The same in every archive: the same drawings are the same file."""


def keep(name: str, draw: Renderer) -> None:
    """Write a domain's archive."""
    FOLDER.mkdir(exist_ok=True)
    with zipfile.ZipFile(FOLDER / f"{name}.zip", "w") as archive:
        for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
            for index in range(count):
                data = io.BytesIO()
                image = Image.fromarray(render_sample(name, draw, split, index).pixels_HWC)
                image.save(data, "WEBP", lossless=True, quality=100, method=6)
                entry = zipfile.ZipInfo(f"{split}-{index:04d}.webp", _DAY)
                archive.writestr(entry, data.getvalue())


if __name__ == "__main__":
    for domain, bundled in BUNDLED.items():
        if bundled.draw is not None:
            keep(domain, bundled.draw)
