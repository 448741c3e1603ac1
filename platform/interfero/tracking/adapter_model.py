"""An adapter on its source codec as an MLflow model: `mlflow.pyfunc.load_model` of what `registry` stored.

    model = mlflow.pyfunc.load_model("models:/NAME@best")
    coded = model.predict({"image": [pixels]})            # columns stream, image (decoded) and bpp
    shown = model.predict(coded[["stream"]])              # the same image, decoded from the bytes
    model.get_raw_model().encode(pixels, "target")        # the deployment itself: encode, decode, transcode

The folder has safetensors and JSON, no pickle. MLflow imports this module by the name that the model states.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from PIL import Image

from interfero.adaptation.adapter_file import load_adapter
from interfero.adaptation.deployment import Deployment, StreamMode
from interfero.codecs.catalogue import BUNDLED_FOLDER, load_codec
from interfero.codecs.checkpoint import read_codec, save_codec
from interfero.codecs.codec import Codec
from interfero.codecs.picture import decode_picture
from interfero.domains.images import UInt8Array
from interfero.errors import BitstreamError, CodecError, ConfigError
from interfero.store.files import read_json, write_json

FORMAT = "interfero-model-1"
ADAPTER_FILE = "adapter.safetensors"
CODEC_FILE = "source.safetensors"
DESCRIPTION_FILE = "model.json"
Pictures = Literal["arrays", "png"]
INPUTS = ("stream", "image")
COLUMNS = (*INPUTS, "bpp")


def write_adapter_model(folder: Path, adapter: bytes, codec: Codec) -> None:
    """Write what `_load_pyfunc` reads.

    Of a bundled source codec only the name and the hash are written: interfero brings it along.

    Args:
        folder: Where to write; made if it is not there.
        adapter: The adapter file's content.
        codec: Its source codec.

    Raises:
        StorageError: the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundled = _is_bundled(codec)
    described = {
        "format": FORMAT,
        "source": codec.name,
        "rd_lambda": codec.rd_lambda,
        "source_hash": codec.weights_hash,
        "source_file": None if bundled else CODEC_FILE,
    }
    write_json(folder / DESCRIPTION_FILE, described)
    (folder / ADAPTER_FILE).write_bytes(adapter)
    if not bundled:
        save_codec(codec, folder / CODEC_FILE, half_precision=False)


def _is_bundled(codec: Codec) -> bool:
    """Whether interfero has exactly this codec under its name; a user's file may have the same name."""
    if not (BUNDLED_FOLDER / codec.name).is_dir():
        return False
    try:
        return load_codec(codec.name, codec.rd_lambda).weights_hash == codec.weights_hash
    except CodecError:
        return False


def _load_pyfunc(path: str) -> ServedAdapter:
    """What MLflow calls with the folder of `write_adapter_model`.

    Raises:
        CodecError: the source codec is not the one that the adapter was trained on.
        AdapterError: the adapter file is damaged.
    """
    folder = Path(path)
    described = read_json(folder / DESCRIPTION_FILE)
    if described.get("format") != FORMAT:
        raise CodecError(f"{folder} has no adapter model (format {described.get('format')!r})")
    name, file = described["source"], described["source_file"]
    codec = read_codec(folder / file, name) if file else load_codec(name, described["rd_lambda"])
    if codec.weights_hash != described["source_hash"]:
        raise CodecError(
            f"the model needs source codec {described['source_hash']}, {name} of this interfero is "
            f"{codec.weights_hash}: install the version of interfero that requirements.txt states"
        )
    return ServedAdapter(Deployment(codec, [load_adapter(folder / ADAPTER_FILE, codec)[0]]))


class ServedAdapter:
    """Encodes images and decodes streams, a row of a data frame each."""

    def __init__(self, deployment: Deployment) -> None:
        """Keep the codec and its adapter."""
        self._deployment = deployment

    def get_raw_model(self) -> Deployment:
        """The codec and its adapter, for `encode`, `decode` and `transcode` of single images."""
        return self._deployment

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Encode each row's `image` and decode what came of it; or decode its `stream`.

        Args:
            model_input: `image`: (height, width, 3) uint8 pixels, or the bytes of a PNG, JPEG, ...;
                or `stream`: bytes that were encoded before.
            params: `mode`: `target` (default), `source` or `auto`, as `interfero encode --mode`; `pictures`:
                `arrays` (default), or `png` for bytes, which travel as JSON.

        Returns:
            `stream` (bytes), `image` (the decoded picture), `bpp` (bits per pixel of the stream).

        Raises:
            ConfigError: a row has neither or both, or a param is unknown.
            BitstreamError: a stream is damaged, or of another codec or adapter; an image is not 8-bit RGB.
            DomainError: the bytes are no image.
        """
        asked = {"mode": "target", "pictures": "arrays", **(params or {})}
        for name, known in (
            ("mode", ("source", "target", "auto")),
            ("pictures", ("arrays", "png")),
        ):
            if asked[name] not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {asked[name]!r}")
        mode, pictures = cast(StreamMode, asked["mode"]), cast(Pictures, asked["pictures"])
        given = model_input.to_dict("records")
        _check_rows(given)
        rows = [self._row(row, mode, pictures) for row in given]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _row(self, row: Mapping[Any, Any], mode: StreamMode, pictures: Pictures) -> dict[str, Any]:
        stream, image = (_given(row.get(name)) for name in INPUTS)
        if stream is None:
            stream = self._deployment.encode(_pixels(image), mode)
        pixels_HWC = self._deployment.decode(stream)
        height, width = pixels_HWC.shape[:2]
        shown = pixels_HWC if pictures == "arrays" else _png(pixels_HWC)
        return {"stream": stream, "image": shown, "bpp": 8 * len(stream) / (height * width)}


def _check_rows(rows: Sequence[Mapping[Any, Any]]) -> None:
    """Each row has an image or a stream, before any of them is coded.

    Raises:
        ConfigError: names the row, what it has, and what to give.
    """
    for number, row in enumerate(rows):
        given = [name for name in INPUTS if _given(row.get(name)) is not None]
        if len(given) == 1:
            continue
        if given:
            has = "has both: an image is encoded, a stream is decoded; give one, as in frame[['stream']]"
        else:
            columns = ", ".join(map(str, row)) or "none"
            has = f"has neither (columns: {columns}); give a column `image` to encode, or `stream` to decode"
        raise ConfigError(f"row {number} must have an `image` or a `stream`, and {has}")


def _given(value: Any) -> Any:
    """None where a data frame has a gap."""
    return None if isinstance(value, float) else value


def _pixels(image: Any) -> UInt8Array:
    if isinstance(image, bytes):
        return decode_picture(image, "image")
    pixels = np.asarray(image)
    # A nested list, as JSON has it, is of 64-bit integers.
    whole = isinstance(image, list) and pixels.dtype.kind in "iu"
    if whole and pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 255:
        return pixels.astype(np.uint8)
    return cast(UInt8Array, pixels)


def _png(pixels_HWC: UInt8Array) -> bytes:
    channels = pixels_HWC.shape[2]
    if channels not in (1, 3):
        raise BitstreamError(
            f"the stream has {channels} channels, a PNG has 1 or 3: leave `pictures` at `arrays`"
        )
    buffer = io.BytesIO()
    flat = np.squeeze(pixels_HWC, 2) if channels == 1 else pixels_HWC
    Image.fromarray(flat).save(buffer, "PNG")
    return buffer.getvalue()
