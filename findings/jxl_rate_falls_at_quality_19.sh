#!/usr/bin/env bash
# pillow-jxl-plugin 1.3.8 (libjxl): between quality 18 and 19 the rate falls by a quarter.
#
# Quality maps to libjxl's distance; above distance 10 (quality 18 and below) the encoder codes the picture at
# half its size and the decoder enlarges it. So rate does not always grow with quality: a bisection for "the
# highest quality whose rate is at most R" can end in the wrong regime, and curves of rate against quality have
# a step. At equal rate the two regimes differ in PSNR, and which is better depends on the picture (the halved
# one was 1 dB worse on photographs, and is better on the noise below).
#
# Output seen (a picture of 1/f noise, 256x256; bpp and PSNR in dB):
#   17 0.623 22.13
#   18 0.633 22.20
#   19 0.480 21.85
#   20 0.498 21.97
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  pillow==13.0.0 pillow-jxl-plugin==1.3.8 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import io

import numpy as np
import pillow_jxl  # noqa: F401  registers the format
from PIL import Image

SIDE = 256


def one_over_f(seed):
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((SIDE, SIDE)))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    frequency[0, 0] = 1
    noise = np.real(np.fft.ifft2(spectrum / frequency))
    return (noise - noise.mean()) / noise.std()


grey = one_over_f(0)
pixels = 128 + 45 * np.stack([grey + 0.2 * one_over_f(seed) for seed in (1, 2, 3)], axis=-1)
pixels = np.clip(pixels, 0, 255).astype(np.uint8)
bpp = {}
for quality in (17, 18, 19, 20):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JXL", quality=quality)
    bpp[quality] = 8 * len(file.getvalue()) / SIDE**2
    decoded = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"), dtype=float)
    psnr_db = 10 * np.log10(255**2 / np.mean((decoded - pixels) ** 2))
    print(quality, f"{bpp[quality]:.3f} {psnr_db:.2f}")
assert bpp[17] < bpp[18] and bpp[19] < bpp[20], "rate grows with quality inside a regime"
assert bpp[19] < 0.85 * bpp[18], "the rate no longer falls between quality 18 and 19"
PYTHON
