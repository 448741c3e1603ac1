"""Adapter files from strangers: nothing is built that the file's own tensors do not carry."""

import json

import psutil
import pytest
from safetensors.torch import save_file

from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.codecs.catalogue import default_lambda, load_codec
from interfero.codecs.checkpoint import read_codec
from interfero.engine.restoration.encoders import read_encoder
from interfero.errors import AdapterError, CodecError, ConfigError, InterferoError, StorageError
from interfero.store.tensors import load_tensors, save_tensors
from interfero.store.verifying import check_adapter


@pytest.fixture(scope="module")
def adapter_file(tiny_codec, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "cawf.safetensors"
    adapted = METHODS["cawf"].build(tiny_codec, 2, 0)
    adapted.refresh_tables()
    save_adapter(adapted, path, method="cawf", adapter_size=2, record={})
    return path


def forged(path, out, **changes):
    state, metadata = load_tensors(path)
    metadata = {k: v for k, v in (metadata | changes).items() if v is not None}
    save_tensors(out, state, metadata)
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter_size": 40_000}, "names size 40000, but its .* fewer than cawf has at size 64"),
        ({"adapter_size": "2"}, "names size '2', which cawf does not have"),
        ({"adapter_size": 2.5}, "names size 2.5, which cawf does not have"),
        ({"adapter_size": 0}, "names size 0, which cawf does not have"),
        ({"adapter_size": True}, "names size True"),
        ({"adapter_size": 3}, "does not fit this codec"),
        ({"source_hash": None}, "does not say its source_hash"),
        ({"adapter_hash": None, "method": None}, "does not say its method, adapter_hash"),
        ({"method": "magic"}, "magic"),
        ({"method": []}, r"unknown method '\[\]'"),
        ({"method": 5}, "unknown method '5'"),
        ({"also_for": 7, "source_hash": []}, "was trained on source codec"),
    ],
)
def test_a_forged_file_is_refused_by_name(adapter_file, tiny_codec, tmp_path, changes, message):
    out = forged(adapter_file, tmp_path / "forged.safetensors", **changes)
    before = psutil.Process().memory_info().rss
    with pytest.raises(AdapterError, match=message):
        load_adapter(out, tiny_codec)
    assert psutil.Process().memory_info().rss - before < 500 * 2**20


def test_a_large_adapter_that_is_what_it_says_loads(tiny_codec, tmp_path):
    adapted = METHODS["lora"].build(tiny_codec, 70, 0)
    adapted.refresh_tables()
    path = tmp_path / "large.safetensors"
    save_adapter(adapted, path, method="lora", adapter_size=70, record={})
    assert load_adapter(path, tiny_codec)[1]["adapter_size"] == 70


@pytest.mark.parametrize("metadata", ["[]", "null", "7", '"text"'])
def test_metadata_that_is_no_object_is_refused_by_every_loader(
    tiny_codec, adapter_file, tmp_path, metadata
):
    path = tmp_path / "forged.safetensors"
    save_file(load_tensors(adapter_file)[0], path, {"interfero": metadata})
    with pytest.raises(AdapterError, match="no JSON object"):
        load_adapter(path, tiny_codec)
    with pytest.raises(CodecError, match="no JSON object"):
        read_codec(path, "forged")
    with pytest.raises(InterferoError, match="no JSON object"):
        load_codec(str(path), 0.013)
    with pytest.raises(StorageError, match="no JSON object"):
        check_adapter(path)
    with pytest.raises(ConfigError, match="no JSON object"):
        read_encoder(path)


@pytest.mark.parametrize("value", [[], "0.013", True, -1, 0, float("1e400")])
def test_a_lambda_that_is_no_number_above_zero_is_refused(tiny_codec_file, tmp_path, value):
    state, metadata = load_tensors(tiny_codec_file)
    path = tmp_path / "forged.safetensors"
    text = json.dumps(metadata | {"rd_lambda": value})
    save_file(state, path, {"interfero": text})
    with pytest.raises(CodecError, match="its lambda is"):
        default_lambda(str(path))
