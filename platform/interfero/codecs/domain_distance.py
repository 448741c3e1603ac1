"""How far a domain is from the source domain, measured with the source codec before adapting.

Four measures, because it is not known which one predicts interference:

- `rd_excess_percent`: how much more `bpp + lambda * mse` the source codec pays on the domain. It can be
  negative: pages of text are cheap, and far away all the same.
- `latent_bits`: Jensen-Shannon divergence of the rounded latents' histograms, the mean over channels.
- `feature_sd`: Frechet distance of block statistics, in standard deviations of the source domain: mean
  colours, and log energies of 8x8 cosine transforms by frequency and direction. It needs no codec, so
  that it is the same for every lambda, and no download; and it speaks the codec's language, for what a
  transform codec pays for is energy by frequency. Statistics of latents would be another view of
  `latent_bits`; features of a network for recognition are made to ignore what costs bits.
- `chroma_sd`: the same distance of the colours alone: mean chroma, and the log energy of its transforms. What
  is forgotten after adaptation to grey images is colour, and in `feature_sd` luma outweighs it.

All use training images alone: no test image decides what is predicted for test images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from interfero.codecs.codec import Codec
from interfero.codecs.coding import SourceCoder, mean_score, score_estimated
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, UInt8Array
from interfero.metrics.divergence import frechet_distance, jensen_shannon_bits

MAX_IMAGES = 24
"""Training images of each domain, each source image once before any twice."""
MAX_SIDE = 256
"""Pixels; a larger image is cut to its centre."""
MAX_SYMBOL = 32
"""Latents beyond count as this one."""
MAX_DESCRIPTIONS = 16
"""Number of descriptions that a process keeps, one per domain and codec: a megabyte or two."""
BLOCK = 8
LATENT_STRIDE = 16
"""Pixels a latent stands for in every architecture that can be loaded."""
_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])

_RGB_FEATURES = 14
"""Of an RGB image's blocks: mean Y, Cb and Cr, nine log energies of luma, two of chroma."""
_CHROMA = (1, 2, 12, 13)
"""Those of Cb and Cr."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DomainDistance:
    """Distance of a target domain from the source domain; all measures are 0 for the source domain itself."""

    rd_excess_percent: float
    """Excess loss in percent of the source domain's loss; may be negative."""
    latent_bits: float
    """0 to 1."""
    feature_sd: float
    """Standard deviations of the source domain, not negative."""
    chroma_sd: float | None = None
    """Standard deviations of the source domain, not negative; None for images that are not RGB."""

    @property
    def metrics(self) -> dict[str, float]:
        """The measures by MLflow name."""
        measured = asdict(self)
        return {f"distance/{name}": value for name, value in measured.items() if value is not None}


def domain_distance(codec: Codec, target: Domain, source: Domain) -> DomainDistance:
    """Measure a domain against the source domain; nothing is trained.

    Args:
        codec: The source codec at one lambda.
        target: The domain that is to be adapted to; its training images count.
        source: The codec's own domain.
    """
    return distance_between(describe(codec, target), describe(codec, source))


def distance_between(there: Description, here: Description) -> DomainDistance:
    """Measure the distance of a target domain from the source domain, both described by one codec."""
    counts = [there.counts, here.counts]
    # A channel that is zero everywhere in both tells nothing, and codecs differ in how many they have.
    alive = np.any([(c > 0).sum(axis=1) > 1 for c in counts], axis=0)
    bits = jensen_shannon_bits(*counts)
    is_rgb = there.mean.size == here.mean.size == _RGB_FEATURES
    return DomainDistance(
        rd_excess_percent=100 * (there.loss / here.loss - 1),
        latent_bits=float(bits[alive].mean()) if alive.any() else float(bits.mean()),
        feature_sd=_feature_distance(there, here, slice(None)),
        chroma_sd=_feature_distance(there, here, list(_CHROMA)) if is_rgb else None,
    )


@dataclass(frozen=True)
class Description:
    """What is kept of one domain at one codec: all that distances are measured from."""

    loss: float
    counts: FloatArray
    """(channels, symbols): how often each channel's latent rounds to each symbol."""
    mean: FloatArray
    """(features,) of the blocks."""
    covariance: FloatArray
    """(features, features) of the blocks."""
    deviation: FloatArray
    """(features,) standard deviations of the blocks, all of them being the population."""


_DESCRIPTIONS: OrderedDict[tuple[str, float, str], Description] = OrderedDict()
"""Lives as long as the process: a sweep measures all its domains against one source domain."""


def describe(codec: Codec, domain: Domain) -> Description:
    """A domain's training images as the source codec sees them."""
    key = (codec.weights_hash, codec.rd_lambda, domain.fingerprint)
    if key not in _DESCRIPTIONS:
        _DESCRIPTIONS[key] = _describe(codec, _samples(domain))
        while len(_DESCRIPTIONS) > MAX_DESCRIPTIONS:
            _DESCRIPTIONS.popitem(last=False)
    _DESCRIPTIONS.move_to_end(key)
    return _DESCRIPTIONS[key]


def _describe(codec: Codec, samples: Sequence[Sample]) -> Description:
    """Estimated losses, for a mean over images needs no bitstream, and the latents on the way."""
    coder, scores = SourceCoder(codec), []
    latents: list[Tensor] = []
    hook = codec.model.g_a.register_forward_hook(lambda *passed: latents.append(passed[-1]))
    try:
        for sample in samples:
            scores.append(score_estimated(coder, sample))
    finally:
        hook.remove()
    counts = np.zeros((codec.shape.num_latents, 2 * MAX_SYMBOL + 1))
    for sample, latent_BCHW in zip(samples, latents, strict=True):
        rows, columns = (side // LATENT_STRIDE for side in sample.pixels_HWC.shape[:2])
        # Latents of the padding belong to no image.
        inside = latent_BCHW[0, :, :rows, :columns].round().flatten(1).numpy()
        symbols = inside.clip(-MAX_SYMBOL, MAX_SYMBOL).astype(np.int64) + MAX_SYMBOL
        for channel, values in enumerate(symbols):
            counts[channel] += np.bincount(values, minlength=counts.shape[1])
    features = np.concatenate([_block_features(s.pixels_HWC) for s in samples])
    return Description(
        mean_score(scores, codec.rd_lambda)["rd_loss"],
        counts,
        features.mean(axis=0),
        np.cov(features.T),
        features.std(axis=0),
    )


def _samples(domain: Domain) -> tuple[Sample, ...]:
    return tuple(
        Sample(s.name, s.group, _centre(s.pixels_HWC)) for s in spread(domain.train, MAX_IMAGES)
    )


def _centre(pixels_HWC: UInt8Array) -> UInt8Array:
    top, left = (max(0, (side - MAX_SIDE) // 2) for side in pixels_HWC.shape[:2])
    return np.ascontiguousarray(pixels_HWC[top : top + MAX_SIDE, left : left + MAX_SIDE])


def _feature_distance(there: Description, here: Description, kept: slice | list[int]) -> float:
    """Frechet distance over some of the features, each in its standard deviation on the source domain."""
    # A feature that is constant on the source domain has no unit of its own: it keeps the pixels'.
    unit = np.where(here.deviation == 0, 1.0, here.deviation)
    units = np.outer(unit, unit)
    shift = ((there.mean - here.mean) / unit)[kept]
    spread_there, spread_here = (d.covariance / units for d in (there, here))
    return frechet_distance(
        shift, spread_there[kept][:, kept], np.zeros_like(shift), spread_here[kept][:, kept]
    )


def _block_features(pixels_HWC: UInt8Array) -> FloatArray:
    """(blocks, features) of the whole 8x8 blocks of an image."""
    # SciPy takes a third of a second to import, which most workers are spared.
    from scipy.fft import dctn

    height, width = (side // BLOCK * BLOCK for side in pixels_HWC.shape[:2])
    channels = pixels_HWC.shape[2]
    planes = pixels_HWC[:height, :width].astype(np.float64)
    # Bands that are no colours stay what they are; the first stands for luma.
    planes = planes @ _YCBCR.T if channels == 3 else planes
    blocks = planes.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    blocks = blocks.transpose(0, 2, 4, 1, 3).reshape(-1, channels, BLOCK, BLOCK)
    energy = dctn(blocks, axes=(2, 3), norm="ortho") ** 2
    colours = blocks.mean(axis=(2, 3))
    logs = [np.log2(1 + energy[:, 0][:, band].sum(axis=1)) for band in _bands()]
    logs += [
        np.log2(1 + energy[:, c].sum(axis=(1, 2)) - energy[:, c, 0, 0]) for c in range(1, channels)
    ]
    return np.column_stack([colours, *logs])


def _bands() -> Iterator[npt.NDArray[np.bool_]]:
    """(8, 8) masks: three ranges of frequency, each with the two directions and the rest between them."""
    down, across = np.indices((BLOCK, BLOCK))
    for low, high in ((1, 2), (3, 5), (6, 14)):
        inside = (down + across >= low) & (down + across <= high)
        slanted = inside & (np.minimum(down, across) * 2 >= np.maximum(down, across))
        yield inside & ~slanted & (down > across)
        yield inside & ~slanted & (across > down)
        yield slanted
