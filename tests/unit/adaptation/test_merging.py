"""What an adaptation changed of the source codec's weights."""

import pytest
import torch

from interfero.adaptation import find_method
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.merging import weight_changes
from interfero.errors import AdapterError


@pytest.mark.parametrize(("method", "size"), [("finetune", 0), ("lora", 2), ("lora_transforms", 2)])
def test_the_source_codec_with_the_changes_is_the_adapted_codec(tiny_codec, method, size):
    adapted = find_method(method).build(tiny_codec, size, init_seed=3)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in learned_by(adapted).named_parameters():
            if name.endswith("weight"):
                parameter += 0.02 * torch.randn_like(parameter)
    merged = find_method("finetune").build(tiny_codec, 0, init_seed=0)
    with torch.no_grad():
        own = dict(merged.codec.named_parameters())
        for name, change in weight_changes(adapted).items():
            own[name] += change
    image = torch.rand(1, 3, 64, 64)
    latents = [transformed(codec, image) for codec in (adapted, merged)]
    torch.testing.assert_close(*latents, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(latents[0], tiny_codec.model.g_a(image), atol=1e-3)


def learned_by(adapted):
    return adapted.codec if isinstance(adapted, CopiedCodec) else adapted.branches


@torch.no_grad()
def transformed(adapted, image):
    if isinstance(adapted, CopiedCodec):
        return adapted.codec.g_a(image)
    adapted.mode = "target"
    with adapted.attached():
        return adapted.source.g_a(image)


def test_what_leaves_the_weights_as_they_are_cannot_be_merged(tiny_codec):
    adapted = find_method("residual_adapter").build(tiny_codec, 2, init_seed=0)
    with pytest.raises(AdapterError, match="only what changes them can be merged"):
        weight_changes(adapted)
