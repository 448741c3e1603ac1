#!/usr/bin/env bash
# astropy 7.2.3: BLANK of an unsigned FITS image is dropped: pixels without a value become 65535.
#
# FITS has signed integers only: unsigned ones are stored with BZERO = 32768, and BLANK is the stored number of pixels
# without a value (FITS standard 4.0, 4.4.2.4: it is compared before BSCALE and BZERO are applied). For every other
# integer image astropy makes NaN of such pixels, and with `uint=False` for this one too. By default (`uint=True`) it
# returns uint16, without a warning, in which they pass for the brightest pixels: saturated stars, to a mean or a stretch.
#
# Output seen:
#   int16, BLANK: float32, 64 NaN
#   uint16, BLANK: uint16, 0 NaN, 64 pixels of 65535, 0 warnings
#   uint16, BLANK, uint=False: float32, 64 NaN
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check astropy==7.2.3 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import warnings

import numpy as np
from astropy.io import fits


def seen(kind, **options):
    values = np.full((64, 64), 1000, kind)
    values[0] = np.iinfo(kind).max  # stored as 32767 in both files
    unit = fits.PrimaryHDU(values)
    unit.header["BLANK"] = 32767
    unit.writeto("a.fits", overwrite=True)
    with open("a.fits", "rb") as file:
        stored = np.frombuffer(file.read()[2880 : 2880 + 2 * 64 * 64], ">i2")
    assert (stored[:64] == 32767).all() and (stored[64:] != 32767).all()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open("a.fits", **options) as file:
            data = np.array(file[0].data)
    return data, len(caught)


signed, _ = seen(np.int16)
print(f"int16, BLANK: {signed.dtype.name}, {np.isnan(signed).sum()} NaN")
unsigned, said = seen(np.uint16)
print(
    f"uint16, BLANK: {unsigned.dtype.name}, {np.isnan(unsigned).sum()} NaN, "
    f"{(unsigned == 65535).sum()} pixels of 65535, {said} warnings"
)
floating, _ = seen(np.uint16, uint=False)
print(f"uint16, BLANK, uint=False: {floating.dtype.name}, {np.isnan(floating).sum()} NaN")
assert np.isnan(signed).sum() == np.isnan(floating).sum() == 64
assert unsigned.dtype == np.uint16 and (unsigned == 65535).sum() == 64 and said == 0
PYTHON
