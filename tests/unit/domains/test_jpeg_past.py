"""Files with a known past: JPEG files are recognised after they were decoded, other pictures are not."""

import io

import numpy as np
import pytest
from PIL import Image

from interfero.domains.catalogue import load_domain
from interfero.domains.images import Sample
from interfero.domains.jpeg_past import jpeg_note, jpeg_past


@pytest.fixture(scope="module")
def pictures():
    return [sample.pixels_HWC for sample in load_domain("photos").train[:12]]


def through(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("quality", [30, 50, 75, 84])
@pytest.mark.parametrize("offset", [(0, 0), (3, 5)], ids=["aligned", "cropped"])
def test_jpeg_files_are_recognised_with_their_quality(pictures, quality, offset):
    down, right = offset
    old = [through(p, "JPEG", quality=quality)[down:, right:] for p in pictures]
    found = [past for past in map(jpeg_past, old) if past is not None]
    assert len(found) >= 0.75 * len(pictures)
    assert abs(np.median([past.quality for past in found]) - quality) <= 5


@pytest.mark.parametrize("other", ["never", "webp", "jpeg2000", "halved"])
def test_other_pictures_are_not(pictures, other):
    make = {
        "never": lambda p: p,
        "webp": lambda p: through(p, "WEBP", quality=60),
        "jpeg2000": lambda p: through(p, "JPEG2000", quality_layers=[20]),
        "halved": lambda p: np.asarray(Image.fromarray(through(p, "JPEG", quality=60)).reduce(2)),
    }[other]
    assert [jpeg_past(make(p)) for p in pictures] == [None] * len(pictures)


def test_flat_and_tiny_pictures_say_nothing():
    assert jpeg_past(np.zeros((64, 64, 3), dtype=np.uint8)) is None
    assert jpeg_past(np.full((9, 9, 3), 7, dtype=np.uint8)) is None


def test_a_folder_of_pngs_that_were_jpegs_says_so(pictures, tmp_path):
    for i, pixels in enumerate(pictures):
        Image.fromarray(through(pixels, "JPEG", quality=60)).save(tmp_path / f"{i}p.png")
    (line,) = load_domain(f"d={tmp_path}").notes
    assert "of 8 images looked at were JPEG files of quality about" in line


def test_the_line_gives_the_share_and_the_remedy(pictures):
    old = [through(p, "JPEG", quality=75) if i < 6 else p for i, p in enumerate(pictures)]
    line = jpeg_note([Sample(f"{i}", f"{i}", p) for i, p in enumerate(old)])
    assert "of 8 images looked at were JPEG files of quality about 7" in line
    assert "halve their sides, or leave such qualities out" in line
    assert jpeg_note([Sample("a", "a", pictures[0])]) == ""
