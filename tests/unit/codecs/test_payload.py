"""No valid stream is shorter than the bound, and a forged size is refused before it costs anything."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import torch
from compressai.entropy_models import EntropyBottleneck

from interfero.codecs.bitstream import parse_stream
from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.coding import SourceCoder, decode, decode_unchecked, encode
from interfero.codecs.payload import ROUNDING, least_bits, refused_if_short
from interfero.errors import BitstreamError


@pytest.fixture(scope="module")
def tiny(tiny_codec_file):
    return SourceCoder(read_codec(tiny_codec_file, "tiny"))


def bottleneck(*rows: list[int]) -> EntropyBottleneck:
    """An entropy bottleneck whose tables are `rows` of frequencies."""
    module = EntropyBottleneck(len(rows))
    width = max(map(len, rows)) + 1
    tables = np.zeros((len(rows), width), np.int32)
    for table, row in zip(tables, rows, strict=True):
        table[1 : len(row) + 1] = np.cumsum(row)
    module._quantized_cdf = torch.from_numpy(tables)
    module._cdf_length = torch.tensor([len(row) + 1 for row in rows], dtype=torch.int32)
    module._offset = torch.zeros(len(rows), dtype=torch.int32)
    return module


def test_the_likeliest_symbols_are_what_a_position_costs_at_least():
    # Half is one bit, an eighth three; the padding of the shorter row does not count.
    module = bottleneck([1 << 15, 1 << 14, 1 << 14], [1 << 13] * 8)
    assert least_bits(module) == pytest.approx(1 + 3)


def test_the_likeliest_latent_just_fits():
    module = bottleneck([(1 << 16) - 2, 1, 1], [1 << 15, (1 << 15) - 1, 1]).eval()
    latent = torch.zeros(1, 2, 96, 96)
    strings = module.compress(latent)
    bits = least_bits(module) * 96 * 96
    assert bits <= 8 * len(strings[0]) < bits + 96
    with refused_if_short([module]):
        assert torch.equal(module.decompress(strings, latent.shape[-2:]), latent)
        with pytest.raises(BitstreamError, match=r"cannot hold a latent of \(192, 192\)"):
            module.decompress(strings, torch.Size((192, 192)))


def test_a_bottleneck_is_itself_again_afterwards():
    module = bottleneck([1 << 15, 1 << 15])
    with pytest.raises(RuntimeError, match="stop"), refused_if_short([module, module]):
        raise RuntimeError("stop")
    assert "decompress" not in vars(module)
    module.decompress = stand_in = lambda strings, size: torch.zeros(1)
    with refused_if_short([module]):
        assert module.decompress is not stand_in
    assert module.decompress is stand_in


@pytest.mark.parametrize("rd_lambda", [0.0016, 0.045])
@pytest.mark.parametrize("grey", [0, 118, 255])
def test_flat_pictures_of_the_bundled_codecs_pass(rd_lambda, grey):
    coder = SourceCoder(load_codec("mbt2018-mean", rd_lambda))
    coded = encode(coder, np.full((256, 320, 3), grey, np.uint8))
    floor = ROUNDING * least_bits(coder.codec.model.entropy_bottleneck) * 4 * 5
    assert 8 * len(parse_stream(coded.data).strings[1]) > floor
    assert decode(coder, coded.data).symbols == coded.symbols


def test_a_forged_size_is_refused_before_it_costs_memory(tiny):
    stream = parse_stream(encode(tiny, np.zeros((64, 64, 3), np.uint8)).data)
    forged = dataclasses.replace(stream, width=4096, height=4096).pack()
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="cannot hold"):
        decode(tiny, forged)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 16.8 million pixels would be 50 MB for the picture alone.
    assert peak < 4e6


def test_old_bitstreams_are_measured_whatever_their_length(tiny):
    stream = parse_stream(encode(tiny, np.zeros((64, 64, 3), np.uint8)).data)
    forged = dataclasses.replace(stream, width=256, height=256)
    assert decode_unchecked(tiny, forged).pixels_HWC.shape == (256, 256, 3)
    with pytest.raises(BitstreamError, match="cannot hold"):
        decode_unchecked(tiny, forged, whole=True)
