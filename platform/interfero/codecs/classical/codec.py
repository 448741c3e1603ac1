"""What every classical codec has in common: a quality scale, whole files, and checks."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import PIL
from PIL import Image

from interfero.domains.images import UInt8Array
from interfero.errors import BitstreamError, CodecError


@dataclass(frozen=True)
class ClassicalCodec(ABC):
    """A lossy image format at fixed settings; the fields of a subclass are those settings.

    Files hold the picture and what its decoder needs: no metadata, no profile, no thumbnail.
    """

    name: ClassVar[str]
    format: ClassVar[str]
    """Pillow's name of the format."""
    qualities: ClassVar[range]
    """The lossy qualities; within a regime more quality is more rate, but for a percent or so."""
    regimes: ClassVar[Mapping[str, range]] = {}
    """Names of the ways a format works in, and their qualities; rate may fall from one to the next. None
    named is one regime."""
    default_qualities: ClassVar[tuple[int, ...]]
    """A curve of eight points, about 0.2 to 2 bpp on photographs."""

    def encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        """The whole file of one image.

        Args:
            pixels_HWC: (height, width, 3), 0-255.
            quality: One of `qualities`.

        Raises:
            CodecError: the quality does not exist, the pixels are no 8-bit RGB image, the format
                cannot hold the size, or the codec is not installed.
        """
        if quality not in self.qualities:
            raise CodecError(
                f"{self.name} quality must be one of {self.qualities.start} to "
                f"{self.qualities.stop - 1}, got {quality}"
            )
        if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3:
            raise CodecError(
                f"{self.name} codes (height, width, 3) uint8, got {pixels_HWC.shape} "
                f"{pixels_HWC.dtype}: convert the image to 8-bit RGB"
            )
        self.check_available()
        try:
            return self._encode(pixels_HWC, quality)
        except (OSError, ValueError, RuntimeError) as error:
            height, width = pixels_HWC.shape[:2]
            raise CodecError(
                f"{self.name} cannot code {width}x{height} pixels at quality {quality} ({error})"
            ) from error

    def decode(self, data: bytes) -> UInt8Array:
        """(height, width, 3) uint8 of one file of this format.

        Raises:
            BitstreamError: it is damaged, or of another format.
            CodecError: the codec is not installed.
        """
        self.check_available()
        try:
            with Image.open(io.BytesIO(data), formats=(self.format,)) as image:
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
        except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as e:
            raise BitstreamError(f"not a whole {self.format} file ({e}): fetch it again") from e

    def identity(self, quality: int) -> str:
        """Everything that decides a file's bytes and its pixels, in words."""
        settings = ", ".join(f"{k}={v}" for k, v in sorted(asdict(self).items()))
        libraries = f"pillow {PIL.__version__}, {self.version()}"
        return f"classical {self.name}({settings}) quality {quality} by {libraries}"

    @abstractmethod
    def check_available(self) -> None:
        """Load the plugin.

        Raises:
            CodecError: it is not installed; names the package.
        """

    @abstractmethod
    def version(self) -> str:
        """Name and version of the library that codes."""

    @abstractmethod
    def _encode(self, pixels_HWC: UInt8Array, quality: int) -> bytes:
        """`encode` without its checks."""

    def warm_up(self) -> None:
        """Code one small picture, once a process: libraries set up their tables at first use."""
        _warm_up(self)

    def _save(self, pixels_HWC: UInt8Array, **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels_HWC).save(buffer, self.format, **options)
        return buffer.getvalue()


@cache
def _warm_up(codec: ClassicalCodec) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    codec.decode(codec.encode(grey, codec.default_qualities[-1]))


@dataclass(frozen=True)
class ClassicalPoint:
    """A classical codec at one quality: what an evaluation measures."""

    codec: ClassicalCodec
    quality: int

    @property
    def name(self) -> str:
        """Codec and quality."""
        return f"{self.codec.name} {self.quality}"

    @property
    def identity(self) -> str:
        """Identity of the point, as `ClassicalCodec.identity`."""
        return self.codec.identity(self.quality)
