"""`interfero decode`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import tyro

from interfero.cli.options import Adapters, Lambda, check_there, read_stream
from interfero.errors import BitstreamError, StorageError


def decode(
    stream: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Lambda = None,
    adapter: Adapters = (),
) -> None:
    """Decode a bitstream to an image. Damaged streams and wrong codecs are refused.

    Args:
        stream: A bitstream written by `interfero encode`.
        out: The image to write; PNG keeps every pixel.
        source: The source codec it was coded with.
        rd_lambda: Lambda of its weights; the default is the only one available, or 0.013.
        adapter: An adapter it may have been coded with; may be given several times. The stream names the one
            it needs; a source-mode stream needs none.
    """
    check_there(source, rd_lambda, adapter)
    data = read_stream(stream)
    import numpy as np
    from PIL import Image

    from interfero.adaptation.deployment import Deployment

    deployment = Deployment.load(source, rd_lambda, adapter)
    with warnings.catch_warnings(record=True) as caught:
        # Whatever filters the environment sets: this warning is for the person who looks at the picture.
        warnings.simplefilter("always")
        try:
            pixels = deployment.decode(data)
        finally:
            # If the stream does not decode at all, the warning names the likely cause.
            for warning in caught:
                sys.stderr.write(f"warning: {warning.message}\n")
    if pixels.shape[2] not in (1, 3):
        raise BitstreamError(
            f"{stream} holds {pixels.shape[2]} channels, pictures have 1 or 3: decode it in Python "
            "(docs/python.md), which gives the array"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels).save(out)
    except (OSError, ValueError) as error:
        # Of formats that it does not know Pillow says so itself, without a number of the system's.
        full = getattr(error, "errno", None) is not None
        remedy = "free the disk or name another place" if full else "name a .png file"
        raise StorageError(f"{out} cannot be written ({error}): {remedy}") from error
    sys.stdout.write(f"{out}: {pixels.shape[1]}x{pixels.shape[0]} pixels\n")
