"""Every classical codec: whole files that decode, more rate for more quality, errors that help."""

import io
import sys
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from interfero.codecs.classical import CLASSICAL, Jpeg, find_classical, quality_for_rate
from interfero.codecs.classical.formats import Avif, Heif, Jpeg2000, JpegXl
from interfero.codecs.classical.rate_matching import measure
from interfero.codecs.coding import pixel_mse
from interfero.codecs.jpeg import encode_jpeg
from interfero.domains.images import Sample
from interfero.errors import BitstreamError, CodecError


def picture(height=96, width=128, seed=0):
    """Smooth colours with an edge and a little grain."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [90 + 60 * np.sin(rows / 9), 120 + 50 * np.cos(columns / 13), 60 + rows + columns / 2]
    pixels = np.stack(planes, -1)
    pixels[:, width // 2 :] -= 40
    pixels += np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


every_codec = pytest.mark.parametrize("codec", CLASSICAL.values(), ids=CLASSICAL)


def test_the_table_holds_the_six_formats_under_their_names():
    assert set(CLASSICAL) == {"jpeg", "jpeg2000", "webp", "avif", "heif", "jpegxl"}
    assert all(find_classical(name).name == name for name in CLASSICAL)
    with pytest.raises(CodecError, match="did you mean 'jpeg2000'"):
        find_classical("jpeg200")


@every_codec
def test_more_quality_is_more_rate_and_less_error(codec):
    pixels = picture()
    files = [codec.encode(pixels, quality) for quality in codec.default_qualities]
    errors = [pixel_mse(codec.decode(data), pixels) for data in files]
    assert all(a < b for a, b in pairwise(map(len, files)))
    # Adaptive quantisation may lose a hundredth of a dB from one step to the next.
    assert all(a > b for a, b in pairwise(errors[::2]))


@every_codec
@pytest.mark.parametrize("size", [(65, 67), (64, 131), (33, 30)])
def test_odd_sizes_come_back_whole(codec, size):
    pixels = picture(*size)
    decoded = codec.decode(codec.encode(pixels, codec.default_qualities[-1]))
    assert decoded.shape == pixels.shape
    assert decoded.dtype == np.uint8
    assert pixel_mse(decoded, pixels) < 60


@every_codec
def test_grey_content_stays_grey(codec):
    grey = np.repeat(picture()[..., :1], 3, axis=-1)
    decoded = codec.decode(codec.encode(grey, codec.default_qualities[-2])).astype(int)
    assert decoded.shape == grey.shape
    assert abs(decoded - decoded[..., :1]).max() <= 4


@every_codec
def test_the_ends_of_the_scale_are_lossy_and_decode(codec):
    pixels = picture()
    for quality in (codec.qualities[0], codec.qualities[-1]):
        decoded = codec.decode(codec.encode(pixels, quality))
        assert decoded.shape == pixels.shape
    with pytest.raises(CodecError, match=f"{codec.name} quality must be one of"):
        codec.encode(pixels, codec.qualities[-1] + 1)
    with pytest.raises(CodecError, match="quality must be one of"):
        codec.encode(pixels, codec.qualities[0] - 1)


@every_codec
def test_the_same_image_gives_the_same_file_without_metadata(codec):
    pixels = picture()
    data = codec.encode(pixels, codec.default_qualities[3])
    assert data == codec.encode(pixels.copy(), codec.default_qualities[3])
    with Image.open(io.BytesIO(data)) as image:
        assert not image.info.get("exif")
        # The JPEG XL decoder writes out a profile for the code of sRGB that the file holds.
        assert image.info.get("icc_profile", b"-absent-") not in data
        assert not image.info.get("xmp")


@every_codec
def test_bad_bytes_are_an_error(codec):
    data = codec.encode(picture(), codec.default_qualities[3])
    other = CLASSICAL["webp" if codec.name == "jpeg" else "jpeg"]
    for bad in (b"", b"nonsense", data[: len(data) // 8], other.encode(picture(), 50)):
        with pytest.raises(BitstreamError, match="not a whole"):
            codec.decode(bad)


@every_codec
@pytest.mark.parametrize("wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_what_is_no_rgb_image_is_refused(codec, wrong):
    with pytest.raises(CodecError, match="8-bit RGB"):
        codec.encode(wrong, codec.default_qualities[0])


@every_codec
def test_the_identity_names_quality_settings_and_library(codec):
    one, two = (codec.identity(q) for q in codec.default_qualities[:2])
    assert one != two
    assert codec.version() in one
    assert any(character.isdigit() for character in codec.version())


def test_settings_are_part_of_the_identity():
    assert Jpeg().identity(50) != Jpeg(subsampling="4:4:4").identity(50)
    assert Avif(speed=6).identity(50) != Avif(speed=4).identity(50)


def test_jpeg_is_the_anchor_of_the_source_codec_benchmark():
    pixels = picture()
    for subsampling in ("4:2:0", "4:4:4"):
        expected = encode_jpeg(pixels, 40, subsampling)
        assert Jpeg(subsampling=subsampling).encode(pixels, 40) == expected


def test_full_chroma_keeps_saturated_edges():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    for small, whole in ((Avif(subsampling="4:2:0"), Avif()), (Heif(), Heif(subsampling="4:4:4"))):
        errors = [pixel_mse(c.decode(c.encode(stripes, 80)), stripes) for c in (small, whole)]
        assert errors[1] < errors[0] / 4


def test_a_jpeg_2000_quality_is_its_rate_at_most():
    pixels = picture(256, 256)
    for quality in (50, 100, 200):
        rate = 8 * len(Jpeg2000().encode(pixels, quality)) / 256**2
        assert 0.9 * quality / 100 < rate <= quality / 100


def test_a_missing_plugin_names_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(CodecError, match=r"pillow-jxl-plugin.*-e .\.\[classical\]"):
        JpegXl().encode(picture(), 50)


@every_codec
def test_a_rate_is_matched_by_the_best_quality_at_or_under_it(codec):
    images = [Sample(f"{i}", f"{i}", picture(64, 96, seed=i)) for i in range(2)]
    low, high = (measure(codec, images, codec.default_qualities[i]).bpp for i in (1, 6))
    asked = (low * high) ** 0.5
    match = quality_for_rate(codec, images, asked)
    found = measure(codec, images, match.quality)
    assert (match.bpp, match.psnr_db) == (found.bpp, found.psnr_db)
    assert match.bpp <= asked
    assert match.error_percent == pytest.approx(100 * (match.bpp / asked - 1))
    for neighbour in (match.quality - 1, match.quality + 1):
        other = measure(codec, images, neighbour)
        assert other.bpp > asked or other.psnr_db <= match.psnr_db


def test_of_two_regimes_the_better_one_at_the_rate_is_taken():
    """A format that halves the picture below quality 8: rate falls from 7 to 8 while PSNR rises."""

    class Halving(Jpeg):
        regimes: ClassVar = {"half": range(1, 8), "whole": range(8, 101)}

        def _encode(self, pixels_HWC, quality):
            # At 7 a file as large as at 30, and as bad as at 1.
            shown = super()._encode(pixels_HWC, 1 if quality < 8 else quality)
            size = len(super()._encode(pixels_HWC, 3 * quality + 9)) if quality < 8 else len(shown)
            return shown + bytes(max(0, size - len(shown)))

    codec, images = Halving(), [Sample("a", "a", picture())]
    before, after = (measure(codec, images, quality) for quality in (7, 8))
    assert after.bpp < before.bpp
    assert after.psnr_db > before.psnr_db
    match = quality_for_rate(codec, images, (before.bpp + after.bpp) / 2)
    points = [measure(codec, images, quality) for quality in codec.qualities]
    best = max(p.psnr_db for p in points if p.bpp <= match.asked_bpp)
    assert (match.regime, match.psnr_db) == ("whole", best)


def test_jpeg_xl_says_that_it_halves_the_picture():
    images = [Sample("a", "a", picture(128, 128))]
    rate = measure(JpegXl(), images, 8).bpp
    assert quality_for_rate(JpegXl(), images, rate).regime == "half resolution"
    assert quality_for_rate(JpegXl(), images, 1.5).regime == "full resolution"


def test_a_rate_the_codec_cannot_spend_is_refused_with_its_range():
    images = [Sample("a", "a", picture())]
    with pytest.raises(CodecError, match=r"jpeg spends 0\.\d+ to \d\.\d+ bpp"):
        quality_for_rate(Jpeg(), images, 0.001)
    with pytest.raises(CodecError, match="not 40 bpp"):
        quality_for_rate(Jpeg(), images, 40)


def test_a_rate_needs_images():
    with pytest.raises(CodecError, match="got 0"):
        quality_for_rate(Jpeg(), [], 1.0)
