"""The classical codecs through Pillow and its plugins: one class a format, its settings as fields.

Why each setting is what it is stands in docs/codecs.md, with the measurements.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

from PIL import features

from interfero.codecs.classical.codec import ClassicalCodec
from interfero.codecs.jpeg import Subsampling, encode_jpeg
from interfero.domains.images import UInt8Array
from interfero.errors import CodecError

BITS_PER_PIXEL = 24
"""Bits per pixel of an 8-bit RGB image."""


@dataclass(frozen=True)
class _BuiltIn(ClassicalCodec):
    """A format that Pillow's own wheels carry."""

    feature: ClassVar[str]
    """Pillow's name of the library behind the format."""

    def check_available(self) -> None:
        """Refuse a Pillow that was built without the library."""
        if not features.check(self.feature):
            raise CodecError(
                f"codec {self.name!r} needs a Pillow with {self.feature}, this one was built "
                "without: install the pillow wheel (pip install --force-reinstall pillow)"
            )

    def version(self) -> str:
        """Version of the library, as Pillow reports it."""
        return f"{self.feature} {features.version(self.feature)}"


@dataclass(frozen=True)
class Jpeg(_BuiltIn):
    """JPEG by libjpeg-turbo: optimised Huffman tables, the smaller of progressive and sequential."""

    name = "jpeg"
    format = "JPEG"
    feature = "jpg"
    qualities = range(1, 101)
    default_qualities = (5, 10, 20, 36, 57, 75, 84, 91)

    subsampling: Subsampling = "4:2:0"

    def version(self) -> str:
        """libjpeg-turbo's: `jpg` names the interface it offers, not its release."""
        return f"libjpeg_turbo {features.version('libjpeg_turbo')}"

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return encode_jpeg(pixels_HWC, quality, self.subsampling)


@dataclass(frozen=True)
class Jpeg2000(_BuiltIn):
    """JPEG 2000 by OpenJPEG, as a bare codestream; quality is the asked rate in 0.01 bpp.

    OpenJPEG can be asked for a size or for a PSNR, not for a quantiser: each image takes the rate
    that was asked for, as long as it holds that much.
    """

    name = "jpeg2000"
    format = "JPEG2000"
    feature = "jpg_2000"
    qualities = range(5, 801)
    default_qualities = (20, 30, 45, 65, 90, 125, 170, 230)

    irreversible: bool = True
    """The 9/7 wavelet; the reversible 5/3 one is for lossless files."""
    colour_transform: bool = True
    """Whether to convert to luma and chroma before the wavelet."""

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return self._save(
            pixels_HWC,
            no_jp2=True,  # The JP2 boxes around the codestream are 85 bytes that decode nothing.
            irreversible=self.irreversible,
            mct=int(self.colour_transform),
            quality_mode="rates",
            quality_layers=[BITS_PER_PIXEL / (quality / 100)],
        )


@dataclass(frozen=True)
class WebP(_BuiltIn):
    """Lossy WebP (VP8) by libwebp; the format knows 4:2:0 only."""

    name = "webp"
    format = "WEBP"
    feature = "webp"
    qualities = range(0, 101)
    default_qualities = (0, 5, 20, 40, 60, 75, 85, 91)

    method: int = 6
    """0 is fast, 6 is the slowest."""

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return self._save(pixels_HWC, quality=quality, method=self.method, lossless=False)


@dataclass(frozen=True)
class Avif(_BuiltIn):
    """AVIF by libavif and libaom, tuned as libavif tunes still pictures."""

    name = "avif"
    format = "AVIF"
    feature = "avif"
    qualities = range(0, 100)
    default_qualities = (10, 20, 30, 40, 50, 60, 70, 80)

    subsampling: Subsampling = "4:4:4"
    speed: int = 4
    """10 is fast, 0 is the slowest."""

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return self._save(
            pixels_HWC,
            quality=quality,
            subsampling=self.subsampling,
            speed=self.speed,
            codec="aom",
            # Workers code images beside each other: one thread each.
            max_threads=1,
        )


@dataclass(frozen=True)
class _Plugin(ClassicalCodec):
    """A format from a package other than Pillow."""

    package: ClassVar[str]
    module: ClassVar[str]

    def check_available(self) -> None:
        """Import the plugin and register its format."""
        self._register(self._load())

    def version(self) -> str:
        """Version of the package, whose wheels contain the library."""
        self.check_available()
        return f"{self.package} {metadata.version(self.package)}"

    def _load(self) -> Any:
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            raise CodecError(
                f"codec {self.name!r} needs the package {self.package}, which does not load "
                f"({error}): pip install -e '.[classical]' in the project's folder"
            ) from error

    def _register(self, module: ModuleType) -> None:
        """Importing it is enough for most."""


@dataclass(frozen=True)
class Heif(_Plugin):
    """HEIF (HEVC intra) by libheif and x265."""

    name = "heif"
    format = "HEIF"
    package = "pillow-heif"
    module = "pillow_heif"
    qualities = range(0, 100)
    default_qualities = (5, 15, 22, 28, 34, 40, 48, 56)

    subsampling: Subsampling = "4:2:0"
    preset: str = "slower"
    """x265's."""

    def _register(self, module: ModuleType) -> None:
        module.register_heif_opener(thumbnails=False)

    def version(self) -> str:
        """Version of the package, with those of libheif and x265."""
        info = self._load().libheif_info()
        return f"{super().version()}, libheif {info['libheif']}, {info['HEIF']}"

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return self._save(
            pixels_HWC,
            quality=quality,
            subsampling=self.subsampling,
            enc_params={"preset": self.preset, "tune": "ssim"},
        )


@dataclass(frozen=True)
class JpegXl(_Plugin):
    """Lossy JPEG XL (VarDCT, XYB) by libjxl, as a bare codestream."""

    name = "jpegxl"
    format = "JXL"
    package = "pillow-jxl-plugin"
    module = "pillow_jxl"
    qualities = range(0, 100)
    default_qualities = (1, 10, 20, 35, 50, 65, 78, 88)
    # libjxl codes the picture at half its size above distance 10: from quality 18 to 19 the rate falls.
    regimes = MappingProxyType({"half resolution": range(0, 19), "full resolution": range(19, 100)})

    effort: int = 8
    """1 is fast, 10 the slowest."""

    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        return self._save(
            pixels_HWC,
            quality=quality,
            effort=self.effort,
            use_container=False,
            lossless_jpeg=False,
            num_threads=0,
        )
