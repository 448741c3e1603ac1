"""What a file's pixels mean: the table of docs/domains.md, row by row, and nothing lost without a word."""

import io
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from interfero.domains.images import ImageRules, SkippedImageError, decode_image
from interfero.domains.pixel_meaning import MASKED, PAGES, upright_rgb
from interfero.errors import DomainError

RULES = ImageRules(halve_jpeg=False)
DOCS = Path(__file__).resolve().parents[3] / "docs" / "domains.md"


def noise(channels=3, seed=0, dtype=np.uint8):
    shape = (72, 80, channels) if channels > 1 else (72, 80)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def masked(mask):
    """Colours and a fourth band of 0 and 255: a mask, as real opacity is."""
    return np.dstack([noise(), np.where(mask, 255, 0).astype(np.uint8)])


def avif_with(depth):
    """An AVIF whose boxes av1C and pixi say how deep it is; Pillow itself writes 8 bits only."""
    data = bytearray(saved(Image.fromarray(noise()), "AVIF"))
    at = data.index(b"av1C") + 6
    data[at] = data[at] & ~0x60 | {8: 0, 10: 0x40, 12: 0x60}[depth]
    at = data.index(b"pixi") + 9
    data[at : at + 3] = bytes([depth] * 3)
    return bytes(data)


def jpeg2000_with(depth):
    """A JPEG 2000 codestream whose SIZ marker says how deep its first channel is."""
    data = bytearray(saved(Image.fromarray(noise()), "JPEG2000", no_jp2=True))
    data[data.index(b"\xff\x4f\xff\x51") + 42] = depth - 1
    return bytes(data)


def frames(kind, **options):
    pages = [Image.fromarray(noise(seed=i)) for i in range(4)]
    return saved(pages[0], kind, save_all=True, append_images=pages[1:], **options)


rgb = Image.fromarray(noise())
LEFT_MASK = np.arange(80)[None, :] < np.full((72, 1), 40)

ROWS = {
    "8-bit RGB": (lambda: saved(rgb, "PNG"), None),
    "8-bit grey": (lambda: saved(rgb.convert("L"), "PNG"), "grey converted to RGB"),
    "grey of 1, 2 or 4 bits": (lambda: saved(rgb.convert("1"), "PNG"), "grey converted to RGB"),
    "palette": (lambda: saved(rgb.convert("P"), "PNG"), "palette converted to RGB"),
    "opacity of PNG, WebP, GIF": (
        lambda: saved(Image.fromarray(noise(4)), "PNG"), "transparency laid on white"),
    "TIFF with a mask as opacity": (
        lambda: tiff(masked(LEFT_MASK), photometric="rgb", extrasamples=["unassalpha"]),
        "transparency laid on white"),
    "TIFF whose opacity is neither 0 nor 255": (
        lambda: tiff(noise(4), photometric="rgb", extrasamples=["unassalpha"]),
        DomainError("calls its last band opacity")),
    "TIFF with a band of no stated meaning": (
        lambda: tiff(noise(4), photometric="rgb", extrasamples=["unspecified"]),
        DomainError("has 4 bands, of which the file calls 3 colour and says nothing of band 4")),
    "TIFF of two bands": (
        lambda: tiff(noise(2), photometric="minisblack", extrasamples=["unspecified"]),
        DomainError("has 2 bands, of which the file calls 1 grey")),
    "signed numbers": (lambda: tiff(noise(1, dtype=np.int8)), DomainError("holds signed numbers")),
    "16 bits per channel": (
        lambda: tiff(noise(3, dtype=np.uint16), photometric="rgb"),
        DomainError(r"more than 8 bits a channel \(16 bits")),
    "floating point": (
        lambda: tiff(noise(1, dtype=np.float32)),
        DomainError(r"more than 8 bits a channel \(32 bits")),
    "10-bit and 12-bit AVIF": (
        lambda: avif_with(10), DomainError(r"more than 8 bits a channel \(10 bits")),
    "12-bit JPEG 2000": (
        lambda: jpeg2000_with(12), DomainError(r"more than 8 bits a channel \(12 bits")),
    "CMYK, LAB": (lambda: saved(rgb.convert("CMYK"), "JPEG"), DomainError("is CMYK")),
    "TIFF with a mask page": (lambda: mask_paged(), MASKED),
    "several pages": (lambda: frames("TIFF"), PAGES),
    "several frames": (lambda: frames("GIF"), PAGES),
    "a preview before its page": (
        lambda: previewed(), DomainError("begins with a preview of another page")),
}  # fmt: skip


def mask_paged():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as out:
        out.write(noise(), photometric="rgb")
        out.write(LEFT_MASK, photometric="mask", subfiletype=4)
    return buffer.getvalue()


def previewed():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as out:
        out.write(noise(), photometric="rgb", subfiletype=1)
        out.write(noise(), photometric="rgb")
    return buffer.getvalue()


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_table_is_taken_with_its_line_or_refused(row):
    make, expected = ROWS[row]
    counts = Counter()
    if isinstance(expected, DomainError):
        with pytest.raises(DomainError, match=f"field/a.x .*{expected}"):
            decode_image(make(), "field/a.x", RULES, counts)
        return
    assert decode_image(make(), "a", RULES, counts).shape == (72, 80, 3)
    assert counts[expected] == (3 if expected == PAGES else 1) if expected else not counts


def test_the_documents_have_the_rows_of_this_table_and_no_others():
    text = DOCS.read_text()
    table = text[text.index("| pixels |") :].split("\n\n")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == list(ROWS)


def test_headers_that_say_8_bits_are_taken():
    assert decode_image(avif_with(8), "a", RULES, Counter()).shape == (72, 80, 3)
    assert decode_image(jpeg2000_with(8), "a", RULES, Counter()).shape == (72, 80, 3)


def test_opaque_pictures_with_an_opacity_band_keep_every_colour():
    counts = Counter()
    data = tiff(masked(np.ones((72, 80))), photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(decode_image(data, "a", RULES, counts), noise())
    assert counts == {"RGBA converted to RGB": 1}


def test_overviews_of_a_tiff_are_no_pages():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as out:
        out.write(noise(), photometric="rgb")
        out.write(noise()[::2, ::2], photometric="rgb", subfiletype=1)
    counts = Counter()
    decode_image(buffer.getvalue(), "a", RULES, counts)
    assert not counts


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(rgb, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    turned = upright_rgb(Image.open(io.BytesIO(data)), "a", Counter())
    assert np.array_equal(np.asarray(turned), np.asarray(expected))


def with_exif(tags):
    jpeg = saved(rgb, "JPEG")
    block = b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(tags)) + b"".join(tags) + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def test_a_tag_of_a_wrong_type_does_not_keep_a_picture_from_being_turned():
    turned = struct.pack("<HHLL", 0x0112, 3, 1, 6)
    ill_typed = struct.pack("<HHLL", 0x0128, 1, 1, 2)
    pixels = decode_image(with_exif([turned, ill_typed]), "a.jpg", RULES, Counter())
    assert pixels.shape == (80, 72, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_data_end_in_a_picture_or_a_skip():
    random = np.random.default_rng(3)
    whole = with_exif([struct.pack("<HHLL", 0x0112, 3, 1, 6)] * 4)
    for _ in range(200):
        data = bytearray(whole)
        for at in random.integers(2, 70, 3):
            data[int(at)] = int(random.integers(256))
        try:
            decode_image(bytes(data), "a.jpg", RULES, Counter())
        except SkippedImageError as error:
            assert str(error).startswith("a.jpg")  # noqa: PT017
