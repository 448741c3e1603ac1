"""Codec files: what is read is what was saved, byte for byte, or it is refused."""

import numpy as np
import pytest
import torch

from interfero.codecs.checkpoint import copy_parameters, freeze_codec, read_codec, save_codec
from interfero.codecs.codec import Shape, build_model, entropy_tables
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.errors import CodecError
from interfero.store.tensors import load_tensors, save_tensors

SHAPE = Shape("mbt2018-mean", 8, 12)


def untrained(seed: int = 0):
    torch.manual_seed(seed)
    model = build_model(SHAPE)
    with torch.no_grad():
        # Latents to code, and a prior whose tables are not all alike.
        model.g_a[-1].weight.mul_(300)
        model.h_a[-1].weight.mul_(3)
        for name, value in model.entropy_bottleneck.named_parameters():
            if name != "quantiles":
                value.add_(0.3 * torch.randn_like(value))
    return model


@pytest.fixture(scope="module")
def model():
    return untrained()


@pytest.fixture(scope="module")
def codec(model):
    return freeze_codec(model, SHAPE, 0.013, "tiny", {"steps": 3})


@pytest.fixture
def saved(codec, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_codec(codec, path)
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (67, 129, 3), dtype=np.uint8)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_a_saved_codec_writes_the_same_streams(codec, saved):
    read = read_codec(saved, "tiny")
    coded = encode(SourceCoder(codec), picture())
    assert encode(SourceCoder(read), picture()) == coded
    pixels = [decode(SourceCoder(c), coded.data).pixels_HWC for c in (codec, read)]
    assert np.array_equal(*pixels)


def test_a_saved_codec_is_the_codec(codec, saved):
    read = read_codec(saved, "tiny")
    assert (read.weights_hash, read.table_hash) == (codec.weights_hash, codec.table_hash)
    assert (read.shape, read.rd_lambda, read.card) == (SHAPE, 0.013, {"steps": 3})
    assert not read.model.training


def test_saving_twice_gives_the_same_file(codec, saved, tmp_path):
    save_codec(read_codec(saved, "tiny"), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_weights_are_stored_in_half_precision_and_tables_as_integers(saved, codec):
    tensors, _ = load_tensors(saved)
    parameters = dict(codec.model.named_parameters())
    assert all(tensors[name].dtype == torch.float16 for name in parameters)
    for name, table in entropy_tables(codec.model).items():
        if name.endswith("_quantized_cdf"):
            lengths = tensors[name.replace("_quantized_cdf", "_cdf_length")].tolist()
            assert tensors[name].dtype == torch.int32
            rows = tensors[name].split(lengths)
            assert all(torch.equal(r, t[: len(r)]) for r, t in zip(rows, table, strict=True))
            assert all((t[len(r) :] == 0).all() for r, t in zip(rows, table, strict=True))
        else:
            assert torch.equal(tensors[name], table)


def test_weights_in_single_precision_stay_as_they_are(tmp_path, model):
    from interfero.codecs.codec import Codec

    exact = untrained()
    exact.update(force=True)
    save_codec(
        Codec(SHAPE, 0.013, "exact", exact.eval()), tmp_path / "e.safetensors", half_precision=False
    )
    read = read_codec(tmp_path / "e.safetensors", "exact")
    assert same(dict(read.model.named_parameters()), dict(model.named_parameters()))


def test_tables_come_from_the_file(codec, tmp_path):
    changed = freeze_codec(untrained(), SHAPE, 0.013, "tiny", {})
    table = changed.model.entropy_bottleneck._quantized_cdf
    # One count moves to the neighbour: no weights give this table.
    table[0, 1] -= 1
    save_codec(changed, tmp_path / "changed.safetensors")
    read = read_codec(tmp_path / "changed.safetensors", "tiny")
    assert torch.equal(read.model.entropy_bottleneck._quantized_cdf, table)
    assert read.table_hash == changed.table_hash != codec.table_hash


def test_freezing_rounds_first_and_then_makes_the_tables(model, codec):
    rounded = dict(codec.model.named_parameters())
    assert all(torch.equal(v, v.half().float()) for v in rounded.values())
    for name, value in model.named_parameters():
        if not name.endswith(".quantiles"):
            assert torch.equal(rounded[name], value.detach().half().float())

    again = build_model(SHAPE)
    copy_parameters(codec.model, again)
    again.update(force=True)
    assert same(entropy_tables(again), entropy_tables(codec.model))

    # The order is what is tested: tables made before rounding would be others.
    exact = build_model(SHAPE)
    copy_parameters(model, exact)
    exact.update(force=True, update_quantiles=True)
    assert not same(entropy_tables(exact), entropy_tables(codec.model))


def test_freezing_does_not_touch_the_trained_model(model):
    before = {n: v.clone() for n, v in model.state_dict().items()}
    freeze_codec(model, SHAPE, 0.013, "tiny", {})
    assert same(dict(model.state_dict()), before)


def test_freezing_twice_gives_the_same_codec(model, codec):
    again = freeze_codec(model, SHAPE, 0.013, "tiny", {})
    assert again.weights_hash == codec.weights_hash
    assert freeze_codec(codec.model, SHAPE, 0.013, "tiny", {}).table_hash == codec.table_hash


def test_copying_between_shapes_is_refused():
    with pytest.raises(CodecError, match="do not belong to this shape"):
        copy_parameters(untrained(), build_model(Shape("mbt2018-mean", 8, 16)))


def header_size(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def test_a_flipped_bit_in_weights_or_tables_is_refused(saved):
    data = saved.read_bytes()
    for position in np.linspace(header_size(data), len(data) - 1, 30).astype(int):
        damaged = bytearray(data)
        damaged[position] ^= 1
        saved.write_bytes(bytes(damaged))
        with pytest.raises(CodecError):
            read_codec(saved, "tiny")


def test_a_flipped_bit_in_the_header_is_refused_or_harmless(codec, saved):
    data = saved.read_bytes()
    refused = 0
    positions = range(0, header_size(data), 29)
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 1
        saved.write_bytes(bytes(damaged))
        try:
            read = read_codec(saved, "tiny")
        except CodecError:
            refused += 1
        else:
            assert read.weights_hash == codec.weights_hash
            assert read.table_hash == codec.table_hash
    assert refused > 0.8 * len(positions)


@pytest.mark.parametrize(
    "key", ["architecture", "num_channels", "rd_lambda", "weights_hash", "table_hash", "card"]
)
def test_a_file_without_an_entry_is_refused(saved, key):
    tensors, metadata = load_tensors(saved)
    del metadata[key]
    save_tensors(saved, tensors, metadata)
    with pytest.raises(CodecError, match=r"tiny\.safetensors"):
        read_codec(saved, "tiny")


def test_a_file_without_a_tensor_is_refused(saved):
    tensors, metadata = load_tensors(saved)
    del tensors["g_a.0.weight"]
    save_tensors(saved, tensors, metadata)
    with pytest.raises(CodecError, match=r"tiny\.safetensors"):
        read_codec(saved, "tiny")


def test_a_file_of_another_shape_is_refused(saved):
    tensors, metadata = load_tensors(saved)
    save_tensors(saved, tensors, metadata | {"num_latents": 16})
    with pytest.raises(CodecError, match=r"tiny\.safetensors"):
        read_codec(saved, "tiny")


@pytest.mark.parametrize("forged", [{"num_channels": 40_000}, {"image_channels": 2**40}])
def test_a_file_makes_nothing_that_its_tensors_could_not_fill(saved, forged):
    """40,000 channels are 160 GB of kernels."""
    tensors, metadata = load_tensors(saved)
    save_tensors(saved, tensors, metadata | forged)
    with pytest.raises(CodecError, match=r"tiny\.safetensors.*fewer numbers"):
        read_codec(saved, "tiny")


def test_rows_of_a_table_are_not_padded_beyond_reason(saved):
    """Of 100,001 entries of four bytes padding would make 40 GB."""
    tensors, metadata = load_tensors(saved)
    lengths = torch.ones(100_001, dtype=torch.int32)
    lengths[0] = 100_000
    tensors |= {
        "entropy_bottleneck._cdf_length": lengths,
        "entropy_bottleneck._quantized_cdf": torch.zeros(200_000, dtype=torch.int32),
    }
    save_tensors(saved, tensors, metadata)
    with pytest.raises(CodecError, match=r"tiny\.safetensors.*100001 rows of up to 100000"):
        read_codec(saved, "tiny")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CodecError, match=r"absent\.safetensors"):
        read_codec(tmp_path / "absent.safetensors", "absent")
    save_tensors(tmp_path / "adapter.safetensors", {}, {"format": "interfero-adapter-1"})
    with pytest.raises(CodecError, match="'interfero-adapter-1'"):
        read_codec(tmp_path / "adapter.safetensors", "adapter")
