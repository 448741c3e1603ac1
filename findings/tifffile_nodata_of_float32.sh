#!/usr/bin/env bash
# tifffile 2026.3.3: of a float32 GeoTIFF whose GDAL_NODATA is the lowest float32, `page.nodata` is 0.
#
# -3.4028234663852886e+38 is what ArcGIS and GDAL's tools write by default where a raster has no value (a DEM at sea,
# say). tifffile asks whether `numpy.min_scalar_type(value)` can be cast to float32; NumPy calls everything beyond
# 3.4e38 float64, though float32 holds it exactly. The number is then replaced by 0, with a line in the log only. So
# `array == page.nodata` masks the true zeros (sea level) and keeps -3.4e38 as heights. -9999 is read as it is.
# rasterio reads both files right. Take the text of tag 42113 instead of `page.nodata`.
#
# Output seen:
#   nodata -9999.0: tifffile -9999.0, masked right True
#   nodata -3.4028234663852886e+38: tifffile 0, masked right False
#   -3.4028234663852886e+38: pixels without a value that are kept 16, zeros that are masked 8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  tifffile==2026.3.3 rasterio==1.4.4 numpy==2.4.6
cd "$folder"
env/bin/python -W ignore - <<'PYTHON' 2> log
import numpy as np
import rasterio
import tifffile

LOWEST = float(np.finfo(np.float32).min)
for nodata in (-9999.0, LOWEST):
    heights = np.full((64, 64), 5, np.float32)
    heights[0, :8] = 0  # sea level
    heights[1, :16] = nodata
    with rasterio.open(
        "a.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="float32", nodata=nodata
    ) as file:
        file.write(heights, 1)
    with rasterio.open("a.tif") as file:
        missing = file.read_masks(1) == 0
    assert np.array_equal(missing, heights == np.float32(nodata)) and missing.sum() == 16
    with tifffile.TiffFile("a.tif") as file:
        page = file.pages[0]
        array, told, text = page.asarray(), page.nodata, page.tags[42113].value
    assert np.array_equal(array, heights)
    assert np.float32(float(text)) == np.float32(nodata), "the text of the tag is right"
    right = np.array_equal(array == told, missing)
    print(f"nodata {nodata}: tifffile {told}, masked right {right}")
    assert (told, right) == ((nodata, True) if nodata == -9999 else (0, False))
kept, lost = int((missing & (array != told)).sum()), int((~missing & (array == told)).sum())
print(f"{nodata}: pixels without a value that are kept {kept}, zeros that are masked {lost}")
assert (kept, lost) == (16, 8)
PYTHON
