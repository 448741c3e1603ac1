"""Source codecs for images of one channel and of twelve: trained, saved, adapted, coded and scored."""

import numpy as np
import pytest

from interfero.adaptation import find_method, load_adapter, save_adapter
from interfero.adaptation.table import METHOD_TABLE
from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.codec import Shape, build_model
from interfero.codecs.coding import decode, encode, score_estimated
from interfero.codecs.domain_distance import domain_distance
from interfero.codecs.fidelity import fidelity_line
from interfero.codecs.imported import export_codec, import_codec
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import check_channels
from interfero.domains.images import ImageRules
from interfero.engine.adaptation.memory import footprint
from interfero.engine.adaptation.nodes import LoopConfig
from interfero.engine.worker import LocalWorker
from interfero.errors import CodecError, DomainError
from tests.unit.domains.field_files import waves
from trainables.source import SourceConfig, train_source


@pytest.fixture
def banded(tmp_path):
    """A domain of images with so many bands, for a codec of as many channels."""

    def make(bands):
        folder = tmp_path / str(bands)
        folder.mkdir()
        for i in range(6):
            np.save(folder / f"a{i}a.npy", waves(bands, 4000, seed=i))
        return load_domain(f"d={folder}:axes=YXC:range=0,4095", ImageRules(channels=bands))

    return make


@pytest.mark.parametrize("architecture", ["bmshj2018-factorized", "mbt2018-mean"])
@pytest.mark.parametrize("bands", [1, 12])
def test_a_codec_of_other_channels_is_trained_saved_adapted_coded_and_scored(
    banded, tmp_path, architecture, bands
):
    domain = banded(bands)
    config = SourceConfig(
        rd_lambda=0.013, num_steps=2, architecture=architecture, num_channels=8, num_latents=12,
        image_channels=bands, batch_size=2, crop_size=64, gradient_share=0.5,
    )  # fmt: skip
    model = train_source(config, domain, LocalWorker(tmp_path / "work"))
    path = tmp_path / "c.safetensors"
    save_codec(freeze_codec(model, config.shape, 0.013, "c", {}), path)
    codec = read_codec(path, "c")
    assert codec.shape.image_channels == bands
    method = find_method("cawf")
    adapter = tmp_path / "a.safetensors"
    built = method.build(codec, 2, 0)
    built.refresh_tables()
    save_adapter(built, adapter, method="cawf", adapter_size=2, record={})
    adapted, _ = load_adapter(adapter, read_codec(path, "c"))
    sample = domain.test[0]
    assert sample.pixels_HWC.shape == (80, 96, bands)
    for mode in ("source", "target"):
        adapted.mode = mode
        coded = encode(adapted, sample.pixels_HWC)
        assert decode(adapted, coded.data).pixels_HWC.shape == sample.pixels_HWC.shape
        assert score_estimated(adapted, sample).bpp > 0
    distance = domain_distance(codec, domain, domain)
    assert distance.rd_excess_percent == 0
    # Bands have no colour, and so no distance of colours.
    assert set(distance.metrics) == {
        "distance/rd_excess_percent", "distance/latent_bits", "distance/feature_sd",
    }  # fmt: skip
    said = fidelity_line(codec, domain)
    assert said.startswith("fidelity on d, ")
    assert said.endswith(f"; JPEG codes 3 channels, these have {bands}")
    export_codec(codec, tmp_path / "c.pth.tar")
    again = import_codec(tmp_path / "c.pth.tar", 0.013, "again")
    assert (again.shape, again.weights_hash) == (codec.shape, codec.weights_hash)


@pytest.mark.parametrize("name", METHOD_TABLE)
def test_every_method_adapts_a_codec_of_twelve_channels(name):
    shape = Shape("mbt2018-mean", 8, 12, 12)
    codec = freeze_codec(build_model(shape), shape, 0.013, "c", {})
    adapted = find_method(name).build(codec, 1, 0)
    adapted.refresh_tables()
    pixels = waves(12, 255, np.uint8)
    assert decode(adapted, encode(adapted, pixels).data).pixels_HWC.shape == pixels.shape
    loop = LoopConfig(num_steps=1, batch_size=2, crop_size=64)
    assert footprint(find_method(name), codec, 1, loop).shared >= 2 * 2 * pixels[:64, :64].size * 4


def test_codecs_of_three_channels_are_what_they_were(tmp_path):
    shape = Shape("mbt2018-mean", 8, 12)
    assert shape == Shape("mbt2018-mean", 8, 12, 3)
    assert "image_channels" not in SourceConfig(rd_lambda=1, num_steps=1).settings
    assert "image_channels" in SourceConfig(rd_lambda=1, num_steps=1, image_channels=1).settings


def test_what_does_not_fit_is_refused(banded):
    with pytest.raises(
        CodecError, match="cheng2020-anchor codes images of 3 channels, 4 are asked for"
    ):
        build_model(Shape("cheng2020-anchor", 8, 8, 4))
    with pytest.raises(DomainError, match="images of 12 channels, the codec codes 3"):
        check_channels(banded(12), 3)
