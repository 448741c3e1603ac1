"""docs/python.md does what it says: its blocks are run as one notebook, in a folder of small images."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "python.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)


def test_every_public_name_is_used_or_named():
    import interfero

    text = DOC.read_text()
    left_out = {"Deployment", "RestorationOptions", "SweepResult"}
    assert [
        n for n in interfero.__all__ if n not in left_out and f"interfero.{n}" not in text
    ] == []


@pytest.mark.slow
def test_the_blocks_run(tmp_path, image_folder, other_image_folder):
    shutil.copytree(image_folder, tmp_path / "path/to/images")
    shutil.copytree(other_image_folder, tmp_path / "path/to/other/images")
    shutil.copy(next(image_folder.glob("*.png")), tmp_path / "picture.png")
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    # A notebook has no main module that a worker could import: everything it hands over travels by value.
    code = "\n".join(blocks()) + "\nassert result.exit_code == 0 and result.report.is_file()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bpp" in done.stdout.splitlines()[0]
    assert "0 " in done.stdout
