"""Versions as the code states them."""

import importlib.metadata
import sys

import pytest
import torch

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


def test_code_that_another_package_has_replaced_counts(tmp_path, monkeypatch):
    """`compressai-temp` 1.2.9.dev0 over CompressAI 1.2.8, both installed."""
    (tmp_path / "codeclib").mkdir()
    (tmp_path / "codeclib" / "__init__.py").write_text("raise ImportError('it is not imported')\n")
    (tmp_path / "codeclib" / "version.py").write_text('__version__ = "1.2.9.dev0"\n')
    for name, version in (("codeclib", "1.2.8"), ("codeclib_temp", "1.2.9.dev0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("codeclib") == "1.2.8"
    assert library_version("codeclib") == "1.2.9.dev0"
    assert "codeclib" not in sys.modules


def test_a_library_that_is_not_installed_has_none():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        library_version("no-such-library")
