"""One image and one codec give the same bytes and pixels in any process, with any number of threads."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import torch

from interfero.adaptation.deployment import Deployment

SCRIPT = """
import hashlib, sys
import torch
import test_image
from interfero.adaptation.deployment import Deployment
deployment = Deployment.load("mbt2018-mean", 0.013)
for threads in map(int, sys.argv[1:]):
    torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads
    data = deployment.encode(test_image.IMAGE)
    print(data.hex(), hashlib.sha256(deployment.decode(data).tobytes()).hexdigest())
"""
IMAGE = """
import numpy as np
Y, X = np.mgrid[0:150, 0:200]
IMAGE = np.stack([X + Y // 3, 128 + 90 * np.sin(X * Y / 500), 255 - Y], axis=-1).astype(np.uint8)
"""


def test_another_process_gives_the_same_bytes_and_pixels(tmp_path):
    (tmp_path / "test_image.py").write_text(IMAGE)
    names = {}
    exec(IMAGE, names)
    deployment = Deployment.load("mbt2018-mean", 0.013)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = deployment.encode(names["IMAGE"])
        pixels = deployment.decode(data)
    finally:
        torch.set_num_threads(before)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": paths}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, "2", "1"]
    out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    ours = [data.hex(), hashlib.sha256(pixels.tobytes()).hexdigest()]
    assert [line.split() for line in out.splitlines()] == [ours, ours]
    # The picture is coded, not flattened: otherwise any two streams would agree.
    assert len(data) > 500
    assert np.abs(pixels.astype(int) - names["IMAGE"]).mean() < 20
