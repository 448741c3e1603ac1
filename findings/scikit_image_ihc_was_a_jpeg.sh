#!/usr/bin/env bash
# scikit-image 0.26.0: `data.immunohistochemistry()`, a PNG, was cut out of a JPEG, not aligned with its grid.
#
# A JPEG leaves steps at every eighth row and column. The mean absolute second difference of luma, by position
# modulo 8, shows them: 1.2 to 1.4 times the mean at two neighbouring positions, in rows and in columns. The
# grid of immunohistochemistry() does not start at the corner (columns 3 and 4, rows 1 and 2), so an examination of
# the 8x8 blocks of the file misses it. retina(), which is a JPEG file, shows the same steps; coffee() and chelsea() show
# none (at most 1.02). A comparison of codecs on this sample gives JPEG near its old quality an advantage: the
# image already contains its losses.
#
# Output seen (largest of eight positions, columns and rows):
#   immunohistochemistry 1.25 1.35
#   retina 1.36 1.27
#   coffee 1.01 1.01
#   chelsea 1.01 1.02
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==1.26.4
cd "$folder"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np
from skimage import data


def steps(luma, axis):
    second = np.abs(np.diff(luma, 2, axis=axis)).mean(axis=1 - axis)
    by_position = np.array([second[i::8].mean() for i in range(8)])
    return by_position.max() / by_position.mean()


for name, was_jpeg in (
    ("immunohistochemistry", True),
    ("retina", True),
    ("coffee", False),
    ("chelsea", False),
):
    luma = getattr(data, name)()[..., :3] @ np.array([0.299, 0.587, 0.114])
    columns, rows = steps(luma, 1), steps(luma, 0)
    print(name, f"{columns:.2f} {rows:.2f}")
    assert (min(columns, rows) > 1.2) == was_jpeg
    assert (max(columns, rows) < 1.05) == (not was_jpeg)
PYTHON
