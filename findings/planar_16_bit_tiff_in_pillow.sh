#!/usr/bin/env bash
# Pillow 13.0.0 reads a band-interleaved 16-bit RGB TIFF (as rasterio 1.4.4 and tifffile 2026.3.3 write it)
# as an 8-bit picture of the wrong bytes, without an error or a warning.
#
# interleave=pixel: mode RGB, every value is the high byte (narrowed without a message, but the right picture).
# interleave=band ("planar"): mode RGB, and each plane is the first half of the file's bytes of that band,
# low and high bytes alternating: noise of the right size. Both files are valid: rasterio and tifffile read
# them completely. A training set of such tiles is garbage, and nothing in the loader fails. Check BitsPerSample
# (tag 258) before using Pillow's pixels, or read with rasterio or tifffile.
#
# Output seen:
#   rasterio pixel RGB uint8: high bytes True, raw bytes of the plane False
#   rasterio band RGB uint8: high bytes False, raw bytes of the plane True
#   tifffile contig RGB uint8: high bytes True, raw bytes of the plane False
#   tifffile separate RGB uint8: high bytes False, raw bytes of the plane True
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
from PIL import Image

rows, columns = np.mgrid[0:64, 0:64]
bands = np.stack([columns * 64, rows * 64, (rows + columns) * 32]).astype("<u2")  # 12 bits used


def with_rasterio(interleave):
    with rasterio.open(
        "a.tif", "w", driver="GTiff", width=64, height=64, count=3, dtype="uint16",
        photometric="RGB", interleave=interleave,
    ) as file:  # fmt: skip
        file.write(bands)


def with_tifffile(config):
    pixels = bands if config == "separate" else np.ascontiguousarray(bands.transpose(1, 2, 0))
    tifffile.imwrite("a.tif", pixels, photometric="rgb", planarconfig=config)


for name, write, layout, planar in (
    ("rasterio", with_rasterio, "pixel", False),
    ("rasterio", with_rasterio, "band", True),
    ("tifffile", with_tifffile, "contig", False),
    ("tifffile", with_tifffile, "separate", True),
):
    write(layout)
    with rasterio.open("a.tif") as file:
        assert np.array_equal(file.read(), bands)
    image = Image.open("a.tif")
    pixels = np.asarray(image)
    high = np.array_equal(pixels, (bands >> 8).astype(np.uint8).transpose(1, 2, 0))
    raw = all(
        np.array_equal(pixels[..., i].ravel(), np.frombuffer(bands[i].tobytes(), np.uint8)[: 64 * 64])
        for i in range(3)
    )
    print(f"{name} {layout} {image.mode} {pixels.dtype}: high bytes {high}, raw bytes of the plane {raw}")
    assert (image.mode, high, raw) == ("RGB", not planar, planar)
PYTHON
