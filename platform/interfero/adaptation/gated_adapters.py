"""Gated adapters: decoder-side adapters, and a gate that decides how much of them a picture gets.

Presta et al., "Domain Adaptation for Learned Image Compression with Supervised Adapters",
arXiv:2404.15591. Behind every upsampling of the synthesis transform stands a bottleneck of 1x1
convolutions; a small network looks at the decoded latents and says whether they are of the target
domain. It is trained with labels, so half of each batch comes from the source domain. The sender and the
entropy model stay: target streams are source streams, byte for byte but for the header.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, Convolution, convolutions
from interfero.adaptation.method import AdaptedCodec, Batch, Method, StepLoss, rd_step
from interfero.adaptation.table import BRANCHES, TrainsOn
from interfero.codecs.codec import Codec
from interfero.randomness import Role, seed_for

GATE_WIDTH = 16


class Bottleneck(nn.Module):
    """`output + share * up(relu(down(output)))`; `up` starts at zero."""

    def __init__(self, num_channels: int, width: int) -> None:
        """Build an adapter of `width` channels behind a layer."""
        super().__init__()
        self.down = nn.Conv2d(num_channels, width, 1)
        self.up = nn.Conv2d(width, num_channels, 1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]
        self.share: Tensor | None = None
        """(batch,) in [0, 1], what the gate says of each picture of the batch."""

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output, corrected as far as the gate is open."""
        assert self.share is not None
        correction: Tensor = self.up(self.down(output).relu())
        return output + self.share[:, None, None, None] * correction


class Gate(nn.Module):
    """Network from decoded latents to the log-odds that they are from the target domain."""

    def __init__(self, num_latents: int) -> None:
        """A network on each latent channel's mean magnitude."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_latents, GATE_WIDTH), nn.ReLU(), nn.Linear(GATE_WIDTH, 1)
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        """(batch, latents, H, W) to (batch,)."""
        logits: Tensor = self.layers(y_hat.abs().mean(dim=(2, 3)).log1p())
        return logits[:, 0]


class GatedCodec(BranchedCodec):
    """Decoder-side branches behind one gate."""

    def __init__(self, source: Codec, adapters: dict[str, Bottleneck]) -> None:
        """Hold the adapters; the caller seeds the generator."""
        super().__init__(source, adapters)
        self.gate = Gate(source.shape.num_latents)
        self.logits: Tensor | None = None
        """(batch,) of the last pass."""

    @contextmanager
    def attached(self, prefixes: tuple[str, ...] = ("",)) -> Iterator[None]:
        """Attach as the base class does; the gate opens when the synthesis transform gets its latents."""
        handle = self.source.g_s.register_forward_pre_hook(self._open)
        try:
            with super().attached(prefixes):
                yield
        finally:
            handle.remove()

    def _open(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.logits = self.gate(inputs[0])
        for adapter in self.branches.values():
            adapter.share = self.logits.sigmoid()


class GatedAdapters(Method):
    """Decoder-side adapters that a gate blends in."""

    name: ClassVar[str] = "gated_adapters"
    paper: ClassVar[str] = "arXiv:2404.15591"
    size_unit: ClassVar[str | None] = "channels"
    strength_unit: ClassVar[str | None] = "loss per nat of the gate's cross-entropy"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = BRANCHES
    trains_on: ClassVar[TrainsOn] = "both"

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> GatedCodec:
        """An adapter behind every convolution of the synthesis transform, and a gate."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(init_seed, adapter_size, Role.INIT, label=self.name))
            layers: dict[str, Convolution] = convolutions(source, self.name)
            adapters = {
                name: Bottleneck(layer.out_channels, adapter_size)
                for name, layer in layers.items()
                if name.startswith("g_s.")
            }
            return GatedCodec(source, adapters)

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """Rate and distortion on both domains, and the gate's cross-entropy."""
        assert isinstance(adapted, GatedCodec)
        middle = len(batch.images["target"]) // 2
        image = torch.cat([batch.images["target"][:middle], batch.images["source"][middle:]])
        coded = rd_step(adapted.forward_noisy(image, batch.noise), image, batch.rd_lambda)
        assert adapted.logits is not None
        is_target = (torch.arange(len(image), device=image.device) < middle).float()
        wrong = nn.functional.binary_cross_entropy_with_logits(adapted.logits.float(), is_target)
        return StepLoss(coded.bpp, coded.mse, coded.total + batch.strength * wrong)
