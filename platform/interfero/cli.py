"""`interfero` on the command line."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from interfero.adaptation import load_adapter
from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec
from interfero.codecs.coding import Coder, SourceCoder, decode, encode, pixel_mse
from interfero.domains.bundled import BUNDLED
from interfero.domains.catalogue import load_domain
from interfero.domains.images import ImageRules, SkippedImageError, decode_image
from interfero.errors import DomainError, InterferoError, StorageError
from interfero.metrics.rate_distortion import psnr_db
from interfero.storage import write_atomic


def codecs() -> None:
    """List the source codecs that come with the project."""
    table = Table("codec", "lambda", "N", "M", "parameters", "weights", "tables")
    for name in bundled_names():
        for value in available_lambdas(name):
            codec = load_codec(name, value)
            table.add_row(
                name,
                f"{value:g}",
                str(codec.shape.num_channels),
                str(codec.shape.num_latents),
                f"{codec.num_params:,}",
                codec.weights_hash[:12],
                codec.table_hash[:12],
            )
    Console().print(table)


def domains(specs: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """List the bundled domains, or describe those given.

    Args:
        specs: NAME, or NAME=PATH for a folder of images or a Parquet file.
    """
    table = Table("domain", "train", "test", "unit", "hash", "notes")
    for spec in specs or tuple(BUNDLED):
        domain = load_domain(spec)
        table.add_row(
            domain.name,
            str(len(domain.train)),
            str(len(domain.test)),
            domain.unit,
            domain.fingerprint[:12],
            "; ".join(domain.notes),
        )
    Console().print(table)


def encode_command(
    image: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Annotated[float, tyro.conf.arg(name="lambda")] = 0.013,
    adapter: Path | None = None,
) -> None:
    """Code an image to a bitstream.

    Args:
        image: An image file.
        out: The bitstream to write.
        source: Source codec: bundled NAME, file, folder, or compressai:NAME.
        rd_lambda: Lambda of its weights.
        adapter: Adapter file; the stream then needs it too.
    """
    coder = _coder(source, rd_lambda, adapter)
    try:
        pixels = decode_image(
            image, str(image), ImageRules(halve_jpeg=False, min_side=1), Counter()
        )
    except SkippedImageError as error:
        raise DomainError(str(error)) from error
    coded = encode(coder, pixels)
    write_atomic(out, coded.data)
    mse = pixel_mse(decode(coder, coded.data).pixels_HWC, pixels)
    bpp = 8 * len(coded.data) / (pixels.shape[0] * pixels.shape[1])
    sys.stdout.write(f"{out}: {len(coded.data)} bytes, {bpp:.4f} bpp, {psnr_db(mse):.2f} dB\n")


def decode_command(
    stream: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Annotated[float, tyro.conf.arg(name="lambda")] = 0.013,
    adapter: Path | None = None,
) -> None:
    """Decode a bitstream to an image; damaged streams and wrong codecs are refused.

    Args:
        stream: A bitstream written by `interfero encode`.
        out: The image to write; PNG keeps every pixel.
        source: The source codec it was made with.
        rd_lambda: Lambda of its weights.
        adapter: The adapter it was made with, if any.
    """
    coder = _coder(source, rd_lambda, adapter)
    try:
        data = stream.read_bytes()
    except OSError as error:
        raise StorageError(f"{stream} cannot be read ({error.strerror})") from error
    pixels = decode(coder, data).pixels_HWC
    try:
        Image.fromarray(np.asarray(pixels)).save(out)
    except (OSError, ValueError) as error:
        raise StorageError(f"{out} cannot be written ({error}): name a .png file") from error
    sys.stdout.write(f"{out}: {pixels.shape[1]}x{pixels.shape[0]} pixels\n")


def _coder(source: str, rd_lambda: float, adapter: Path | None) -> Coder:
    codec = load_codec(source, rd_lambda)
    return SourceCoder(codec) if adapter is None else load_adapter(adapter, codec)[0]


def main() -> None:
    """Command line; exits with 2 on a user's error."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "codecs": codecs,
                "domains": domains,
                "encode": encode_command,
                "decode": decode_command,
            },
            prog="interfero",
            description="Neural image codecs, adapted: codecs, domains, bitstreams.",
        )
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
