"""`interfero codecs`: list bundled codecs, convert CompressAI's checkpoints to codec files and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Column, Table

from interfero.cli.options import Lambda, check_there, run_group
from interfero.domains.names import check_domain
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.errors import ConfigError
from interfero.option_help import Said


def codecs() -> None:
    """List the bundled source codecs; import or export others (see `interfero codecs --help`)."""
    from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec

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


def import_command(
    file: tyro.conf.Positional[Path],
    out: Said[Path | None] = None,
    rd_lambda: Lambda = None,
    source_domain: str = DEFAULT_SOURCE,
    max_images: int = 8,
) -> None:
    """Convert a PyTorch checkpoint of a CompressAI architecture to a codec file.

    Args:
        file: A training checkpoint (for example of CompressAI's examples/train.py) or a state dict.
        out: The codec file to write; the default is FILE with the suffix .safetensors.
        rd_lambda: Lambda it was trained for (bits per pixel per unit of MSE on the 0-255 scale), if the file
            does not contain it; the default is what it contains.
        source_domain: Domain on which to report rate and PSNR, compared with JPEG: NAME or NAME=PATH.
        max_images: Maximum number of test images of that domain to code; 0 for none.
    """
    if not file.exists():
        raise ConfigError(f"there is no file {file}: check the path")
    if max_images:
        check_domain(source_domain)
    from interfero.codecs.catalogue import default_lambda, load_codec
    from interfero.codecs.checkpoint import save_codec
    from interfero.codecs.fidelity import fidelity_line
    from interfero.codecs.torch_checkpoint import is_torch_file, name_of
    from interfero.domains.catalogue import load_domain
    from interfero.domains.domain import check_channels
    from interfero.domains.images import ImageRules

    if not is_torch_file(file):
        raise ConfigError(f"{file} is not a PyTorch file: use a codec file directly as --source")
    target = out or file.with_name(f"{name_of(file)}.safetensors")
    if target.exists():
        raise ConfigError(f"{target} exists already: remove it, or name another file with --out")
    value = default_lambda(str(file)) if rd_lambda is None else rd_lambda
    codec = load_codec(str(file), value)
    for note in codec.card["notes"]:
        sys.stdout.write(f"{note}\n")
    if max_images:
        channels = codec.shape.image_channels
        domain = load_domain(source_domain, ImageRules(channels=channels))
        check_channels(domain, channels)
        sys.stdout.write(f"{fidelity_line(codec, domain, max_images)}\n")
    save_codec(codec, target, half_precision=False)
    sys.stdout.write(
        f"{target}: lambda {value:g}, {codec.num_params:,} parameters, weights {codec.weights_hash[:12]}, "
        f"tables {codec.table_hash[:12]}\n"
    )


def export_command(
    source: tyro.conf.Positional[str],
    out: tyro.conf.Positional[Path],
    rd_lambda: Lambda = None,
) -> None:
    """Write a source codec in CompressAI's format: a state dict in single precision with its tables.

    Args:
        source: Source codec: bundled NAME, file, folder, compressai:NAME, or a PyTorch checkpoint.
        out: The PyTorch file to write (.pth.tar).
        rd_lambda: Lambda of its weights; the default is the only one available, or 0.013.
    """
    check_there(source, rd_lambda)
    from interfero.codecs.catalogue import default_lambda, load_codec
    from interfero.codecs.imported import export_codec

    codec = load_codec(source, default_lambda(source) if rd_lambda is None else rd_lambda)
    export_codec(codec, out)
    sys.stdout.write(
        f"{out}: {codec.shape.architecture}, lambda {codec.rd_lambda:g}; for CompressAI: "
        f"python -m compressai.utils.eval_model checkpoint IMAGES -a {codec.shape.architecture} -p {out}\n"
    )


def run_codecs(arguments: Sequence[str]) -> None:
    """Run `interfero codecs ...`; exits with 2 on a user's error."""
    commands: dict[str, Callable[..., Any]] = {
        "list": codecs, "import": import_command, "export": export_command,
    }  # fmt: skip
    description = "Bundled source codecs, and conversion of CompressAI's checkpoints."
    run_group("codecs", commands, arguments or ["list"], description)
