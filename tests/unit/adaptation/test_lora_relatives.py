"""What sets the relatives of LoRA apart from it, by their papers' formulas."""

from __future__ import annotations

import torch
from torch import nn

from interfero.adaptation import METHODS
from interfero.adaptation.branched import BranchedCodec, Convolution, convolutions
from interfero.adaptation.dora import WeightDecomposed
from interfero.adaptation.lora import LowRank
from interfero.adaptation.rslora import RankStabilised
from interfero.codecs.codec import Codec

LAYERS = (
    nn.Conv2d(3, 8, 5, 2, 2), nn.ConvTranspose2d(6, 5, 5, 2, 2, 1), nn.Conv2d(4, 4, 1, bias=False),
)  # fmt: skip


def disturbed(branch: LowRank) -> LowRank:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return branch


def test_dora_is_length_times_direction_of_the_updated_kernel() -> None:
    for layer in LAYERS:
        branch = disturbed(WeightDecomposed(layer, 2))
        assert isinstance(branch, WeightDecomposed)
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        others = tuple(a for a in range(4) if a != outputs)
        turned = layer.weight + LowRank.update(branch)
        shape = [-1 if a == outputs else 1 for a in range(4)]
        lengths = layer.weight.square().sum(others).sqrt() * branch.log_gain.exp()
        kernel = lengths.view(shape) * turned / turned.square().sum(others).sqrt().view(shape)
        assert torch.allclose(layer.weight + branch.update(), kernel, atol=1e-6)
        x = torch.rand(2, layer.in_channels, 8, 8, generator=torch.Generator().manual_seed(2))
        expected = run(layer, x, kernel)
        assert torch.allclose(branch(x, layer(x)), expected, atol=1e-5)


def test_a_kernel_of_zeros_keeps_what_dora_adds() -> None:
    layer = nn.Conv2d(2, 2, 3, padding=1)
    nn.init.zeros_(layer.weight)
    branch = disturbed(WeightDecomposed(layer, 1))
    assert torch.isfinite(branch.update()).all()
    assert branch.update().abs().min() > 0


def test_rank_stabilised_is_lora_at_rank_4_and_half_of_it_at_16() -> None:
    layer = LAYERS[0]
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    for rank, scale in ((4, 1.0), (16, 0.5), (1, 2.0)):
        torch.manual_seed(0)
        plain = disturbed(LowRank(layer, rank))
        torch.manual_seed(0)
        scaled = disturbed(RankStabilised(layer, rank))
        zero = torch.zeros(1)
        assert torch.allclose(scaled(x, zero), scale * plain(x, zero), atol=1e-6)
        assert torch.allclose(scaled.update(), scale * plain.update(), atol=1e-7)


def test_lora_without_the_entropy_model_starts_as_lora(tiny_codec: Codec) -> None:
    names = ("lora", "lora_transforms", "lora_entropy")
    built = {n: METHODS[n].build(tiny_codec, 2, 0) for n in names}
    assert all(isinstance(b, BranchedCodec) for b in built.values())
    layers = convolutions(tiny_codec, "lora")
    assert any(n.startswith("h_s.") for n in layers)
    kept = {k.replace("/", ".") for k in built["lora_transforms"].branches}
    assert kept == {n for n in layers if n.startswith(("g_a.", "g_s."))}
    of_entropy = {k.replace("/", ".") for k in built["lora_entropy"].branches}
    assert (kept | of_entropy, kept & of_entropy) == ({*layers}, set())
    first = "branches.g_a/0.down.weight"
    states = [built[n].state_dict()[first] for n in ("lora", "lora_transforms")]
    assert torch.equal(*states)


def run(layer: Convolution, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, nn.ConvTranspose2d):
        return nn.functional.conv_transpose2d(
            x, kernel, layer.bias, layer.stride, layer.padding, layer.output_padding
        )
    return nn.functional.conv2d(x, kernel, layer.bias, layer.stride, layer.padding)
