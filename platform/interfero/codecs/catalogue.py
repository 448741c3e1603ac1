"""One call for every source codec: bundled, from a file or folder, or from CompressAI's zoo."""

from __future__ import annotations

import math
import urllib.error
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

import torch
from compressai.zoo import image as zoo
from compressai.zoo.pretrained import load_pretrained

from interfero.codecs.checkpoint import read_codec, save_codec
from interfero.codecs.codec import ARCHITECTURES, Codec, Shape, build_model, mask_context
from interfero.codecs.exact import check_exact
from interfero.codecs.imported import import_codec
from interfero.codecs.torch_checkpoint import is_torch_file, name_of, read_checkpoint
from interfero.errors import CodecError, expect, nearest
from interfero.store.content import address_of, cached
from interfero.store.tensors import load_tensors

BUNDLED_FOLDER = Path(__file__).parent / "weights"
ZOO_PREFIX = "compressai:"
ZOO_LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
"""Lambda of CompressAI's qualities 1 to 8 (mse)."""
DEFAULT_LAMBDA = 0.013
"""Lambda of the codec to use if several are available and none is named."""
CACHE = "compressai"
"""Folder of the node's cache for what was made of CompressAI's files."""


def bundled_names() -> tuple[str, ...]:
    """Names of the codecs that come with the project."""
    return tuple(sorted(p.name for p in BUNDLED_FOLDER.glob("*") if p.is_dir()))


def available_lambdas(source: str) -> tuple[float, ...]:
    """The lambdas a source has weights for, ascending.

    Raises:
        CodecError: unknown source, or a PyTorch checkpoint that does not say its lambda.
    """
    if source.startswith(ZOO_PREFIX):
        return ZOO_LAMBDAS[: len(zoo.model_urls[_zoo_architecture(source)]["mse"])]
    return tuple(sorted(_files(source)))


def default_lambda(source: str) -> float:
    """The lambda of a source that has weights for one, or else `DEFAULT_LAMBDA`.

    Raises:
        CodecError: as `available_lambdas`, or there are several and none of them is that.
    """
    known = available_lambdas(source)
    if len(known) == 1:
        return known[0]
    if DEFAULT_LAMBDA not in known:
        listed = ", ".join(f"{v:g}" for v in known)
        raise CodecError(
            f"source codec {source!r} has weights for several lambdas: name one of {listed}"
        )
    return DEFAULT_LAMBDA


def absolute_source(source: str) -> str:
    """The same source for a process that runs in another folder."""
    path, stated = _parted(source)
    if source in bundled_names() or not path.exists():
        return source
    return str(path.resolve()) if stated is None else f"{path.resolve()}@{stated!r}"


def is_own(source: str) -> bool:
    """Whether a source is a file or folder of the user's."""
    return source not in bundled_names() and not source.startswith(ZOO_PREFIX)


def is_checkpoint(source: str) -> bool:
    """Whether a source is a PyTorch checkpoint, which is converted when it is loaded."""
    return is_torch_file(_parted(source)[0])


def source_name(source: str) -> str:
    """The name of a source's codec: a bundled name, or that of a file or folder without its suffix."""
    path = _parted(source)[0]
    if source in bundled_names() or not path.exists():
        return source
    return name_of(path) if is_torch_file(path) else path.stem


def load_codec(source: str, rd_lambda: float) -> Codec:
    """Load a source codec, ready to code.

    Args:
        source: A bundled name (`mbt2018-mean`), a codec file, a folder of codec files, `compressai:NAME`
            for CompressAI's own weights (downloaded once, checksum verified), or a PyTorch checkpoint of
            one of CompressAI's architectures, as `FILE` or `FILE@LAMBDA`.
        rd_lambda: The lambda it was trained for; a checkpoint without one of its own gets this one.

    Raises:
        CodecError: unknown source or lambda, a damaged file, or a failed download.
    """
    named = ", ".join(bundled_names())
    expect(source, str, "source", f"name a codec ({named}) or a file, as text", CodecError)
    expect(rd_lambda, Real, "rd_lambda", "give a number such as 0.013", CodecError)
    path, stated = _parted(source)
    if stated is None and is_torch_file(path) and _lambda_of(path) is None:
        return _imported(path, check_lambda(rd_lambda))
    known = available_lambdas(source)
    matching = [value for value in known if abs(value - rd_lambda) < 1e-9]
    if not matching:
        raise CodecError(
            f"source codec {source!r} has no weights for lambda {rd_lambda:g}; "
            f"known: {', '.join(f'{v:g}' for v in known)}"
        )
    if source.startswith(ZOO_PREFIX):
        return _load_zoo(source, ZOO_LAMBDAS.index(matching[0]) + 1)
    file = _files(source)[matching[0]]
    if is_torch_file(file):
        return _imported(file, matching[0])
    return read_codec(file, source_name(source))


def check_lambda(value: float) -> float:
    """A lambda as somebody states it.

    Raises:
        CodecError: it is not above 0.
    """
    if not 0 < value < math.inf:
        raise CodecError(f"lambda must be above 0, got {value:g}")
    return value


def _parted(source: str) -> tuple[Path, float | None]:
    """The path in `PATH` or `CHECKPOINT@LAMBDA`, and the lambda.

    Raises:
        CodecError: it is no number above 0.
    """
    if source in bundled_names():
        return BUNDLED_FOLDER / source, None
    name, at, value = source.rpartition("@")
    if not at or Path(source).exists() or not is_torch_file(Path(name)):
        return Path(source), None
    try:
        return Path(name), check_lambda(float(value))
    except ValueError as error:
        raise CodecError(f"{value!r} in {source!r} must be a lambda, as in {name}@0.013") from error


def _files(source: str) -> Mapping[float, Path]:
    """Codec files by lambda.

    Raises:
        CodecError: there is none, two of one lambda, or one that does not say its lambda.
    """
    path, stated = _parted(source)
    if stated is not None:
        return {stated: path}
    if path.is_file():
        return {_known_lambda(path): path}
    files: dict[float, Path] = {}
    inside = sorted(path.iterdir()) if path.is_dir() else []
    found = [file for file in inside if file.suffix == ".safetensors"]
    for file in found or filter(is_torch_file, inside):
        other = files.setdefault(_known_lambda(file), file)
        if other != file:
            raise CodecError(f"{other} and {file} have the same lambda: keep one of them there")
    if not files:
        raise CodecError(
            f"unknown source codec {source!r}: no bundled codec, codec file or folder of codec "
            f"files has that name; {nearest(source, bundled_names())}, or {ZOO_PREFIX}NAME"
        )
    return files


def _known_lambda(path: Path) -> float:
    value = _lambda_of(path)
    if value is None:
        raise CodecError(
            f"{path} is a PyTorch checkpoint that does not say which lambda it was trained for (bits per "
            f"pixel per unit of MSE on the 0-255 scale, the --lambda of CompressAI's script): name it, as "
            f"in {path}@0.013, or make a codec file of it: interfero codecs import {path} --lambda 0.013"
        )
    return value


def _lambda_of(path: Path) -> float | None:
    """The lambda that a file contains."""
    if is_torch_file(path):
        return read_checkpoint(path).rd_lambda
    _, metadata = load_tensors(path)
    value = metadata.get("rd_lambda")
    if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value < math.inf:
        raise CodecError(
            f"{path} is not a codec file: its lambda is {value!r}, and must be above 0"
        )
    return float(value)


def _zoo_architecture(source: str) -> str:
    name = source.removeprefix(ZOO_PREFIX)
    known = [n for n in ARCHITECTURES if n in zoo.model_urls]
    if name not in known:
        raise CodecError(f"unknown zoo codec {source!r}: {nearest(name, known)}")
    return name


def _load_zoo(source: str, quality: int) -> Codec:
    """Download, verify and freeze once; later calls read the frozen file."""
    name = _zoo_architecture(source)

    def read(path: Path) -> Codec:
        return read_codec(path, source)

    def download(path: Path) -> None:
        save_codec(_downloaded(source, name, quality), path, half_precision=False)

    return cached(CACHE, ".safetensors").fetch(f"{name}-{quality}", read, download)


def _imported(path: Path, rd_lambda: float) -> Codec:
    """Convert a PyTorch checkpoint once; later calls read the codec file, tables included."""
    name = name_of(path)

    def convert(target: Path) -> None:
        save_codec(import_codec(path, rd_lambda, name), target, half_precision=False)

    return cached(CACHE, ".safetensors").fetch(
        f"import-{address_of(path)}-{rd_lambda!r}", lambda file: read_codec(file, name), convert
    )


def _downloaded(source: str, name: str, quality: int) -> Codec:
    """Zoo weights stay in single precision: rounding them would make another codec."""
    url = zoo.model_urls[name]["mse"][quality]
    try:
        # The file name carries the start of its SHA-256, which `check_hash` compares.
        state = torch.hub.load_state_dict_from_url(
            url, progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise CodecError(
            f"{source} could not be downloaded from {url} ({error}): check the network, or use a "
            f"bundled codec ({', '.join(bundled_names())}) or a file"
        ) from error
    widths = zoo.cfgs[name][quality]
    shape = Shape(name, widths[0], widths[-1])
    model = build_model(shape)
    model.load_state_dict(load_pretrained(state))
    mask_context(model)
    model.update(force=True)
    model.eval().requires_grad_(False)
    check_exact(model)
    return Codec(shape, ZOO_LAMBDAS[quality - 1], source, model, {"origin": url})
