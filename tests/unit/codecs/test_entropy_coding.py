"""Entropy coding: the setting it runs in, and what stands between a codec and the native coder."""

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck

from interfero.codecs.entropy_coding import (
    RecordingCoder,
    coding_setting,
    pad_to_stride,
    recorded_symbols,
)


def test_coding_runs_on_one_thread_and_leaves_the_count():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with coding_setting():
            assert torch.get_num_threads() == 1
            assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="stop"), coding_setting():
            raise RuntimeError("stop")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_coding_is_in_single_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16), coding_setting():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


class NativeCoder:
    """Answers with as many symbols as there are indexes, and remembers what it was given."""

    name = "native"

    def __init__(self):
        self.given = b""

    def encode_with_indexes(self, symbols, *tables):
        return bytes(symbols)

    def decode_with_indexes(self, data, indexes, *tables):
        self.given = data
        return list(data[: len(indexes)])


def test_symbols_are_recorded_both_ways_in_order():
    symbols: list[list[int]] = []
    coder = RecordingCoder(NativeCoder(), symbols)
    assert coder.encode_with_indexes([1, 2, 3], [0, 0, 0]) == b"\1\2\3"
    assert coder.decode_with_indexes(b"\4\5", [0, 0]) == [4, 5]
    assert symbols == [[1, 2, 3], [4, 5]]
    assert coder.name == "native"


def test_a_decoder_finds_zeros_behind_its_string():
    native = NativeCoder()
    RecordingCoder(native, []).decode_with_indexes(b"\xff", [0] * 100)
    assert native.given[:1] == b"\xff"
    assert set(native.given[1:]) == {0}
    # One 32-bit word for the symbol and up to three for its escape.
    assert len(native.given) >= 1 + 16 * 100


def test_coders_are_restored_even_after_an_error():
    module = EntropyBottleneck(2)
    original = module.entropy_coder
    with recorded_symbols([module]):
        assert isinstance(module.entropy_coder, RecordingCoder)
    assert module.entropy_coder is original
    with pytest.raises(RuntimeError, match="stop"), recorded_symbols([module]):
        raise RuntimeError("stop")
    assert module.entropy_coder is original


def test_padding_repeats_the_edges():
    image = torch.arange(2.0 * 3).reshape(1, 2, 3).expand(3, 2, 3)
    padded = pad_to_stride(image, 4)
    assert padded.shape == (1, 3, 4, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


def test_whole_strides_are_not_padded():
    assert pad_to_stride(torch.zeros(3, 64, 128), 64).shape == (1, 3, 64, 128)
