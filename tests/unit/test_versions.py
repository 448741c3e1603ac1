"""Versions as the code states them."""

import ast
import importlib.metadata
import os
import subprocess
import sys

import pytest
import ray.cloudpickle
import torch

from interfero import versions
from interfero.engine import ray_probe
from interfero.versions import library_version


@pytest.mark.parametrize(
    "name",
    ["torch", "compressai", "numpy", "ray", "timm", "torchmetrics", "segmentation-models-pytorch"],
)
def test_where_code_and_metadata_agree_it_is_that_of_the_metadata(name):
    """Keys of stored cells hold it: the label of a build, which the code alone has, is left out."""
    assert library_version(name) == importlib.metadata.version(name)


def test_a_label_of_a_build_is_no_other_version():
    assert torch.__version__.startswith(library_version("torch"))


@pytest.fixture
def overwritten_library(tmp_path):
    """As `compressai-temp` 1.2.9.dev0 over CompressAI 1.2.8, both installed."""
    (tmp_path / "codeclib").mkdir()
    (tmp_path / "codeclib" / "__init__.py").write_text("raise ImportError('it is not imported')\n")
    (tmp_path / "codeclib" / "version.py").write_text('__version__ = "1.2.9.dev0"\n')
    for name, version in (("codeclib", "1.2.8"), ("codeclib_temp", "1.2.9.dev0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    return tmp_path


def test_code_that_another_package_has_replaced_counts(overwritten_library, monkeypatch):
    monkeypatch.syspath_prepend(overwritten_library)
    assert importlib.metadata.version("codeclib") == "1.2.8"
    assert library_version("codeclib") == "1.2.9.dev0"
    assert "codeclib" not in sys.modules


def test_the_probe_of_a_node_reads_the_code_that_runs_there_and_needs_nothing_of_ours(
    overwritten_library,
):
    question = """
import pickle, sys
import ray.cloudpickle
sys.modules["interfero"] = None
look, version_of = pickle.loads(sys.stdin.buffer.read())
print(look(("codeclib", "no-such-library"), "/", version_of))
"""
    ray.cloudpickle.register_pickle_by_value(versions)
    ray.cloudpickle.register_pickle_by_value(ray_probe)
    try:
        sent = ray.cloudpickle.dumps((ray_probe._look, versions.library_version.__wrapped__))
    finally:
        ray.cloudpickle.unregister_pickle_by_value(versions)
        ray.cloudpickle.unregister_pickle_by_value(ray_probe)
    done = subprocess.run(
        [sys.executable, "-c", question], input=sent, capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": str(overwritten_library)},
    )  # fmt: skip
    found = ast.literal_eval(done.stdout.decode())
    assert found["versions"] == {"codeclib": "1.2.9.dev0", "no-such-library": "missing"}


def test_a_library_that_is_not_installed_has_none():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        library_version("no-such-library")
