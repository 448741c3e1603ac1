"""Latent refinement with a term on hyper-latents: what the term is, and what it does to streams."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from interfero.adaptation import METHODS
from interfero.adaptation.regularised_refinement import (
    RegularisedCodec,
    dropout_moments,
    hyper_latent_bits,
)
from interfero.adaptation.support import check_methods
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.coding import SourceCoder, decode, encode, pixel_mse
from interfero.domains.catalogue import load_domain
from interfero.domains.images import UInt8Array
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.errors import AdapterError, CodecError, ConfigError


def regularised(
    codec: Codec, strength: float, rate: float = 0.1, steps: int = 5
) -> RegularisedCodec:
    adapted = METHODS["regularised_refinement"].build(codec, 0, 0)
    assert isinstance(adapted, RegularisedCodec)
    adapted.settle(rate, steps, strength)
    return adapted.eval()


def test_moments_are_those_of_dropout_before_the_last_layer(tiny_codec: Codec) -> None:
    h_a = tiny_codec.model.h_a
    random = torch.Generator().manual_seed(0)
    y = 5 * torch.randn(1, h_a[0].in_channels, 8, 8, generator=random)
    with torch.no_grad():
        hidden = h_a[:-1](y)
        masks = torch.rand(4000, *hidden.shape[1:], generator=random) < 0.5
        drawn = h_a[-1](2 * masks * hidden)
        mean, variance = dropout_moments(h_a, y)
        assert torch.equal(mean, h_a(y))
    assert torch.allclose(drawn.mean(0), mean[0], atol=5 * float(variance.max().sqrt()) / 4000**0.5)
    assert torch.allclose(drawn.var(0), variance[0], rtol=0.2)


def test_bits_of_hyper_latents_by_hand() -> None:
    layer = nn.Conv2d(1, 1, 1)
    h_a = nn.Sequential(nn.Identity(), layer)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.bias.fill_(1.0)
        # y = 2: mean 3 x 2 + 1 = 7, variance 9 x 4 x 0.5 / 0.5 = 36; z = 19 is two deviations away.
        found = hyper_latent_bits(
            h_a, torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 19.0)
        )
    assert float(found) == pytest.approx(
        (2 + math.log(6) + math.log(2 * math.pi) / 2) / math.log(2)
    )


def test_a_variance_of_zero_is_bounded() -> None:
    h_a = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False))
    with torch.no_grad():
        bits = hyper_latent_bits(h_a, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    assert float(bits) == pytest.approx(math.log2(1e-4 * math.sqrt(2 * math.pi)), rel=1e-5)


def test_real_hyper_latents_stay_likelier_and_the_stream_is_the_source_codecs() -> None:
    codec = load_codec("mbt2018-mean", 0.013)
    pixels = load_domain("histology").test[0].pixels_HWC[:128, :128].copy()
    before = encode(SourceCoder(codec), pixels)
    plain = METHODS["latent_refinement"].build(codec, 0, 0).eval()
    METHODS["latent_refinement"].settle(plain, 0.03, 20)
    losses, bits = [rd_loss(codec, before.data, pixels)], []
    for adapted in (plain, regularised(codec, 1.0, 0.03, 20), regularised(codec, 100.0, 0.03, 20)):
        coded = encode(adapted, pixels)
        assert decode(SourceCoder(codec), coded.data).symbols == coded.symbols
        losses.append(rd_loss(codec, coded.data, pixels))
        ((y, z),) = adapted._found.values()
        with torch.no_grad():
            bits.append(float(hyper_latent_bits(codec.model.h_a, y, z)))
    assert max(losses[1:3]) < losses[0]
    assert bits[0] > bits[1] > bits[2]


def rd_loss(codec: Codec, data: bytes, pixels: UInt8Array) -> float:
    """Of what the source codec shows."""
    mse = pixel_mse(decode(SourceCoder(codec), data).pixels_HWC, pixels)
    return 8 * len(data) / pixels[..., 0].size + codec.rd_lambda * mse


def test_searches_are_repeated_exactly_in_float32(tiny_codec: Codec) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, again = (regularised(tiny_codec, 2.0)._search(image, (64, 64)) for _ in range(2))
    assert [x.dtype for x in first] == [torch.float32] * 2
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("strength", [0.0, -1.0, math.nan, math.inf])
def test_strengths_that_mean_nothing_are_refused_before_a_search(
    tiny_codec: Codec, strength: float
) -> None:
    with pytest.raises(AdapterError, match="must be above 0; latent_refinement searches without"):
        regularised(tiny_codec, strength)
    state = regularised(tiny_codec, 1.0).adapter_state() | {"strength": torch.tensor(strength)}
    with pytest.raises(AdapterError, match="must be above 0"):
        regularised(tiny_codec, 1.0).load_adapter_state(state)
    options = AdaptationOptions(
        domains=("text",), methods=("regularised_refinement",), strengths=(strength,)
    )
    with pytest.raises(ConfigError, match="--strengths"):
        options.check()


def test_a_file_of_the_plain_search_is_none_of_its(tiny_codec: Codec) -> None:
    plain = METHODS["latent_refinement"].build(tiny_codec, 0, 0)
    METHODS["latent_refinement"].settle(plain, 0.1, 5)
    with pytest.raises(AdapterError, match="learning_rate, num_steps, strength, one number each"):
        regularised(tiny_codec, 1.0).load_adapter_state(plain.adapter_state())


def test_a_codec_without_hyper_latents_is_refused_with_what_refines_it() -> None:
    codec = load_codec("bmshj2018-factorized", 0.013)
    with pytest.raises(CodecError, match="have a hyperprior; latent_refinement") as late:
        METHODS["regularised_refinement"].build(codec, 0, 0)
    with pytest.raises(CodecError) as early:
        check_methods("bmshj2018-factorized", ("regularised_refinement",))
    assert str(early.value) == str(late.value)
