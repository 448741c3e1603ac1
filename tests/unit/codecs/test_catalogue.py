"""Where source codecs come from. The zoo's download runs for real, from a local address."""

import hashlib

import pytest
import torch
from compressai.zoo import image as zoo

from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec
from interfero.codecs.codec import ARCHITECTURES, Shape, build_model
from interfero.errors import CodecError

WIDTHS = {"cheng2020-anchor": (8,), "mbt2018-mean": (8, 12)}


@pytest.fixture
def zoo_of(tmp_path, monkeypatch):
    """Put an untrained codec into the zoo; returns its file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("INTERFERO_CACHE", str(tmp_path / "cache"))

    def make(name, digest=None):
        widths = WIDTHS[name]
        torch.manual_seed(3)
        model = build_model(Shape(name, widths[0], widths[-1]))
        model.update(force=True)
        plain = tmp_path / "weights"
        torch.save(model.state_dict(), plain)
        digest = digest or hashlib.sha256(plain.read_bytes()).hexdigest()[:8]
        path = plain.rename(tmp_path / f"{name.replace('-', '_')}-3-{digest}.pth.tar")
        monkeypatch.setitem(zoo.model_urls[name]["mse"], 3, path.as_uri())
        monkeypatch.setitem(zoo.cfgs[name], 3, widths)
        return path

    return make


@pytest.mark.parametrize("name", list(WIDTHS))
def test_a_zoo_codec_is_downloaded_once_and_frozen(zoo_of, name):
    path = zoo_of(name)
    first = load_codec(f"compressai:{name}", 0.0067)
    assert first.rd_lambda == 0.0067
    assert first.card == {"origin": path.as_uri()}
    path.unlink()
    again = load_codec(f"compressai:{name}", 0.0067)
    assert (again.weights_hash, again.table_hash) == (first.weights_hash, first.table_hash)
    assert not any(p.requires_grad for p in again.model.parameters())


def test_a_download_whose_checksum_differs_is_refused(zoo_of):
    zoo_of("mbt2018-mean", digest="0123abcd")
    with pytest.raises(CodecError, match=r"could not be downloaded .* hash value"):
        load_codec("compressai:mbt2018-mean", 0.0067)


def test_the_zoo_has_as_many_lambdas_as_weights():
    assert available_lambdas("compressai:mbt2018-mean")[-1] == 0.18
    assert available_lambdas("compressai:cheng2020-attn")[-1] == 0.0483


def test_an_architecture_without_zoo_weights_is_named():
    with pytest.raises(
        CodecError, match="unknown zoo codec 'compressai:bmshj2018-factorized-relu'"
    ):
        available_lambdas("compressai:bmshj2018-factorized-relu")


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018-mean"])
def test_bundled_codecs_come_with_the_same_lambdas(name):
    assert name in bundled_names()
    assert available_lambdas(name) == (0.0009, 0.0016, 0.0045, 0.013, 0.045)
    assert load_codec(name, 0.013).shape == Shape(name, 64, 96)


def test_every_architecture_is_built_from_its_shape():
    with pytest.raises(CodecError, match="N must equal M, got 8 and 12"):
        build_model(Shape("cheng2020-anchor", 8, 12))
    for name in ARCHITECTURES:
        model = build_model(Shape(name, 8, 8))
        assert int(model.downsampling_factor) == (16 if "factorized" in name else 64)
