"""A small part of `benchmarks/portability.py`: coded here, decoded by other instruction sets and layouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interfero.adaptation import METHODS
from interfero.domains.catalogue import load_domain

ROOT = Path(__file__).resolve().parents[2]
CHILD = ROOT / "benchmarks" / "_portability_child.py"
SETTINGS: dict[str, tuple[dict[str, str], tuple[object, ...]]] = {
    "SSE41": (
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
        (2, 3, "channels_last"),
    ),
    "AVX2": ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, (1, 1, "contiguous")),
}
NUM_IMAGES = 3
DETACHING = [name for name, method in METHODS.items() if method.detaches]


def call(environment: dict[str, str], *arguments: object) -> None:
    command = [sys.executable, "-W", "ignore", CHILD, *map(str, arguments)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    images = [s.pixels_HWC[:128, :128] for s in load_domain("photos").test[:NUM_IMAGES]]
    np.savez(folder / "images.npz", images=np.stack(images))
    job: dict[str, Any] = {"source": "mbt2018-mean", "rd_lambda": 0.013, "exact": True}
    jobs = [job | {"method": name} for name in (None, *DETACHING)]
    jobs.append(job | {"source": "bmshj2018-factorized", "method": None})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    call({}, "encode", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_symbol_is_the_same_on_another_setting(coded: Path, setting: str) -> None:
    environment, how = SETTINGS[setting]
    out = coded / f"{setting}.json"
    call(environment, "decode", coded, out, *how)
    results = json.loads(out.read_text())["jobs"]
    assert len(results) == len(DETACHING) + 2
    for name, result in results.items():
        assert result["images"] == NUM_IMAGES, name
        assert (result["broken"], result["refused"], result["apart"]) == (0, 0, 0), name
    # The settings differ: somewhere a pixel is a level off.
    assert setting != "SSE41" or any(result["levels"] for result in results.values())
