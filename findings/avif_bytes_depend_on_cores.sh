#!/usr/bin/env bash
# Pillow 13.0.0's AVIF encoder (libavif with its default codec): the file depends on the number of cores.
#
# `max_threads` defaults to the number of CPUs, and one thread writes different bytes, of a different length,
# than two or more threads. So a rate measured on a machine with one core (or in a container limited to one)
# differs from the rate of the same call on a laptop, by about 0.05 % in the output below. For files that are the
# same on every machine, pass max_threads=1.
#
# Output seen (1/f noise of 1024x1024, quality 50):
#   threads 1: 59261 bytes
#   threads 2: 59233 bytes
#   threads 4: 59233 bytes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cd "$folder"
env/bin/python - <<'PYTHON'
import io

import numpy as np
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
image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((1024, 1024))
files = {}
for threads in (1, 2, 4):
    file = io.BytesIO()
    image.save(file, "AVIF", quality=50, max_threads=threads)
    files[threads] = file.getvalue()
    print(f"threads {threads}: {len(files[threads])} bytes")
assert files[2] == files[4]
assert files[1] != files[2] and len(files[1]) != len(files[2]), "the number of threads no longer matters"
PYTHON
