"""Differences from the source codec: what is kept, what it costs, what comes back."""

import pytest
import torch

from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import rd_parameters
from interfero.errors import AdapterError
from interfero.store.tensors import state_hash


@pytest.fixture
def codec(tiny_codec_file):
    return read_codec(tiny_codec_file, "tiny")


def moved(codec, name="finetune", rank=0):
    """A fine-tuned codec whose kernels were moved at random."""
    adapted = METHODS[name].build(codec, 0, 0)
    adapted.delta_rank = rank
    random = torch.Generator().manual_seed(0)
    adapted.train_parameters()
    with torch.no_grad():
        for parameter in rd_parameters(adapted):
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=random) * 1e-2)
    trained = {n: p.detach().clone() for n, p in adapted.codec.named_parameters()}
    adapted.refresh_tables()
    return adapted, trained


def saved(adapted, path, name="finetune"):
    save_adapter(adapted, path, method=name, adapter_size=0, record={}, domain="thing")
    return path.stat().st_size


@pytest.mark.parametrize("rank", [0, 2])
def test_what_comes_back_is_what_was_measured(codec, tiny_codec_file, tmp_path, rank):
    adapted, _ = moved(codec, rank=rank)
    saved(adapted, tmp_path / "a.safetensors")
    again, metadata = load_adapter(tmp_path / "a.safetensors", read_codec(tiny_codec_file, "tiny"))
    own, other = adapted.codec.state_dict(), again.codec.state_dict()
    assert state_hash(own.items()) == state_hash(other.items())
    assert again.adapter_id == adapted.adapter_id
    assert (metadata["domain"], metadata["rd_lambda"]) == ("thing", 0.013)
    assert metadata["source_table_hash"] == codec.table_hash


def test_half_precision_of_a_difference_is_closer_than_of_a_weight(codec):
    adapted, trained = moved(codec)
    for name, value in adapted.codec.named_parameters():
        if not name.endswith(".quantiles"):
            error = (value.detach() - trained[name]).abs().max()
            difference = (trained[name] - codec.model.get_parameter(name)).abs().max()
            assert error <= difference * 2**-11 + 1e-7, name


def test_a_part_that_does_not_learn_keeps_every_bit_and_takes_no_room(codec, tmp_path):
    whole, _ = moved(codec)
    part, _ = moved(codec, "finetune_encoder")
    sizes = [
        saved(whole, tmp_path / "whole.safetensors"),
        saved(part, tmp_path / "part.safetensors", "finetune_encoder"),
    ]
    assert sizes[1] < 0.5 * sizes[0]
    for name, value in part.codec.state_dict().items():
        if not name.startswith(("g_a.", "h_a.")):
            assert torch.equal(value, codec.model.state_dict()[name]), name


def test_a_low_rank_is_smaller_and_further_away_and_full_rank_is_neither(codec, tmp_path):
    errors, sizes = {}, {}
    for rank in (0, 1, 3, 10_000):
        adapted, trained = moved(codec, rank=rank)
        sizes[rank] = saved(adapted, tmp_path / f"{rank}.safetensors")
        own = dict(adapted.codec.named_parameters())
        errors[rank] = sum(float((own[n] - trained[n]).square().sum().detach()) for n in own)
    assert sizes[1] < sizes[3] < sizes[0]
    assert errors[1] > errors[3] > errors[0]
    assert (sizes[10_000], errors[10_000]) == (sizes[0], errors[0])


def test_another_methods_file_is_refused(codec, tmp_path):
    part, _ = moved(codec, "finetune_encoder")
    saved(part, tmp_path / "a.safetensors", "finetune")
    with pytest.raises(AdapterError, match="does not fit"):
        load_adapter(tmp_path / "a.safetensors", codec)
