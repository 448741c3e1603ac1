"""Whether a codec that somebody brings was read rightly: its rate and PSNR on real images, next to JPEG's."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.codecs.codec import Codec
from interfero.codecs.coding import SourceCoder, mean_score, score_coded
from interfero.codecs.jpeg import jpeg_curve, jpeg_psnr_at, least_of_jpeg
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample

FIDELITY_IMAGES = 8
"""Test images that are coded: enough to tell a codec from noise, in seconds."""


def fidelity_line(codec: Codec, domain: Domain, max_images: int = FIDELITY_IMAGES) -> str:
    """Mean rate and PSNR of a codec on test images of its source domain, which are really coded.

    Args:
        codec: The codec.
        domain: Of images with as many channels as it codes.
        max_images: Test images at most.
    """
    samples = spread(domain.test, max_images)
    coder = SourceCoder(codec)
    mean = mean_score([score_coded(coder, sample) for sample in samples], codec.rd_lambda)
    return (
        f"fidelity on {domain.name}, {len(samples)} test {domain.unit}: {mean['bpp']:.4f} bpp, "
        f"{mean['psnr_db']:.2f} dB; {_next_to_jpeg(samples, mean['bpp'], mean['psnr_db'])}"
    )


def _next_to_jpeg(samples: Sequence[Sample], rate_bpp: float, own_psnr_db: float) -> str:
    channels = samples[0].pixels_HWC.shape[2]
    if channels != 3:
        return f"JPEG codes 3 channels, these have {channels}"
    curve = jpeg_curve(samples)
    there = jpeg_psnr_at(curve, rate_bpp)
    if there is None:
        return f"JPEG has no such rate (its smallest files: {least_of_jpeg(curve)} bpp)"
    return f"JPEG at that rate {there:.2f} dB ({own_psnr_db - there:+.2f} dB)"
