"""Streams read by a decoder that shares nothing with ours but docs/bitstream.md."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from interfero.codecs.bitstream import parse_stream
from interfero.codecs.catalogue import BUNDLED_FOLDER, load_codec
from interfero.codecs.coding import SourceCoder, decode, encode

SCRIPT = Path(__file__).parents[2] / "numpy_decoder.py"


def run(codec, stream, folder):
    (folder / "stream").write_bytes(stream)
    command = [sys.executable, "-I", SCRIPT, codec, folder / "stream", folder / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, np.load(folder / "out.npz") if done.returncode == 0 else None


@pytest.mark.parametrize("rd_lambda", [0.0009, 0.045])
@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018-mean"])
def test_the_same_symbols_and_pictures_within_a_level(name, rd_lambda, tmp_path):
    coder = SourceCoder(load_codec(name, rd_lambda))
    pixels = np.ascontiguousarray(skimage.data.astronaut()[100:197, 150:290])
    # Black and white noise in a corner: symbols beyond the tables' ends, which are escaped.
    pixels[:40, :40] = np.random.default_rng(0).integers(0, 2, (40, 40, 1)) * 255
    coded = encode(coder, pixels)
    _, found = run(BUNDLED_FOLDER / name / f"{rd_lambda:.4f}.safetensors", coded.data, tmp_path)
    symbols = [tuple(found[k].tolist()) for k in sorted(found) if k.startswith("symbols")]
    assert tuple(symbols) == coded.symbols
    ours = decode(coder, coded.data).pixels_HWC.astype(int)
    assert found["pixels"].shape == pixels.shape
    assert np.abs(found["pixels"] - ours).max() <= 1
    assert (found["pixels"] == ours).mean() > 0.999
    assert {"torch", "compressai", "interfero"}.isdisjoint(found["modules"].tolist())


def test_it_checks_symbols_too(tmp_path):
    stream = parse_stream(
        encode(SourceCoder(load_codec("mbt2018-mean", 0.013)), np.zeros((64, 64, 3), np.uint8)).data
    )
    wrong = dataclasses.replace(stream, symbol_checksum=stream.symbol_checksum ^ 1).pack()
    done, _ = run(BUNDLED_FOLDER / "mbt2018-mean" / "0.0130.safetensors", wrong, tmp_path)
    assert "other symbols than were coded" in done.stderr
