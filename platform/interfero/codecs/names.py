"""Names and paths of codecs, looked up without the libraries that compute with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interfero.errors import CodecError, nearest
from interfero.store.headers import read_metadata

CLASSICAL_NAMES = ("jpeg", "jpeg2000", "webp", "avif", "heif", "jpegxl")
"""Of the table `CLASSICAL`, which imports what codes them."""
ZOO_PREFIX = "compressai:"
ZOO_NAMES = (
    "bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "cheng2020-anchor",
    "cheng2020-attn",
)  # fmt: skip
"""Architectures that CompressAI has weights for, and that can be adapted here."""
_FOLDER = Path(__file__).parent / "weights"


def check_source(source: str, lambdas: Sequence[float] = ()) -> None:
    """Refuse a source codec that does not exist, or lambdas that it has no weights for.

    Args:
        source: A bundled name, a codec file, a folder of them, compressai:NAME, or FILE@LAMBDA.
        lambdas: Those that are wanted; not checked where only loading tells which there are.

    Raises:
        CodecError: names it, and what there is.
    """
    if source.startswith(ZOO_PREFIX):
        name = source.removeprefix(ZOO_PREFIX)
        if name not in ZOO_NAMES:
            raise CodecError(f"unknown zoo codec {source!r}: {nearest(name, ZOO_NAMES)}")
        return
    bundled = {folder.name: folder for folder in _FOLDER.iterdir() if folder.is_dir()}
    path = bundled.get(source, Path(source))
    if not path.exists() and not Path(source.rpartition("@")[0] or source).is_file():
        raise CodecError(
            f"unknown source codec {source!r}: no bundled codec, codec file or folder of codec "
            f"files has that name; {nearest(source, bundled)}, or {ZOO_PREFIX}NAME"
        )
    known = _lambdas(path) if lambdas else []
    missing = [v for v in lambdas if known and all(abs(v - k) >= 1e-9 for k in known)]
    if missing:
        wanted, there = (", ".join(f"{v:g}" for v in values) for values in (missing, known))
        raise CodecError(
            f"source codec {source!r} has no weights for lambda {wanted}; known: {there}"
        )


def check_codec(name: str) -> None:
    """Refuse the name of a codec, classical or learned, that does not exist.

    Raises:
        CodecError: names it, and what there is.
    """
    if name in CLASSICAL_NAMES:
        return
    try:
        check_source(name)
    except CodecError as error:
        bundled = [folder.name for folder in _FOLDER.iterdir() if folder.is_dir()]
        known = (*CLASSICAL_NAMES, *bundled)
        raise CodecError(f"{error}; of all codecs: {nearest(name, known)}") from error


def _lambdas(path: Path) -> list[float]:
    """Lambdas of codec files; none where a file does not say it here, as PyTorch's do not."""
    files = [f for f in path.iterdir() if f.suffix == ".safetensors"] if path.is_dir() else [path]
    stated = [read_metadata(file).get("rd_lambda") for file in files]
    found = [float(value) for value in stated if isinstance(value, float | int)]
    return sorted(found) if len(found) == len(files) else []
