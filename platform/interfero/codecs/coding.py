"""Images to bitstreams and back, and what that costs, for source codecs and adapted ones alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from interfero.codecs import rans, rans_guard
from interfero.codecs.bitstream import FLOAT_VERSION, Stream, parse_stream, symbol_checksum
from interfero.codecs.codec import Codec
from interfero.codecs.entropy_coding import (
    coding_setting,
    pad_to_stride,
    recorded_symbols,
    shown_size,
)
from interfero.codecs.entropy_tables import Int32Array
from interfero.codecs.exact import deciding_layers
from interfero.codecs.identity import check_codec, codec_id_of
from interfero.codecs.payload import refused_if_short
from interfero.codecs.recording import RecordingCoder
from interfero.domains.batches import image_tensor
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import BitstreamError
from interfero.metrics.rate_distortion import PEAK, estimated_bpp, psnr_db

GREY = 128
"""What an undecodable image counts as: a uniform grey picture."""


class Coder(Protocol):
    """What can code images: a source codec, or an adapted one in one of its modes."""

    @property
    def codec_id(self) -> bytes:
        """Names the source codec in a header."""

    @property
    def adapter_id(self) -> bytes | None:
        """Names the adapter in a header; None in source mode."""

    @property
    def model(self) -> nn.Module:
        """Has `compress`, `decompress` and, called on a batch, likelihoods, as in CompressAI."""

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """Modules that hold all its entropy models, each once."""

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this many pixels."""


@dataclass(frozen=True)
class SourceCoder:
    """The source codec as a coder."""

    codec: Codec

    @cached_property
    def codec_id(self) -> bytes:
        """The first bytes of the hash of weights and tables, as they were when it was first asked for.

        Hashing takes as long as a sixth of coding an image: a codec that is still changing needs a
        new coder after each change.
        """
        return codec_id(self.codec)

    @property
    def adapter_id(self) -> None:
        """Source mode."""
        return None

    @property
    def model(self) -> nn.Module:
        """The CompressAI model."""
        model: nn.Module = self.codec.model
        return model

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """The CompressAI model."""
        return (self.codec.model,)

    @property
    def stride(self) -> int:
        """The codec's."""
        return self.codec.stride


def codec_id(codec: Codec) -> bytes:
    """The bytes that name a source codec in a header."""
    return codec_id_of(codec.weights_hash, codec.table_hash)


@dataclass(frozen=True)
class Coded:
    """One coded image."""

    data: bytes
    symbols: tuple[tuple[int, ...], ...]
    """Quantised latents in coding order."""


@dataclass(frozen=True)
class Decoded:
    """One decoded image."""

    pixels_HWC: UInt8Array
    symbols: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ImageScore:
    """Rate and distortion of one image; the mean over images is what a domain reports."""

    name: str
    group: str
    """The source image."""
    bpp: float
    """8 x coded bytes / pixels before padding, header included."""
    mse: float
    """Mean squared error of 8-bit pixels."""
    chroma_mse: float | None = None
    """The part of it that is off the grey axis (`chroma_mse`); None where it was not measured."""

    @property
    def psnr_db(self) -> float:
        """PSNR of the 8-bit pixels in dB."""
        return psnr_db(self.mse)

    def rd_loss(self, rd_lambda: float) -> float:
        """`bpp + rd_lambda * mse`."""
        return self.bpp + rd_lambda * self.mse


def encode(coder: Coder, pixels_HWC: UInt8Array) -> Coded:
    """Code one image to a container."""
    height, width = pixels_HWC.shape[:2]
    with coding_setting(), shown_size(height, width):
        image = pad_to_stride(image_tensor(pixels_HWC), coder.stride)
        return _coded(coder, image, width, height)


def transcode(coder: Coder, data: bytes, *, guarded: bool = False) -> tuple[Coded, UInt8Array]:
    """A stream of an older version in the present one, and the picture that the old one shows.

    The old stream is decoded as it always was, which only a machine like the one that coded it can do;
    its latents are coded again with scales and means that every machine computes alike. A latent
    moves by as much as its mean does, about 2^-12.

    Args:
        coder: The one that the stream names.
        data: The stream.
        guarded: As of `decode`.

    Raises:
        BitstreamError: it is damaged, needs another codec or adapter, or is of this version and decodes
            to other symbols than were coded: they would get a checksum that matches.
    """
    stream = _checked_stream(coder, data)
    decoded, recorded = _decode(coder, stream, whole=True, guarded=guarded)
    _check_symbols(stream, recorded)
    # Of the image only the size is used: its latents are given.
    height, width = (
        -(-side // coder.stride) * coder.stride for side in (stream.height, stream.width)
    )
    with coding_setting():
        blank = torch.zeros(1, decoded.pixels_HWC.shape[2], height, width)
        coded = _coded(coder, blank, stream.width, stream.height, recorded.latents)
    return coded, decoded.pixels_HWC


def _coded(
    coder: Coder, image_1CHW: Tensor, width: int, height: int, latents: Sequence[Tensor] = ()
) -> Coded:
    roots = (coder.model, *coder.roots)
    with recorded_symbols(roots, exact=True, given=latents) as recorded:
        model: Any = coder.model
        output = model.compress(image_1CHW)
    strings = tuple(batch[0] for batch in output["strings"])
    symbols = _as_tuples(recorded.coded)
    check = symbol_checksum(recorded.coded)
    stream = Stream(coder.codec_id, coder.adapter_id, width, height, strings, check)
    return Coded(stream.pack(), symbols)


def decode(coder: Coder, data: bytes, *, guarded: bool = False) -> Decoded:
    """Decode one container.

    Args:
        coder: The one that the stream names.
        data: The stream.
        guarded: Run the native decoder in a process of its own, for streams from elsewhere: a
            checksum does not prove who made them.

    Raises:
        BitstreamError: it is damaged, or needs another codec or adapter.
    """
    return decode_checked(coder, _checked_stream(coder, data), guarded=guarded)


def _checked_stream(coder: Coder, data: bytes) -> Stream:
    stream = parse_stream(data)
    check_codec(stream, coder.codec_id)
    if stream.adapter_id != coder.adapter_id:
        raise BitstreamError(
            f"bitstream needs adapter {_id(stream.adapter_id)}, loaded is {_id(coder.adapter_id)}"
        )
    return stream


def decode_checked(coder: Coder, stream: Stream, *, guarded: bool = False) -> Decoded:
    """Decode a stream of this coder, whose strings can hold as many symbols as its size needs.

    Raises:
        BitstreamError: they are too short for that, or lead to no picture or to other symbols than
            were coded.
    """
    decoded, recorded = _decode(coder, stream, whole=True, guarded=guarded)
    _check_symbols(stream, recorded)
    return decoded


def _check_symbols(stream: Stream, recorded: RecordingCoder) -> None:
    """Refuse other symbols than were coded, where the stream says which those were."""
    if stream.version == FLOAT_VERSION:
        return
    found = symbol_checksum(recorded.decoded)
    if found != stream.symbol_checksum:
        raise BitstreamError(
            f"bitstream decodes to other symbols than were coded: their checksum is {found:04x}, "
            f"it says {stream.symbol_checksum:04x}; it is damaged (fetch it again), or this "
            "machine's floating point does not add integers exactly (decode it on another)"
        )


def portability_warning(coder: Coder, stream: Stream) -> str | None:
    """What to say of a stream that may decode to garbage here; None of one that cannot.

    Where a stream of version 2 was coded is not known: nothing in it says.
    """
    if stream.version != FLOAT_VERSION or not deciding_layers((coder.model, *coder.roots)):
        return None
    return (
        f"this is a stream of version {FLOAT_VERSION}: it decodes to the right picture only on a machine "
        "like the one that coded it (the same instruction set, at least), and does not say which that "
        "was; look at the picture, and rewrite the stream with `interfero transcode` where it is right"
    )


def decode_unchecked(
    coder: Coder, stream: Stream, *, whole: bool = False, guarded: bool = True
) -> Decoded:
    """Decode a stream with whatever codec is given: what happens to old bitstreams.

    Args:
        coder: Any coder.
        stream: Any stream.
        whole: Refuse strings too short for the picture's size.
        guarded: Run the native decoder in a process of its own.

    Raises:
        BitstreamError: the symbols lead to no picture at all.
    """
    return _decode(coder, stream, whole=whole, guarded=guarded)[0]


def _decode(
    coder: Coder, stream: Stream, *, whole: bool, guarded: bool
) -> tuple[Decoded, RecordingCoder]:
    """The picture, and what passed on the way to it: symbols and latents in coding order."""
    height, width = stream.height, stream.width
    stride = coder.stride
    shape = torch.Size((-(-height // stride), -(-width // stride)))
    strings = [[s] for s in stream.strings]
    limits = refused_if_short(coder.roots) if whole else nullcontext()
    decoder = rans_guard.open_decoder if guarded else rans.open_decoder
    roots, exact = (coder.model, *coder.roots), stream.version != FLOAT_VERSION
    with coding_setting(), recorded_symbols(roots, decoder, exact=exact) as recorded, limits:
        model: Any = coder.model
        try:
            x_hat: Tensor = model.decompress(strings, shape)["x_hat"]
        except (AssertionError, ValueError, IndexError, RuntimeError) as error:
            raise BitstreamError(f"bitstream does not decode with this codec ({error})") from error
        # Here still: on several threads, so little work takes more of their time than it saves.
        pixels = to_pixels(x_hat[0, :, :height, :width])
    return Decoded(pixels, _as_tuples(recorded.decoded)), recorded


def _as_tuples(symbols: Iterable[Int32Array]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(latent.tolist()) for latent in symbols)


def to_pixels(image_CHW: Tensor) -> UInt8Array:
    """(3, H, W) in [0, 1] to (H, W, 3) uint8; what is no number becomes grey."""
    grey = GREY / PEAK
    finite = torch.nan_to_num(image_CHW.float(), nan=grey, posinf=1.0, neginf=0.0)
    scaled = finite.clamp(0, 1).mul(PEAK).round().to(torch.uint8)
    pixels: UInt8Array = scaled.permute(1, 2, 0).contiguous().numpy()
    return pixels


def pixel_mse(a_HWC: UInt8Array, b_HWC: UInt8Array) -> float:
    """Mean squared error of two 8-bit images of one shape."""
    return float(np.mean((a_HWC.astype(np.float64) - b_HWC.astype(np.float64)) ** 2))


def chroma_mse(a_HWC: UInt8Array, b_HWC: UInt8Array | float = 0.0) -> float:
    """The part of the mean squared error that is off the grey axis, where all channels are equal.

    The axes are orthogonal (the first of Ohta, Kanade and Sakai, 1980, "Color information for region
    segmentation", is the mean of the channels), so luma's part and this one add up to `pixel_mse`; parts of
    Y, Cb and Cr would not. Against nothing it is the power of an image's own chroma: 0 of a grey one.
    """
    error = a_HWC.astype(np.float64) - b_HWC
    return float(np.mean(np.square(error - error.mean(axis=2, keepdims=True))))


def score_coded(coder: Coder, sample: Sample) -> ImageScore:
    """Code and decode one image, and measure both."""
    coded = encode(coder, sample.pixels_HWC)
    decoded = decode(coder, coded.data)
    num_pixels = sample.pixels_HWC.shape[0] * sample.pixels_HWC.shape[1]
    bpp = 8 * len(coded.data) / num_pixels
    return ImageScore(
        sample.name, sample.source_image, bpp, pixel_mse(decoded.pixels_HWC, sample.pixels_HWC)
    )


def score_estimated(coder: Coder, sample: Sample) -> ImageScore:
    """Rate from the entropy model, distortion of the rounded latents; nothing is coded."""
    height, width = sample.pixels_HWC.shape[:2]
    with coding_setting(), shown_size(height, width):
        output = coder.model(pad_to_stride(image_tensor(sample.pixels_HWC), coder.stride))
        bpp = estimated_bpp(output["likelihoods"].values(), height * width).item()
        pixels = to_pixels(output["x_hat"][0, :, :height, :width])
    return ImageScore(sample.name, sample.source_image, bpp, pixel_mse(pixels, sample.pixels_HWC))


def mean_score(scores: Sequence[ImageScore], rd_lambda: float) -> dict[str, float]:
    """Means over images: `bpp`, `psnr_db`, `rd_loss`."""
    count = len(scores)
    return {
        "bpp": sum(s.bpp for s in scores) / count,
        "psnr_db": sum(s.psnr_db for s in scores) / count,
        "rd_loss": sum(s.rd_loss(rd_lambda) for s in scores) / count,
    }


def _id(identifier: bytes | None) -> str:
    return "none (source mode)" if identifier is None else identifier.hex()
