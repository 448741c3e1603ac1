"""Which reconstructions a report shows, and how they are put into it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from interfero.analysis.choices import CONTROL, NAIVE, Choice, best_sizes
from interfero.analysis.reconstructions import (
    Reconstruction,
    UInt8Array,
    read_reconstructions,
)
from interfero.errors import StorageError
from interfero.metrics.names import GAIN, VALIDATION_GAIN
from interfero.records import CellRecord, ImageRow

Finder = Callable[[CellRecord], Path | None]
"""The file of a cell's pictures; None where it is not at hand."""

FOLDER = "reconstructions"
"""Beside the report: the shown cells' files, each named by its cell."""
MAX_DOMAINS = 8
LOSSLESS_BYTES = 6_000_000
"""Of all pictures together: a page of that size still opens and travels."""
LOSSY_QUALITY = 92
"""Of JPEG without chroma subsampling, beyond."""


@dataclass(frozen=True)
class ShownCell:
    """One cell whose pictures are shown."""

    record: CellRecord
    path: Path
    pictures: tuple[Reconstruction, ...]

    def row(self, picture: Reconstruction) -> ImageRow | None:
        """The numbers of a picture's whole image."""
        for image in self.record.images:
            if image.role == picture.role and image.name == picture.name:
                return image
        return None


def cells_to_show(choices: Sequence[Choice]) -> list[CellRecord]:
    """Of each domain fine-tuning and the method that does best beside it, both on validation.

    At the middle lambda, the most images and the most steps; of the seeds the one whose target gain is
    the median, so that neither a lucky nor an unlucky one is shown.
    """
    found = []
    # Of a domain that has the control only there is nothing to show.
    adapted = [c for c in choices if c.setting.method != CONTROL]
    domains = list(dict.fromkeys(c.setting.domain for c in adapted))
    for domain in domains[:MAX_DOMAINS]:
        own = [c for c in adapted if c.setting.domain == domain]
        lambdas = sorted({c.setting.rd_lambda for c in own})
        own = [c for c in own if c.setting.rd_lambda == lambdas[(len(lambdas) - 1) // 2]]
        most = max((c.setting.num_images, c.setting.num_steps) for c in own)
        own = [c for c in own if (c.setting.num_images, c.setting.num_steps) == most]
        best = sorted(best_sizes(own), key=lambda c: -(c.mean(VALIDATION_GAIN) or 0.0))
        naive = [c for c in best if c.setting.method == NAIVE][:1]
        others = [c for c in best if c.setting.method != NAIVE][: 2 - len(naive)]
        found += [_middle_seed(c) for c in (*naive, *others)]
    return found


def _middle_seed(choice: Choice) -> CellRecord:
    cells = sorted(
        (pick.cell for pick in choice.picks),
        key=lambda c: c.metrics.get(GAIN, 0.0),
    )
    return cells[(len(cells) - 1) // 2]


def shown_cells(choices: Sequence[Choice], find: Finder) -> tuple[list[ShownCell], list[str]]:
    """Those whose pictures are at hand, and what is wrong with the files of others."""
    found, problems = [], []
    for record in cells_to_show(choices):
        path = find(record)
        if path is None:
            continue
        try:
            pictures = tuple(read_reconstructions(path))
        except StorageError as error:
            # Pictures are an addition: the numbers are worth a report without them.
            problems.append(str(error))
            continue
        if pictures:
            found.append(ShownCell(record, path, pictures))
    return found, problems


def picture_urls(cells: Sequence[ShownCell]) -> tuple[dict[int, str], bool]:
    """A data address of every picture, by its `id`, and whether they are pixel-exact.

    All of them lossless WebP if they are not too many, else all of them JPEG.
    """
    every = [p for cell in cells for shown in cell.pictures for p in shown.pictures_HWC]
    exact = {id(p): _encoded(p, "WEBP", lossless=True) for p in every}
    if sum(map(len, exact.values())) <= LOSSLESS_BYTES:
        return {key: _url("webp", data) for key, data in exact.items()}, True
    lossy = {id(p): _encoded(p, "JPEG", quality=LOSSY_QUALITY, subsampling=0) for p in every}
    return {key: _url("jpeg", data) for key, data in lossy.items()}, False


def _encoded(picture_HWC: UInt8Array, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture_HWC).save(buffer, kind, **options)
    return buffer.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
