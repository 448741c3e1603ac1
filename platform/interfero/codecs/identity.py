"""What to say when a bitstream needs another codec or adapter than the one at hand."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection

import safetensors

from interfero.codecs.bitstream import CODEC_ID_BYTES, ID_BYTES, TABLE_ID_BYTES, Stream
from interfero.codecs.catalogue import BUNDLED_FOLDER
from interfero.errors import BitstreamError


def codec_id_of(weights_hash: str, table_hash: str) -> bytes:
    """The bytes that name a source codec in a header, from its two hexadecimal hashes.

    The first hash covers weights and tables; the second, of the tables alone, tells a codec with the
    same tables and other weights from a stranger.
    """
    return bytes.fromhex(weights_hash)[:ID_BYTES] + bytes.fromhex(table_hash)[:TABLE_ID_BYTES]


def check_codec(stream: Stream, codec_id: bytes) -> None:
    """Refuse a stream of another source codec.

    Raises:
        BitstreamError: says which codec it needs, and where that is a bundled one, its name.
    """
    if stream.codec_id != codec_id:
        raise BitstreamError(
            f"bitstream needs source codec {_named(stream.codec_id)}, this one is "
            f"{_named(codec_id)}{_same_tables(stream, codec_id)}: load the codec it was made with"
        )


def check_adapter(stream: Stream, adapter_ids: Collection[bytes]) -> None:
    """Refuse a target-mode stream of none of these adapters; source mode needs none.

    Raises:
        BitstreamError: says which adapter it needs.
    """
    if stream.adapter_id is not None and stream.adapter_id not in adapter_ids:
        loaded = ", ".join(sorted(i.hex() for i in adapter_ids)) or "none (source mode)"
        raise BitstreamError(
            f"bitstream needs adapter {stream.adapter_id.hex()}, loaded is {loaded}: give the "
            "adapter file it was made with"
        )


def _same_tables(stream: Stream, codec_id: bytes) -> str:
    if stream.table_id != codec_id[ID_BYTES:CODEC_ID_BYTES]:
        return ""
    return " (the same entropy tables, other weights)"


def _named(codec_id: bytes) -> str:
    name = bundled_codecs().get(codec_id)
    return codec_id.hex() if name is None else f"{codec_id.hex()} ({name})"


@functools.cache
def bundled_codecs() -> dict[bytes, str]:
    """Name and lambda of every codec that comes with the project, by the id of its streams."""
    names = {}
    for path in sorted(BUNDLED_FOLDER.rglob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["interfero"])
        codec_id = codec_id_of(metadata["weights_hash"], metadata["table_hash"])
        names[codec_id] = f"bundled: {path.parent.name}, lambda {metadata['rd_lambda']:g}"
    return names
