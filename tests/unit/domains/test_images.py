"""Decoding: conversions are counted, deep and CMYK images refused by name."""

import io
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from interfero.domains.images import ImageRules, SkippedImageError, decode_image, decoded_bytes
from interfero.errors import DomainError

RULES = ImageRules()


def noise(height=80, width=96, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def deep_png(colour_type):
    """A 16-bit PNG: colour type 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA (Pillow writes only 0)."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    rows = b"".join(b"\0" + bytes(range(80)) * 2 * channels for _ in range(80))

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 80, 80, 16, colour_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))  # fmt: skip


def test_rgb_png_comes_back_unchanged():
    pixels, counts = noise(), Counter()
    decoded = decode_image(encoded(Image.fromarray(pixels)), "a", RULES, counts)
    assert np.array_equal(decoded, pixels)
    assert not counts


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("L", "grey converted to RGB"),
        ("1", "grey converted to RGB"),
        ("LA", "grey converted to RGB"),
        ("P", "palette converted to RGB"),
        ("RGBA", "RGBA converted to RGB"),
    ],
)
def test_conversions_are_counted_once_an_image(mode, line):
    counts = Counter()
    data = encoded(Image.fromarray(noise()).convert(mode))
    for _ in range(3):
        assert decode_image(data, "a", RULES, counts).shape == (80, 96, 3)
    assert counts == {line: 3}


def test_grey_keeps_its_values():
    grey = noise(channels=1)
    pixels = decode_image(encoded(Image.fromarray(grey)), "a", RULES, Counter())
    assert all(np.array_equal(pixels[..., c], grey) for c in range(3))


def test_transparency_lies_on_white():
    rgba = Image.new("RGBA", (80, 80), (10, 20, 30, 0))
    assert (decode_image(encoded(rgba), "a", RULES, Counter()) == 255).all()
    half = Image.new("RGBA", (80, 80), (0, 0, 0, 51))
    assert (decode_image(encoded(half), "a", RULES, Counter()) == 204).all()


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_16_bit_png_is_refused_by_name(colour_type):
    with pytest.raises(DomainError, match=r"deep\.png has more than 8 bits"):
        decode_image(deep_png(colour_type), "deep.png", RULES, Counter())


@pytest.mark.parametrize(("magic", "samples"), [(b"P5", 1), (b"P6", 3)])
def test_16_bit_ppm_is_refused_by_name_and_8_bit_is_not(magic, samples):
    deep = magic + b"\n80 80\n65535\n" + bytes(80 * 80 * samples * 2)
    with pytest.raises(DomainError, match=r"deep\.ppm has more than 8 bits"):
        decode_image(deep, "deep.ppm", RULES, Counter())
    flat = magic + b"\n80 80\n255\n" + bytes(80 * 80 * samples)
    assert decode_image(flat, "a.ppm", RULES, Counter()).shape == (80, 80, 3)


def test_16_bit_tiff_is_refused_by_name():
    deep = Image.fromarray(np.zeros((80, 80), dtype=np.uint16))
    with pytest.raises(DomainError, match=r"deep\.tif has more than 8 bits"):
        decode_image(encoded(deep, "TIFF"), "deep.tif", RULES, Counter())


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_refused_by_name(kind):
    data = encoded(Image.fromarray(noise()).convert("CMYK"), kind)
    with pytest.raises(DomainError, match=r"print\.x is CMYK: convert it"):
        decode_image(data, "print.x", RULES, Counter())


def test_8_bit_tiff_is_taken():
    pixels = noise()
    data = encoded(Image.fromarray(pixels), "TIFF")
    assert np.array_equal(decode_image(data, "a.tif", RULES, Counter()), pixels)


@pytest.mark.parametrize(
    ("size", "shape", "halved"),
    [((200, 140), (70, 100, 3), 1), ((129, 128), (64, 64, 3), 1), ((200, 127), (127, 200, 3), 0)],
)
def test_a_jpeg_is_halved_where_its_shorter_side_allows(size, shape, halved):
    counts = Counter()
    data = encoded(Image.new("RGB", size, (200, 100, 50)), "JPEG", quality=95)
    assert decode_image(data, "a.jpg", RULES, counts).shape == shape
    assert counts["JPEG halved"] == halved
    whole = decode_image(data, "a.jpg", ImageRules(halve_jpeg=False), Counter())
    assert whole.shape == (size[1], size[0], 3)


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (120, 90)), "JPEG", exif=exif)
    assert decode_image(data, "a.jpg", RULES, Counter()).shape == (120, 90, 3)


def test_large_images_are_cut_to_their_centre():
    pixels, counts = noise(100, 300), Counter()
    rules = ImageRules(max_side=120)
    cut = decode_image(encoded(Image.fromarray(pixels)), "a", rules, counts)
    assert np.array_equal(cut, pixels[:, 90:210])
    assert counts == {"cropped to 120 pixels a side": 1}


@pytest.mark.parametrize("data", [b"", b"no image", encoded(Image.fromarray(noise()))[:900]])
def test_corrupt_images_are_skipped_by_name(data):
    with pytest.raises(SkippedImageError, match=r"bad\.png: cannot be read"):
        decode_image(data, "bad.png", RULES, Counter())


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_damaged_bytes_are_read_skipped_or_refused_and_nothing_else(kind):
    whole = encoded(Image.fromarray(noise()), kind)
    random = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole[: int(random.integers(1, len(whole)))])
        data[int(random.integers(min(len(data), 200)))] = int(random.integers(256))
        try:
            decode_image(bytes(data), "a", RULES, Counter())
        except (SkippedImageError, DomainError) as error:
            assert str(error).startswith("a")  # noqa: PT017


def test_tiny_images_are_skipped_with_their_size():
    data = encoded(Image.new("RGB", (63, 200)))
    with pytest.raises(SkippedImageError, match="63x200 is under 64 pixels"):
        decode_image(data, "a", RULES, Counter())
    assert decode_image(encoded(Image.new("RGB", (64, 64))), "a", RULES, Counter()).shape


def test_a_jpeg_with_a_second_picture_as_cameras_write_it_is_halved_too():
    picture, preview = (Image.new("RGB", size, (200, 100, 50)) for size in ((200, 140), (80, 56)))
    data = encoded(picture, "MPO", save_all=True, append_images=[preview])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    counts = Counter()
    assert decode_image(data, "a.jpg", RULES, counts).shape == (70, 100, 3)
    assert counts["JPEG halved"] == 1
    assert decoded_bytes(data, RULES) == 70 * 100 * 3
