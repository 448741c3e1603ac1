"""The commands of `interfero`."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Column, Table

from interfero.adaptation.deployment import Candidate, Deployment, StreamMode
from interfero.codecs.bitstream import MAX_SIDE, parse_stream
from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec
from interfero.doctor.command import doctor
from interfero.domains.bundled import BUNDLED
from interfero.domains.catalogue import load_domain
from interfero.domains.images import ImageRules, SkippedImageError, UInt8Array, decode_image
from interfero.errors import DomainError, InterferoError, StorageError
from interfero.metrics.rate_distortion import psnr_db
from interfero.predicting import Question, answer
from interfero.storage import write_atomic


def codecs() -> None:
    """List the source codecs that come with the project."""
    name_column = Column("codec", overflow="fold")
    table = Table(name_column, "lambda", "N", "M", "parameters", "weights", "tables")
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


Adapters = tyro.conf.UseAppendAction[tuple[Path, ...]]
"""One `--adapter FILE` each."""


def encode_command(
    image: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Annotated[float, tyro.conf.arg(name="lambda")] = 0.013,
    adapter: Adapters = (),
    mode: StreamMode | None = None,
) -> None:
    """Code an image to a bitstream.

    Args:
        image: An image file.
        out: The bitstream to write.
        source: Source codec: bundled NAME, file, folder, or compressai:NAME.
        rd_lambda: Lambda of its weights.
        adapter: Adapter file; may be given several times. A target-mode stream needs its adapter too.
        mode: `source` uses the source codec alone, `target` the adapter, `auto` codes the image both
            ways and keeps the cheaper by bpp + lambda * mse; `target` if there is an adapter, else
            `source`.
    """
    deployment = Deployment.load(source, rd_lambda, adapter)
    pixels = _read_image(image)
    candidates = deployment.candidates(pixels, mode or ("target" if adapter else "source"))
    kept = min(candidates, key=lambda c: c.rd_loss)
    write_atomic(out, kept.data)
    for candidate in candidates if len(candidates) > 1 else ():
        sys.stdout.write(f"  {_way(candidate)}: loss {candidate.rd_loss:.4f}\n")
    header = len(kept.data) - sum(map(len, parse_stream(kept.data).strings))
    sys.stdout.write(
        f"{out}: {len(kept.data)} bytes ({header} of them header), {kept.bpp:.4f} bpp, "
        f"{psnr_db(kept.mse):.2f} dB, {_way(kept)}\n"
    )


def decode_command(
    stream: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Annotated[float, tyro.conf.arg(name="lambda")] = 0.013,
    adapter: Adapters = (),
) -> None:
    """Decode a bitstream to an image; damaged streams and wrong codecs are refused.

    Args:
        stream: A bitstream written by `interfero encode`.
        out: The image to write; PNG keeps every pixel.
        source: The source codec it was made with.
        rd_lambda: Lambda of its weights.
        adapter: An adapter it may have been made with; may be given several times. The stream says
            which one it needs; one in source mode needs none.
    """
    deployment = Deployment.load(source, rd_lambda, adapter)
    data = _read_stream(stream)
    with warnings.catch_warnings(record=True) as caught:
        pixels = deployment.decode(data)
    for warning in caught:
        sys.stderr.write(f"warning: {warning.message}\n")
    try:
        Image.fromarray(np.asarray(pixels)).save(out)
    except (OSError, ValueError) as error:
        raise StorageError(f"{out} cannot be written ({error}): name a .png file") from error
    sys.stdout.write(f"{out}: {pixels.shape[1]}x{pixels.shape[0]} pixels\n")


def transcode_command(
    stream: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Annotated[float, tyro.conf.arg(name="lambda")] = 0.013,
    adapter: Adapters = (),
) -> None:
    """Rewrite an old bitstream so that it decodes on any machine; run it where it still decodes.

    Args:
        stream: A bitstream of version 2, on a machine that `interfero decode` shows its picture on.
        out: The bitstream to write, of version 3.
        source: The source codec it was made with.
        rd_lambda: Lambda of its weights.
        adapter: An adapter it may have been made with; may be given several times.
    """
    deployment = Deployment.load(source, rd_lambda, adapter)
    old = _read_stream(stream)
    data, before = deployment.transcode(old)
    after = deployment.decode(data, guarded=False)
    write_atomic(out, data)
    difference = np.abs(before.astype(int) - after.astype(int)).max()
    sys.stdout.write(
        f"{out}: {len(data)} bytes from {len(old)}, version {parse_stream(data).version}; its picture "
        f"differs from the old one's by {difference} of 255 levels at most\n"
    )


def predict_command(
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
    question = Question(
        domain, num_images, method, cells, rd_lambda, adapter_size, num_steps, source
    )
    sys.stdout.write(answer(question))


def report_command(
    experiment: str | None = None,
    sweep: tuple[str, ...] = (),
    cells: tuple[Path, ...] = (),
    out: Path | None = None,
) -> None:
    """Write the report of a sweep: report.html, which needs nothing else, and its figures.

    Args:
        experiment: A sweep's kind, such as adapter-capacity, on the tracking server
            (MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder).
        sweep: Sweeps of that experiment, by name; the newest if left out. Of several, a cell that
            they share counts once.
        cells: Instead: the `cells.parquet` of a sweep, or the folder that holds it; may be several.
        out: Folder to write into; report-NAME in this folder if left out.
    """
    # MLflow takes seconds to import; the other commands do not need it.
    from interfero.reporting import Wanted, make_report

    sys.stdout.write(make_report(Wanted(experiment, sweep, cells, out)))


def _read_stream(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror})") from error


def _read_image(path: Path) -> UInt8Array:
    """All of the picture: a domain would crop a large one to its centre, or halve a JPEG."""
    rules = ImageRules(halve_jpeg=False, min_side=1, max_side=MAX_SIDE + 1)
    try:
        return decode_image(path, str(path), rules, Counter())
    except SkippedImageError as error:
        raise DomainError(str(error)) from error


def _way(candidate: Candidate) -> str:
    if candidate.adapter_id is None:
        return "source mode"
    return f"target mode, adapter {candidate.adapter_id.hex()}"


def run_command() -> None:
    """Run what the command line names; exits with 2 on a user's error."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "doctor": doctor,
                "codecs": codecs,
                "domains": domains,
                "encode": encode_command,
                "decode": decode_command,
                "transcode": transcode_command,
                "report": report_command,
                "predict": predict_command,
            },
            prog="interfero",
            description="Neural image codecs, adapted: machine, codecs, bitstreams, reports, predictions.",
        )
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
