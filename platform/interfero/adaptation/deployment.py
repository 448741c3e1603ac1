"""A source codec and its adapters as sender and receiver hold them: images to bytes and back.

The sender picks the mode, by hand or by trying; the receiver reads it in the header. What each side
needs to hold: the source codec, and for target mode the adapter that the header names.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from interfero.adaptation.adapter_file import load_adapter
from interfero.adaptation.cawf import CawfCodec, grown
from interfero.adaptation.method import AdaptedCodec
from interfero.codecs.bitstream import Stream, check_size, parse_stream
from interfero.codecs.catalogue import default_lambda, load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.coding import (
    Coder,
    SourceCoder,
    codec_id,
    decode_checked,
    encode,
    pixel_mse,
    portability_warning,
    transcode,
)
from interfero.codecs.identity import check_adapter, check_codec
from interfero.domains.images import UInt8Array
from interfero.errors import (
    AdapterError,
    BitstreamError,
    CodecError,
    ConfigError,
    StorageError,
    expect,
    nearest,
)
from interfero.store.tensors import load_tensors

StreamMode = Literal["source", "target", "auto"]


@dataclass(frozen=True)
class CodedCandidate:
    """One image coded in one mode."""

    data: bytes = field(repr=False)
    adapter_id: bytes | None
    """None in source mode."""
    bpp: float
    """8 x bytes of the container / pixels."""
    mse: float
    """Mean squared error of the decoded 8-bit pixels."""
    rd_loss: float
    """`bpp + lambda * mse`, with the source codec's lambda."""


class Deployment:
    """A source codec and any number of adapters trained on it."""

    def __init__(self, source: Codec, adapters: Sequence[AdaptedCodec] = ()) -> None:
        """Keep them.

        Args:
            source: The source codec; it codes source mode itself, adapters are only read from.
            adapters: What target mode may use.

        Raises:
            AdapterError: an adapter belongs to another source codec.
            CodecError, ConfigError: an argument is of another type.
        """
        expect(source, Codec, "codec", "load_codec(NAME, LAMBDA) loads one", CodecError)
        expect(adapters, Sequence, "adapters", "write [ADAPTED], with what load_adapter gives")
        for adapted in adapters:
            expect(adapted, AdaptedCodec, "an adapter", "load_adapter(FILE, CODEC) loads one")
        self.source = source
        self.codec_id = codec_id(source)
        self._adapters: dict[bytes, AdaptedCodec] = {}
        for adapted in adapters:
            if adapted.codec_id != self.codec_id:
                raise AdapterError(
                    f"an adapter belongs to source codec {adapted.source_hash}, this is "
                    f"{source.weights_hash} ({source.name}): load the codec it was trained on"
                )
            adapted.mode = "target"
            identifier = adapted.adapter_id
            assert identifier is not None
            self._adapters[identifier] = adapted

    @classmethod
    def load(
        cls, source: str, rd_lambda: float | None, adapters: Sequence[Path] = ()
    ) -> Deployment:
        """Read a source codec (see `load_codec`) and adapter files.

        Args:
            source: See `load_codec`.
            rd_lambda: Lambda of its weights; None for `default_lambda`.
            adapters: Adapter files.

        Raises:
            CodecError: unknown source or lambda.
            AdapterError: a file is damaged, or was trained on another source codec.
        """
        codec = load_codec(source, default_lambda(source) if rd_lambda is None else rd_lambda)
        return cls(codec, _load_all(codec, adapters))

    def encode(self, image_HWC: UInt8Array, mode: StreamMode = "auto") -> bytes:
        """Code an image: (height, width, 3) uint8 to the bytes of one container.

        Args:
            image_HWC: 8-bit RGB of any size up to `MAX_PIXELS`.
            mode: `source` for the source codec, `target` for the cheapest adapter, `auto` for the
                cheapest of both by `bpp + lambda * mse` of the real bytes.

        Raises:
            ConfigError: the mode is not available: it needs an adapter, or a source mode.
            BitstreamError: the image is too large.
        """
        return min(self.candidates(image_HWC, mode), key=lambda c: c.rd_loss).data

    def decode(self, data: bytes, *, guarded: bool = True) -> UInt8Array:
        """Decode a container to (height, width, 3) uint8, in the mode its header names.

        Args:
            data: Bytes from anywhere.
            guarded: Run the native decoder in a separate process, for streams from untrusted sources: a
                checksum is not a signature.

        Raises:
            BitstreamError: it is damaged, or needs a codec or adapter not loaded here (named).

        Warns:
            UserWarning: its version decodes only on a machine like the one that coded it.
        """
        coder, stream = self._receiver(data)
        warning = portability_warning(coder, stream)
        if warning is not None:
            warnings.warn(warning, UserWarning, stacklevel=2)
        return decode_checked(coder, stream, guarded=guarded).pixels_HWC

    def transcode(self, data: bytes) -> tuple[bytes, UInt8Array]:
        """Rewrite an old stream in the current version; also return the picture that the old one shows here.

        Args:
            data: A stream that this machine decodes to the right picture (look at it).

        Raises:
            BitstreamError: it is damaged, or needs a codec or adapter not loaded here (named).
        """
        coder, _ = self._receiver(data)
        coded, pixels = transcode(coder, data, guarded=True)
        return coded.data, pixels

    def _receiver(self, data: bytes) -> tuple[Coder, Stream]:
        stream = parse_stream(data)
        check_codec(stream, self.codec_id)
        check_adapter(stream, self._adapters.keys())
        return self._coder(stream.adapter_id), stream

    def candidates(self, image_HWC: UInt8Array, mode: StreamMode) -> list[CodedCandidate]:
        """Code the image in every way that `mode` allows, source mode first: it wins ties."""
        remedy = "read_image(FILE) reads one, (height, width, 3)"
        expect(image_HWC, np.ndarray, "an image", remedy, BitstreamError)
        channels = self.source.shape.image_channels
        if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] != channels:
            raise BitstreamError(
                f"an image of {image_HWC.dtype} {image_HWC.shape} cannot be coded: convert it to 8-bit "
                f"{'RGB' if channels == 3 else 'bands'}, (height, width, {channels})"
            )
        check_size(image_HWC.shape[1], image_HWC.shape[0])
        return [self._candidate(image_HWC, identifier) for identifier in self._allowed(mode)]

    def _allowed(self, mode: StreamMode) -> list[bytes | None]:
        if mode not in get_args(StreamMode):
            raise ConfigError(f"no mode {mode!r}: {nearest(str(mode), get_args(StreamMode))}")
        if mode == "target" and not self._adapters:
            raise ConfigError("target mode needs an adapter: give one, or code in source mode")
        stuck = [i for i, a in self._adapters.items() if a.frozen_source_state() is None]
        if mode == "source" and stuck:
            raise ConfigError(
                f"adapter {stuck[0].hex()} is a second codec and has no source mode: leave it out "
                "to code with the source codec, or let mode auto keep the cheaper of the two"
            )
        ways: dict[StreamMode, list[bytes | None]] = {
            "source": [None],
            "target": [*self._adapters],
            "auto": [None, *self._adapters],
        }
        return ways[mode]

    def _coder(self, adapter_id: bytes | None) -> Coder:
        return SourceCoder(self.source) if adapter_id is None else self._adapters[adapter_id]

    def _candidate(self, image_HWC: UInt8Array, adapter_id: bytes | None) -> CodedCandidate:
        data = encode(self._coder(adapter_id), image_HWC).data
        bpp = 8 * len(data) / (image_HWC.shape[0] * image_HWC.shape[1])
        mse = pixel_mse(self.decode(data, guarded=False), image_HWC)
        return CodedCandidate(data, adapter_id, bpp, mse, bpp + self.source.rd_lambda * mse)


def _load_all(codec: Codec, paths: Sequence[Path]) -> list[AdaptedCodec]:
    """Adapters in the order of their files; one that was grown on another needs that one's file as well."""
    below = {codec.weights_hash: codec}
    loaded: dict[Path, AdaptedCodec] = {}
    waiting = {path: _source_hash(path) for path in paths}
    while waiting:
        # If none of them belongs to anything here, the first one says so.
        ready = [path for path, name in waiting.items() if name in below] or list(waiting)[:1]
        for path in ready:
            source = below.get(waiting.pop(path), codec)
            adapted, _ = load_adapter(path, source)
            loaded[path] = adapted
            if isinstance(adapted, CawfCodec):
                more = grown(source, adapted)
                below[more.weights_hash] = more
    return [loaded[path] for path in paths]


def _source_hash(path: Path) -> str:
    """The codec that a file says it was trained on; empty where it does not say."""
    try:
        return str(load_tensors(path)[1].get("source_hash", ""))
    except StorageError:
        return ""
