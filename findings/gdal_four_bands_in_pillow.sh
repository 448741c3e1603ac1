#!/usr/bin/env bash
# rasterio 1.4.4 (GDAL 3.10.3) writes, Pillow 13.0.0 reads: a tag decides what happens to the fourth band.
#
# Four 8-bit bands (red, green, blue, near infrared) as a GeoTIFF:
#   GDAL's defaults                        -> Pillow: RGBA, near infrared is opacity
#   photometric=RGB                        -> Pillow: RGB, near infrared is dropped without a warning
#   photometric=RGB, interleave=band       -> Pillow: cannot identify image file
#   photometric=MINISBLACK                 -> Pillow: cannot identify image file
# Two bands are read as grey (L); the second is dropped without a warning. The values that are read are right.
# So a loader that continues with `convert("RGB")` blends satellite images over black or white, or loses a
# band, without any message. rasterio and tifffile read all six files completely.
#
# Output seen:
#   4 bands {} RGBA
#   4 bands {'photometric': 'RGB'} RGB
#   4 bands {'photometric': 'RGB', 'interleave': 'band'} UnidentifiedImageError
#   4 bands {'photometric': 'MINISBLACK'} UnidentifiedImageError
#   2 bands {} L
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  rasterio==1.4.4 pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cd "$folder"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np
import rasterio
import tifffile
from PIL import Image, UnidentifiedImageError

bands = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)
expected = [
    (4, {}, "RGBA"),
    (4, {"photometric": "RGB"}, "RGB"),
    (4, {"photometric": "RGB", "interleave": "band"}, "UnidentifiedImageError"),
    (4, {"photometric": "MINISBLACK"}, "UnidentifiedImageError"),
    (2, {}, "L"),
]
for count, options, mode in expected:
    with rasterio.open(
        "a.tif", "w", driver="GTiff", width=64, height=64, count=count, dtype="uint8", **options
    ) as file:
        file.write(bands[:count])
    with rasterio.open("a.tif") as file:
        assert np.array_equal(file.read(), bands[:count])
    assert tifffile.imread("a.tif").size == bands[:count].size
    try:
        image = Image.open("a.tif")
        seen = image.mode
        pixels = np.atleast_3d(np.asarray(image))
        assert all(np.array_equal(pixels[..., i], bands[i]) for i in range(pixels.shape[2]))
    except UnidentifiedImageError as error:
        seen = type(error).__name__
    print(count, "bands", options, seen)
    assert seen == mode, f"expected {mode}"
PYTHON
