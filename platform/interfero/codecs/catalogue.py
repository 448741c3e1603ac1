"""One call for every source codec: bundled, from a file or folder, or from CompressAI's zoo."""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping
from pathlib import Path

import torch
from compressai.zoo import image as zoo
from compressai.zoo.pretrained import load_pretrained

from interfero.codecs.checkpoint import read_codec, save_codec
from interfero.codecs.codec import ARCHITECTURES, Codec, Shape, build_model, mask_context
from interfero.codecs.exact import check_exact
from interfero.errors import CodecError, nearest
from interfero.store.content import cached
from interfero.store.tensors import load_tensors

BUNDLED_FOLDER = Path(__file__).parent / "weights"
ZOO_PREFIX = "compressai:"
ZOO_LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
"""Lambda of CompressAI's qualities 1 to 8 (mse)."""


def bundled_names() -> tuple[str, ...]:
    """Names of the codecs that come with the project."""
    return tuple(sorted(p.name for p in BUNDLED_FOLDER.glob("*") if p.is_dir()))


def available_lambdas(source: str) -> tuple[float, ...]:
    """The lambdas a source has weights for, ascending.

    Raises:
        CodecError: unknown source.
    """
    if source.startswith(ZOO_PREFIX):
        return ZOO_LAMBDAS[: len(zoo.model_urls[_zoo_architecture(source)]["mse"])]
    return tuple(sorted(_files(source)))


def load_codec(source: str, rd_lambda: float) -> Codec:
    """A source codec, ready to code.

    Args:
        source: A bundled name (`mbt2018-mean`), a codec file, a folder of codec files, or
            `compressai:NAME` for CompressAI's own weights (downloaded once, checksum verified).
        rd_lambda: The lambda it was trained for.

    Raises:
        CodecError: unknown source or lambda, a damaged file, or a failed download.
    """
    known = available_lambdas(source)
    matching = [value for value in known if abs(value - rd_lambda) < 1e-9]
    if not matching:
        raise CodecError(
            f"source codec {source!r} has no weights for lambda {rd_lambda:g}; "
            f"known: {', '.join(f'{v:g}' for v in known)}"
        )
    if source.startswith(ZOO_PREFIX):
        return _load_zoo(source, ZOO_LAMBDAS.index(matching[0]) + 1)
    return read_codec(_files(source)[matching[0]], Path(source).stem)


def _files(source: str) -> Mapping[float, Path]:
    """Codec files by lambda."""
    bundled = BUNDLED_FOLDER / source
    path = bundled if source in bundled_names() else Path(source)
    if path.is_file():
        return {_lambda_of(path): path}
    files: dict[float, Path] = {}
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else ():
        other = files.setdefault(_lambda_of(file), file)
        if other != file:
            raise CodecError(f"{other} and {file} have the same lambda: keep one of them there")
    if not files:
        raise CodecError(
            f"unknown source codec {source!r}: no bundled codec, codec file or folder of codec "
            f"files has that name; {nearest(source, bundled_names())}, or {ZOO_PREFIX}NAME"
        )
    return files


def _lambda_of(path: Path) -> float:
    _, metadata = load_tensors(path)
    if "rd_lambda" not in metadata:
        raise CodecError(f"{path} is not a codec file: it names no lambda")
    return float(metadata["rd_lambda"])


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

    return cached("compressai", ".safetensors").fetch(f"{name}-{quality}", read, download)


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
