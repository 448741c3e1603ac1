"""`interfero predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro


def predict(
    domain: str,
    num_images: int,
    method: str,
    cells: Path | None = None,
    rd_lambda: Annotated[float | None, tyro.conf.arg(name="lambda")] = None,
    adapter_size: int | None = None,
    num_steps: int | None = None,
    source: str | None = None,
) -> None:
    """Predict gain and forgetting before adapting, from the laws of earlier sweeps.

    Args:
        domain: The target domain: a folder of images, a Parquet file, NAME=PATH, or a bundled NAME.
        num_images: Training images that it would be adapted with.
        method: How; one of the methods in the map.
        cells: The map: `cells.parquet` of a sweep, or the folder that holds it; the one that comes
            with the project if left out.
        rd_lambda: Bits per pixel per unit of MSE; a middle one of the map if left out.
        adapter_size: In the method's own unit, one of the map's; a middle one if left out.
        num_steps: Optimiser steps; a middle number of the map's if left out.
        source: The source codec, needed where the map has several, or where the map's is a file.
    """
    from interfero.cli.predict.answer import Question, answer

    question = Question(
        domain, num_images, method, cells, rd_lambda, adapter_size, num_steps, source
    )
    sys.stdout.write(answer(question))
