"""A restoration sweep on nodes that have neither the driver's images nor its codecs nor its weight files."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch

from interfero.domains.labelled_file import labelled_blocks, read_labelled_file
from interfero.engine.restoration.plan import segmentation_config
from interfero.engine.worker import Shippable
from interfero.errors import CodecError, ConfigError, DomainError
from interfero.store.content import CACHE_VARIABLE
from trainables.runner import Runner
from trainables.segmentation import build_segmenter

from .conftest import Local, options, plan_of


@pytest.fixture
def files(tmp_path, tiny_codec_file):
    """A codec file and encoder weights that the driver alone has."""
    folder = tmp_path / "driver"
    folder.mkdir()
    codec = folder / "tiny.safetensors"
    shutil.copyfile(tiny_codec_file, codec)
    encoder = folder / "encoder.safetensors"
    model = build_segmenter(segmentation_config(options()), 6, init_seed=5)
    safetensors.torch.save_file(model.network.encoder.state_dict(), encoder)
    return folder, codec, encoder


def test_nothing_of_the_driver_is_needed(tmp_path, files, monkeypatch):
    folder, codec, encoder = files
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    plan = plan_of(
        codecs=(str(codec),), rates=(0.08,), configurations=("OO", "RO"),
        restorations=("regression",), encoder_weights=str(encoder),
    )  # fmt: skip
    here = Local(tmp_path / "here").run(plan)
    runner = Runner.of_restoration(plan)
    assert isinstance(runner, Shippable)
    shipped = runner.shipped(tmp_path / "there")
    shutil.rmtree(folder)
    there = Local(tmp_path / "there").run(plan, shipped)
    assert {r.status for r in there.values()} == {"finished"}
    for cell in plan.cells:
        assert there[cell.key].segmented == here[cell.key].segmented
    with pytest.raises(ConfigError, match=r"encoder\.safetensors"):
        Local(tmp_path / "without").run(plan)


def test_a_codec_that_has_changed_since_the_plan_is_refused(tmp_path, files, tiny_codec_file):
    plan = plan_of(codecs=(str(files[1]),), rates=(0.08,), configurations=("CO",))
    other = plan_of(codecs=("webp",)).codecs["webp"]
    changed = replace(plan, codecs={str(files[1]): other})
    with pytest.raises(CodecError, match="was another when the sweep was planned"):
        Local(tmp_path).run(changed)


def test_a_labelled_domain_comes_back_from_its_file(tmp_path, few_mosaics):
    path = tmp_path / "labelled.u8"
    path.write_bytes(b"".join(labelled_blocks(few_mosaics)))
    again = read_labelled_file(path)
    assert again.fingerprint == few_mosaics.fingerprint
    assert (again.name, again.classes, again.notes) == (
        few_mosaics.name, few_mosaics.classes, few_mosaics.notes,
    )  # fmt: skip
    assert again.unit == "crops"
    for a, b in zip(again.test, few_mosaics.test, strict=True):
        assert a.source_image == b.source_image
        assert np.array_equal(a.labels_HW, b.labels_HW)
    path = tmp_path / "other.u8"
    path.write_bytes(b"{}\n")
    with pytest.raises(DomainError, match="holds no labelled domain"):
        read_labelled_file(path)
