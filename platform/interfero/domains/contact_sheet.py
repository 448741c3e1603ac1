"""A picture of a domain's images, as a codec sees them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, viewable

MAX_IMAGES = 24
"""Three in four from training, the others from test."""
COLUMNS = 6
TILE = 160
"""Side of a tile in pixels."""
_GAP = 4
_GROUND, _TEST_FRAME = (255, 255, 255), (200, 60, 40)


def contact_sheet(domain: Domain) -> tuple[Image.Image, int]:
    """Images of a domain side by side, each source image once before any twice, and how many there are.

    Test images come last, in a frame. Of other than three channels the first is shown, or the first three.
    """
    tests = spread(domain.test, MAX_IMAGES // 4)
    trains = spread(domain.train, MAX_IMAGES - len(tests))
    samples = [*((s, _GROUND) for s in trains), *((s, _TEST_FRAME) for s in tests)]
    step = TILE + 2 * _GAP
    rows = -(-len(samples) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * step, rows * step), _GROUND)
    for index, (sample, frame) in enumerate(samples):
        left, top = index % COLUMNS * step, index // COLUMNS * step
        tile = _tile(sample)
        framed = Image.new("RGB", (tile.width + 2 * _GAP, tile.height + 2 * _GAP), frame)
        framed.paste(tile, (_GAP, _GAP))
        sheet.paste(framed, (left, top))
    return sheet, len(samples)


def _tile(sample: Sample) -> Image.Image:
    tile = Image.fromarray(np.ascontiguousarray(viewable(sample.pixels_HWC)))
    tile.thumbnail((TILE, TILE))
    return tile
