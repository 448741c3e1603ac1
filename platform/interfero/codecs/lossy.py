"""Every codec, learned or classical, as one thing: at an asked rate it turns images into worse ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Protocol

import torch

from interfero.codecs.catalogue import (
    absolute_source,
    available_lambdas,
    bundled_names,
    load_codec,
    source_name,
)
from interfero.codecs.classical import CLASSICAL, ClassicalCodec, find_classical, quality_for_rate
from interfero.codecs.classical.rate_matching import CodecPoint
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.domains.decoding import in_threads
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import CodecError, nearest
from interfero.store.keys import CELL_DIGITS, text_key
from interfero.versions import library_version

MAX_RATE_ERROR = 1.5
"""A rate further off than by this factor is refused: codecs would be compared at rates that are not one.

Neighbouring lambdas of the bundled codecs differ by a factor of two in rate, 1.4 to either side."""


@dataclass(frozen=True)
class Setting:
    """Setting with which a codec reaches a rate: found on some images, used for others too."""

    value: float
    """A classical codec's quality, a learned codec's lambda."""
    bpp: float
    """Mean over the images it was searched on, headers included."""
    asked_bpp: float
    regime: str = ""
    """The way the format works in there, where it has several: JPEG XL's `half resolution`."""


@dataclass(frozen=True)
class Lossy:
    """One image after coding."""

    num_bytes: int
    """Bytes of the whole file or bitstream."""
    pixels_HWC: UInt8Array


class LossyCodec(Protocol):
    """What can code images at different rates."""

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def identity(self) -> str:
        """Everything that decides bytes and pixels, in words."""

    def setting_for(self, images: Sequence[Sample], rate_bpp: float) -> Setting:
        """A classical codec's best setting at or under the asked rate, a learned one's nearest.

        Raises:
            CodecError: no setting comes near.
        """

    def transcode(self, pixels_HWC: UInt8Array, setting: Setting) -> Lossy:
        """Code and decode one image, for real."""

    def transcode_all(self, images: Sequence[UInt8Array], setting: Setting) -> list[Lossy]:
        """Code and decode several, in their order; at once where the codec can."""


@dataclass(frozen=True)
class LossyClassical:
    """A classical codec."""

    codec: ClassicalCodec

    @property
    def name(self) -> str:
        """The name in `--codecs`."""
        return self.codec.name

    @property
    def identity(self) -> str:
        """Identity of the codec at any quality."""
        return self.codec.identity(self.codec.qualities[-1])

    def setting_for(self, images: Sequence[Sample], rate_bpp: float) -> Setting:
        """The best quality at or under the rate."""
        known = self._points.setdefault(tuple(sample.digest for sample in images), {})
        match = quality_for_rate(self.codec, images, rate_bpp, known)
        return Setting(float(match.quality), match.bpp, rate_bpp, match.regime)

    @cached_property
    def _points(self) -> dict[tuple[str, ...], dict[int, CodecPoint]]:
        """What qualities gave, by the images' digests: several rates are searched on the same images."""
        return {}

    def transcode(self, pixels_HWC: UInt8Array, setting: Setting) -> Lossy:
        """One file, decoded again."""
        data = self.codec.encode(pixels_HWC, int(setting.value))
        return Lossy(len(data), self.codec.decode(data))

    def transcode_all(self, images: Sequence[UInt8Array], setting: Setting) -> list[Lossy]:
        """As many at once as torch has threads: most formats leave Python's lock while they code."""
        self.codec.warm_up()
        tasks = (partial(self.transcode, pixels_HWC, setting) for pixels_HWC in images)
        return list(in_threads(tasks, torch.get_num_threads()))


@dataclass(frozen=True)
class LossyLearned:
    """A learned codec: a few lambdas, and so a few rates.

    The nearest one is taken and the rate it gives recorded. Nothing is mixed or interpolated: half of
    the images at one lambda and half at another would be a data set of two codecs.
    """

    name: str
    """A bundled codec's name, or that of the file or folder."""
    sources: Mapping[float, str]
    """Sources by lambda: a bundled name, a codec file, a folder of them, or compressai:NAME."""

    @cached_property
    def identity(self) -> str:
        """Weights and tables at every lambda, and the libraries that compute with them."""
        hashes = [_coder(self.sources[v], v).codec.weights_hash for v in sorted(self.sources)]
        libraries = " ".join(f"{name} {library_version(name)}" for name in ("torch", "compressai"))
        return f"learned {' '.join(hashes)} by {libraries}"

    def setting_for(self, images: Sequence[Sample], rate_bpp: float) -> Setting:
        """The nearest lambda; rates rise with lambda, so the search halves them."""
        if not images or not rate_bpp > 0:
            raise CodecError(
                f"a rate is matched on images and above 0 bpp, got {len(images)} and {rate_bpp}"
            )
        rates: dict[float, float] = {}

        def distance(value: float) -> float:
            if value not in rates:
                rates[value] = self._mean_rate(images, value)
            return abs(math.log(rates[value] / rate_bpp))

        lambdas = sorted(self.sources)
        low, high = 0, len(lambdas) - 1
        while high - low > 1:
            middle = (low + high) // 2
            distance(lambdas[middle])
            low, high = (middle, high) if rates[lambdas[middle]] <= rate_bpp else (low, middle)
        nearest_value = min((lambdas[low], lambdas[high]), key=distance)
        if distance(nearest_value) > math.log(MAX_RATE_ERROR):
            raise CodecError(
                f"{self.name} comes no nearer to {rate_bpp:g} bpp than {rates[nearest_value]:.3f} bpp "
                f"(lambda {nearest_value:g}) on these images: ask for a rate within a factor of "
                f"{MAX_RATE_ERROR:g} of it"
            )
        return Setting(nearest_value, rates[nearest_value], rate_bpp)

    def transcode(self, pixels_HWC: UInt8Array, setting: Setting) -> Lossy:
        """One bitstream, decoded again."""
        coder = _coder(self.sources[setting.value], setting.value)
        data = encode(coder, pixels_HWC).data
        return Lossy(len(data), decode(coder, data).pixels_HWC)

    def transcode_all(self, images: Sequence[UInt8Array], setting: Setting) -> list[Lossy]:
        """One after the other: a coder works for one thread."""
        return [self.transcode(pixels_HWC, setting) for pixels_HWC in images]

    def _mean_rate(self, images: Sequence[Sample], value: float) -> float:
        coder = _coder(self.sources[value], value)
        rates = [
            8
            * len(encode(coder, s.pixels_HWC).data)
            / (s.pixels_HWC.shape[0] * s.pixels_HWC.shape[1])
            for s in images
        ]
        return sum(rates) / len(rates)


def find_lossy(name: str) -> LossyCodec:
    """A codec by its name on the command line: classical, bundled, a path, or compressai:NAME.

    Raises:
        CodecError: there is none, or it is not installed.
    """
    if name in CLASSICAL:
        codec = find_classical(name)
        codec.check_available()
        return LossyClassical(codec)
    # Workers run in folders of their own: a path must not depend on where the driver started.
    source = absolute_source(name)
    try:
        lambdas = available_lambdas(source)
    except CodecError as error:
        known = (*CLASSICAL, *bundled_names())
        raise CodecError(f"{error}; of all codecs: {nearest(name, known)}") from error
    return LossyLearned(source_name(source), dict.fromkeys(lambdas, source))


def identity_hash(codec: LossyCodec) -> str:
    """Hash of everything that decides bytes and pixels."""
    return text_key(codec.identity, digits=CELL_DIGITS)


@lru_cache(8)
def _coder(source: str, value: float) -> SourceCoder:
    return SourceCoder(load_codec(source, value))
