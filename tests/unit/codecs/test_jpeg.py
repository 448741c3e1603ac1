"""JPEG as an anchor: whole files, the smaller one, and the better subsampling."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from interfero.codecs.jpeg import (
    JpegPoint,
    decode_jpeg,
    encode_jpeg,
    jpeg_curve,
    score_jpeg,
    upper_envelope,
)
from interfero.domains.images import Sample
from interfero.errors import CodecError


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    """Smooth colours with an edge and a little grain."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [90 + 60 * np.sin(rows / 9), 120 + 50 * np.cos(columns / 13), 60 + rows + columns / 2]
    pixels = np.stack(planes, -1)
    pixels[:, width // 2 :] -= 40
    pixels += np.random.default_rng(0).normal(0, 3, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_no_pillow_file_of_the_same_pixels_is_smaller(quality, subsampling):
    pixels = picture()
    data = encode_jpeg(pixels, quality, subsampling)
    for optimize in (True, False):
        for progressive in (True, False):
            other = saved(
                pixels,
                quality=quality,
                subsampling=subsampling,
                optimize=optimize,
                progressive=progressive,
            )
            assert len(data) <= len(other)
            assert np.array_equal(decode_jpeg(data), decode_jpeg(other))


def test_subsampling_is_what_was_asked_for():
    pixels = picture()
    assert len(encode_jpeg(pixels, 50, "4:2:0")) < len(encode_jpeg(pixels, 50, "4:4:4"))
    sampled = Image.open(io.BytesIO(encode_jpeg(pixels, 50, "4:2:0")))
    assert [layer[1:3] for layer in sampled.layer] == [(2, 2), (1, 1), (1, 1)]


def test_a_score_is_the_whole_file_over_the_pixels():
    pixels = picture(70, 90)
    score = score_jpeg(Sample("p.png", "p", pixels), 40, "4:2:0")
    data = encode_jpeg(pixels, 40, "4:2:0")
    assert score.bpp == 8 * len(data) / (70 * 90)
    difference = decode_jpeg(data).astype(float) - pixels
    assert score.mse == pytest.approx((difference**2).mean())
    assert score.name == "p.png"


def test_a_curve_is_the_mean_over_images_at_one_quality():
    samples = [Sample("a", "a", picture()), Sample("b", "b", picture(64, 64))]
    for point in jpeg_curve(samples, (10, 40, 80)):
        scores = [score_jpeg(s, point.quality, point.subsampling) for s in samples]
        assert point.bpp == pytest.approx(sum(s.bpp for s in scores) / 2)
        assert point.psnr_db == pytest.approx(sum(s.psnr_db for s in scores) / 2)


def test_a_curve_rises():
    points = jpeg_curve([Sample("a", "a", picture())])
    assert len(points) > 15
    assert all(a.bpp < b.bpp and a.psnr_db < b.psnr_db for a, b in pairwise(points))


def test_saturated_colour_edges_take_full_chroma():
    # Alternating red and blue columns: chroma at half resolution cannot hold them at any quality.
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2, 0] = 255
    pixels[:, 1::2, 2] = 255
    points = jpeg_curve([Sample("stripes", "stripes", pixels)], (20, 50, 80, 95))
    assert {p.subsampling for p in points if p.psnr_db > 25} == {"4:4:4"}


def test_one_colour_gives_a_curve():
    points = jpeg_curve([Sample("grey", "grey", np.full((64, 64, 3), 200, np.uint8))])
    assert points


def test_the_envelope_takes_each_curve_where_it_is_higher():
    low = [JpegPoint(r, p, q, "4:2:0") for q, (r, p) in enumerate([(1, 20), (2, 26), (4, 28)])]
    high = [JpegPoint(r, p, q, "4:4:4") for q, (r, p) in enumerate([(1.5, 18), (3, 26), (6, 34)])]
    chosen = upper_envelope({"4:2:0": low, "4:4:4": high})
    # At 3 bpp the 4:2:0 curve reads 26 + 2 * log2(1.5) = 27.17 dB; at 4 bpp the 4:4:4 one 29.3 dB.
    assert [(p.subsampling, p.bpp) for p in chosen] == [("4:2:0", 1), ("4:2:0", 2), ("4:4:4", 6)]


def test_the_envelope_drops_points_that_cost_more_for_less():
    curve = [JpegPoint(1, 20, 1, "4:2:0"), JpegPoint(2, 30, 2, "4:2:0")]
    beyond = [JpegPoint(3, 29, 1, "4:4:4"), JpegPoint(4, 31, 2, "4:4:4")]
    chosen = upper_envelope({"4:2:0": curve, "4:4:4": beyond})
    assert [p.psnr_db for p in chosen] == [20, 30, 31]


@pytest.mark.parametrize("quality", [0, 101])
def test_impossible_qualities_are_refused(quality):
    with pytest.raises(CodecError, match="1 to 100"):
        encode_jpeg(picture(), quality, "4:2:0")


def test_impossible_subsampling_is_refused():
    with pytest.raises(CodecError, match="subsampling"):
        encode_jpeg(picture(), 50, "4:1:1")


def test_no_images_are_refused():
    with pytest.raises(CodecError, match="needs images"):
        jpeg_curve([])
