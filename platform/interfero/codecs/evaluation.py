"""Any codec on any domain: rate, PSNR, MS-SSIM and LPIPS, per image and as means.

Source codecs, adapted codecs and classical codecs at one quality are measured the same way: every
image is coded to a whole file, decoded, and compared with its 8-bit pixels.

Learned codecs code any size by padding to their stride. An image with a side over `max_tile` is cut
into a grid of tiles of about equal size, each a container of its own with its own header and padding;
all their bytes count, and no tile sees its neighbours. Classical codecs code every image whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from interfero.codecs.classical.codec import ClassicalPoint
from interfero.codecs.codec import Codec
from interfero.codecs.coding import (
    Coder,
    SourceCoder,
    decode,
    encode,
    pixel_mse,
    score_estimated,
)
from interfero.codecs.evaluation_pool import measuring
from interfero.codecs.evaluation_store import (
    Entry,
    EvaluationKey,
    EvaluationStore,
    Setting,
    codec_identity,
)
from interfero.config import Config
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import ConfigError, expect
from interfero.metrics import lpips
from interfero.metrics.ms_ssim import ms_ssim
from interfero.metrics.rate_distortion import PEAK, psnr_db

MS_SSIM_MIN_SIDE = 161
"""Pixels. Five scales of an 11-pixel window need more than 160; fewer scales would be another metric,
so smaller images have no MS-SSIM, and the mean says how many had one."""

Evaluated = Codec | Coder | ClassicalPoint
"""A source codec, an adapted codec in its present mode, or a classical codec at one quality."""


class EvaluationOptions(Config):
    """What is measured, and how large an image is coded in one piece."""

    max_images: int | None = Field(default=None, gt=0)
    """Test images at most; each source image once before any twice."""
    max_tile: int = Field(default=1024, ge=64)
    """Longest side in pixels that a learned codec codes in one piece."""
    estimate: bool = True
    """Measure the rate that a learned codec's entropy model promises too."""
    lpips_weights: Path | None = None
    """Local weights (see `interfero.metrics.lpips`); without them there is no LPIPS."""


@dataclass(frozen=True)
class ImageEvaluation:
    """One image."""

    name: str
    group: str
    """The source image; a standard error is over these."""
    bpp: float
    """8 x bytes of all files / pixels before padding."""
    mse: float
    """Mean squared error of 8-bit pixels."""
    estimated_bpp: float | None
    """What the entropy model promises; None for classical codecs."""
    ms_ssim: float | None
    """0 to 1, higher is better; None below `MS_SSIM_MIN_SIDE`."""
    lpips: float | None
    """Lower is better; None without weights."""
    num_tiles: int

    @property
    def psnr_db(self) -> float:
        """PSNR of the 8-bit pixels in dB."""
        return psnr_db(self.mse)


@dataclass(frozen=True)
class Mean:
    """A mean over images, each counted once."""

    value: float
    standard_error: float | None
    """Standard error of the mean over source images: crops of one photograph are not independent samples.
    None if all come from one."""
    num_images: int


@dataclass(frozen=True)
class Evaluation:
    """A codec on a domain."""

    codec: str
    """Names what coded, by content."""
    images: tuple[ImageEvaluation, ...]

    @property
    def bpp(self) -> Mean:
        """Coded rate."""
        return self._mean([(i, i.bpp) for i in self.images])

    @property
    def psnr_db(self) -> Mean:
        """Mean of the images' PSNR."""
        return self._mean([(i, i.psnr_db) for i in self.images])

    @property
    def mse(self) -> Mean:
        """Mean squared error on the 0-255 scale."""
        return self._mean([(i, i.mse) for i in self.images])

    @property
    def estimated_bpp(self) -> Mean | None:
        """None for classical codecs."""
        return self._mean_where([(i, i.estimated_bpp) for i in self.images])

    @property
    def ms_ssim(self) -> Mean | None:
        """Over the images that are large enough; None where none is."""
        return self._mean_where([(i, i.ms_ssim) for i in self.images])

    @property
    def lpips(self) -> Mean | None:
        """None without weights."""
        return self._mean_where([(i, i.lpips) for i in self.images])

    def _mean_where(self, values: Sequence[tuple[ImageEvaluation, float | None]]) -> Mean | None:
        there = [(image, value) for image, value in values if value is not None]
        return self._mean(there) if there else None

    @staticmethod
    def _mean(values: Sequence[tuple[ImageEvaluation, float]]) -> Mean:
        return grouped_mean([value for _, value in values], [image.group for image, _ in values])


def grouped_mean(values: Sequence[float], groups: Sequence[str]) -> Mean:
    """Mean over values, and its standard error clustered by group.

    The error is `sqrt(G / (G - 1) * sum_g (sum_{i in g} (x_i - mean))^2) / n`; with one value a group
    it is the usual `s / sqrt(n)`.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean needs at least one value, got none")
    mean = sum(values) / len(values)
    sums: dict[str, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    count = len(sums)
    if count < 2:
        return Mean(mean, None, len(values))
    scatter = count / (count - 1) * sum(s * s for s in sums.values())
    return Mean(mean, math.sqrt(scatter) / len(values), len(values))


def evaluate(
    codec: Evaluated,
    domain: Domain | Sequence[Sample],
    options: EvaluationOptions | None = None,
    store: EvaluationStore | None = None,
    processes: int = 1,
) -> Evaluation:
    """Code, decode and measure a domain's test images, or the given ones.

    Args:
        codec: A source codec, an adapted codec in its present mode, or a classical codec at a quality.
        domain: A domain, whose test images are used, or images.
        options: Which metrics to measure, and the tile size.
        store: Store of results; an image with a stored result is not coded again.
        processes: Number of processes that measure images in parallel, one thread each (see
            `evaluation_pool`).

    Raises:
        CodecError, BitstreamError: an image cannot be coded.
        ConfigError: there are no images, `processes` is not 1 or more, the LPIPS weights cannot be read, or
            an argument is of another type.
    """
    chosen = options or EvaluationOptions()
    _check_types(codec, domain)
    samples = domain.test if isinstance(domain, Domain) else tuple(domain)
    if chosen.max_images is not None:
        samples = spread(samples, chosen.max_images)
    if not samples:
        raise ConfigError("an evaluation needs at least one image, got none")
    if processes < 1:
        raise ConfigError(f"an evaluation takes 1 process or more, got {processes}")
    with open_evaluation(codec, chosen, store, min(processes, len(samples))) as measure:
        return measure(samples)


def _check_types(codec: object, domain: object) -> None:
    if not hasattr(codec, "codec_id"):
        expect(codec, (Codec, ClassicalPoint), "codec", "load_codec(NAME, LAMBDA) loads one")
    kinds = Domain if isinstance(domain, str) else (Domain, Sequence)
    expect(domain, kinds, "domain", "load_domain(NAME) loads one, and its `test` has images")
    if isinstance(domain, Sequence):
        for image in domain:
            expect(image, Sample, "an image", "write Sample(NAME, NAME, PIXELS) of domains.images")


@contextmanager
def open_evaluation(
    codec: Evaluated,
    options: EvaluationOptions | None = None,
    store: EvaluationStore | None = None,
    processes: int = 1,
) -> Iterator[Callable[[Sequence[Sample]], Evaluation]]:
    """`evaluate` for several sets of images, whose processes are started once."""
    measurement = _Measurement.of(codec, options or EvaluationOptions(), store)
    with measuring(measurement.entry, processes) as measure:

        def evaluate_samples(samples: Sequence[Sample]) -> Evaluation:
            images = map(_image_evaluation, samples, measure(samples))
            return Evaluation(measurement.identity, tuple(images))

        yield evaluate_samples


@dataclass(frozen=True)
class _Measurement:
    """What is done to each image."""

    codec: Coder | ClassicalPoint
    identity: str
    options: EvaluationOptions
    settings: dict[str, Setting]
    perceptual: lpips.Lpips | None
    store: EvaluationStore | None

    @classmethod
    def of(
        cls, codec: Evaluated, options: EvaluationOptions, store: EvaluationStore | None
    ) -> _Measurement:
        """The measurement of a codec; weights are read once."""
        weights = options.lpips_weights
        perceptual = None if weights is None else lpips.load_lpips(weights)
        settings: dict[str, Setting] = {
            "kind": "evaluation",
            "lpips": None if weights is None else lpips.weights_digest(weights),
        }
        if not isinstance(codec, ClassicalPoint):
            settings |= {"max_tile": options.max_tile, "estimate": options.estimate}
        coder = SourceCoder(codec) if isinstance(codec, Codec) else codec
        return cls(coder, codec_identity(codec), options, settings, perceptual, store)

    def entry(self, sample: Sample) -> Entry:
        """The stored result of an image, or a new measurement."""
        if self.store is None:
            return self.run(sample)
        key = EvaluationKey(self.identity, sample.digest, self.settings)
        return self.store.fetch(key, partial(self.run, sample))

    def run(self, sample: Sample) -> Entry:
        """Code, decode and measure one image."""
        pixels = sample.pixels_HWC
        estimated: float | None = None
        if isinstance(self.codec, ClassicalPoint):
            streams = [self.codec.codec.encode(pixels, self.codec.quality)]
            decoded = self.codec.codec.decode(streams[0])
        else:
            streams, decoded = code_tiles(self.codec, pixels, self.options.max_tile)
            if self.options.estimate:
                estimated = estimate_tiles(self.codec, pixels, self.options.max_tile)
        return Entry(
            {
                "num_bytes": sum(map(len, streams)),
                "num_tiles": len(streams),
                "estimated_bpp": estimated,
                "mse": pixel_mse(decoded, pixels),
                "ms_ssim": ms_ssim_of(decoded, pixels),
                "lpips": self._lpips(decoded, pixels),
            }
        )

    def _lpips(self, decoded: UInt8Array, pixels: UInt8Array) -> float | None:
        if self.perceptual is None or min(pixels.shape[:2]) < lpips.MIN_SIDE:
            return None
        with torch.inference_mode():
            return float(self.perceptual(_batch(decoded), _batch(pixels)))


def tile_boxes(pixels_HWC: UInt8Array, max_tile: int, stride: int) -> Iterator[tuple[slice, slice]]:
    """The grid of tiles of an image, as (rows, columns) in reading order.

    An axis is cut into as few parts as `max_tile` allows, of about equal length; all but the last
    are a multiple of `stride`, so that padding is added at the image's own edges alone.
    """
    height, width = pixels_HWC.shape[:2]
    for rows in _parts(height, max_tile, stride):
        for columns in _parts(width, max_tile, stride):
            yield rows, columns


def _parts(length: int, max_tile: int, stride: int) -> list[slice]:
    longest = max(stride, max_tile // stride * stride) if length > max_tile else length
    count = -(-length // longest)
    step = -(-length // count)
    step = step if count == 1 else min(longest, -(-step // stride) * stride)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def code_tiles(
    coder: Coder, pixels_HWC: UInt8Array, max_tile: int
) -> tuple[list[bytes], UInt8Array]:
    """Containers of an image's tiles, and the picture that they decode to."""
    decoded = np.empty_like(pixels_HWC)
    streams = []
    for box in tile_boxes(pixels_HWC, max_tile, coder.stride):
        data = encode(coder, np.ascontiguousarray(pixels_HWC[box])).data
        decoded[box] = decode(coder, data).pixels_HWC
        streams.append(data)
    return streams, decoded


def estimate_tiles(coder: Coder, pixels_HWC: UInt8Array, max_tile: int) -> float:
    """Bits per pixel that the entropy model promises for an image's tiles, without headers."""
    bits = 0.0
    for box in tile_boxes(pixels_HWC, max_tile, coder.stride):
        tile = np.ascontiguousarray(pixels_HWC[box])
        score = score_estimated(coder, Sample("tile", "tile", tile))
        bits += score.bpp * tile.shape[0] * tile.shape[1]
    return bits / (pixels_HWC.shape[0] * pixels_HWC.shape[1])


def ms_ssim_of(a_HWC: UInt8Array, b_HWC: UInt8Array) -> float | None:
    """MS-SSIM of two 8-bit images (Wang et al., 2003); None if they are too small."""
    if min(a_HWC.shape[:2]) < MS_SSIM_MIN_SIDE:
        return None
    with torch.inference_mode():
        return float(ms_ssim(_batch(a_HWC), _batch(b_HWC), PEAK))


def _batch(pixels_HWC: UInt8Array) -> Tensor:
    """(1, 3, H, W) on the 0-255 scale."""
    return torch.from_numpy(pixels_HWC.astype(np.float32)).permute(2, 0, 1)[None]


def _image_evaluation(sample: Sample, entry: Entry) -> ImageEvaluation:
    height, width = sample.pixels_HWC.shape[:2]
    numbers = entry.numbers
    return ImageEvaluation(
        name=sample.name,
        group=sample.source_image,
        bpp=8 * entry.number("num_bytes") / (height * width),
        mse=entry.number("mse"),
        estimated_bpp=numbers["estimated_bpp"],
        ms_ssim=numbers["ms_ssim"],
        lpips=numbers["lpips"],
        num_tiles=int(entry.number("num_tiles")),
    )
