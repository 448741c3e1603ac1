"""Generators that restore compressed images, and the discriminators they are trained against."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from interfero.engine.restoration.configs import RestorationConfig

UNSHUFFLE = 2
"""Generators work at half resolution with four times the channels: a quarter of the time."""
STRIDE = 8
"""Images are padded to a multiple of this many pixels."""
LEAK = 0.2


class ResidualBlock(nn.Module):
    """Two convolutions around an addition, without normalisation (EDSR, arXiv:1707.02921)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, height, width) to the same."""
        change: Tensor = self.second(F.leaky_relu(self.first(x), LEAK))
        return x + change


class ResidualGenerator(nn.Module):
    """A stack of residual blocks; what it computes is added to the compressed image.

    image -> unshuffle -> conv -> blocks -> conv -> shuffle -> + image
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        channels = 3 * UNSHUFFLE**2
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.leave = _zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """(batch, 3, height, width) in [0, 1] to the restored image; sides are multiples of `STRIDE`."""
        x = self.enter(F.pixel_unshuffle(image_BCHW, UNSHUFFLE))
        change = self.leave(x + self.blocks(x))
        return image_BCHW + F.pixel_shuffle(change, UNSHUFFLE)


class UNetGenerator(nn.Module):
    """Residual blocks at three scales with connections across; also added to the compressed image."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        channels = 3 * UNSHUFFLE**2
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(width * f, 2 * width * f, 3, stride=2, padding=1) for f in (1, 2)
        )
        self.up = nn.ModuleList(nn.Conv2d(3 * width * f, width * f, 3, padding=1) for f in (2, 1))
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks)))
        self.leave = _zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """As `ResidualGenerator`."""
        x = F.leaky_relu(self.enter(F.pixel_unshuffle(image_BCHW, UNSHUFFLE)), LEAK)
        kept = []
        for down in self.down:
            kept.append(x)
            x = F.leaky_relu(down(x), LEAK)
        x = self.blocks(x)
        for up, across in zip(self.up, reversed(kept), strict=True):
            larger = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.leaky_relu(up(torch.cat([larger, across], dim=1)), LEAK)
        return image_BCHW + F.pixel_shuffle(self.leave(x), UNSHUFFLE)


class NafBlock(nn.Module):
    """NAFNet's block: gates in place of activations, attention over channels (arXiv:2204.04676)."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attend = nn.Conv2d(width, width, 1)
        self.project = nn.Conv2d(width, width, 1)
        self.feed = nn.Conv2d(width, 2 * width, 1)
        self.leave = nn.Conv2d(width, width, 1)
        # At first the block changes nothing, as in the source.
        self.scales = nn.Parameter(torch.zeros(2, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, height, width) to the same."""
        y = _gate(self.depthwise(self.widen(_over_channels(self.norms[0], x))))
        y = self.project(y * self.attend(local_mean(y, self.window)))
        x = x + y * self.scales[0]
        y = self.leave(_gate(self.feed(_over_channels(self.norms[1], x))))
        changed: Tensor = x + y * self.scales[1]
        return changed


class NafGenerator(nn.Module):
    """NAFNet's blocks between the ends of `ResidualGenerator`, at one scale."""

    def __init__(self, width: int, blocks: int, window: int) -> None:
        super().__init__()
        channels = 3 * UNSHUFFLE**2
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(NafBlock(width, window) for _ in range(blocks)))
        self.leave = _zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """As `ResidualGenerator`."""
        x = self.blocks(self.enter(F.pixel_unshuffle(image_BCHW, UNSHUFFLE)))
        return image_BCHW + F.pixel_shuffle(self.leave(x), UNSHUFFLE)


def local_mean(x: Tensor, window: int) -> Tensor:
    """Mean over a window around each place, moved inside at the borders; of smaller maps, over all places.

    Attention that was trained on means over crops gets means over areas of their size in whole images too
    (arXiv:2112.04491).

    Returns:
        (batch, channels, height, width), or (batch, channels, 1, 1) of a map that the window covers.
    """
    height, width = (min(window, side) for side in x.shape[-2:])
    if (height, width) == tuple(x.shape[-2:]):
        return x.mean(dim=(2, 3), keepdim=True)
    sums = F.pad(x.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
    lower, upper = sums[:, :, height:], sums[:, :, :-height]
    total = lower[..., width:] - lower[..., :-width] - upper[..., width:] + upper[..., :-width]
    (top, bottom), (left, right) = (((n - 1) // 2, n // 2) for n in (height, width))
    means = (total / (height * width)).to(x.dtype)
    return F.pad(means, (left, right, top, bottom), mode="replicate")


def _gate(x: Tensor) -> Tensor:
    """One half of the channels times the other."""
    one, other = x.chunk(2, dim=1)
    return one * other


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm of the last dimension, over channels."""
    normed: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return normed


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of an image beside the compressed one (arXiv:1611.07004)."""

    def __init__(self, width: int, *, normalised: bool) -> None:
        super().__init__()
        widths = (6, width, 2 * width, 4 * width)
        pairs = itertools.pairwise(widths)
        layers = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairs]
        last = nn.Conv2d(widths[-1], 1, 3, padding=1)
        every: list[nn.Module] = [*layers, last]
        if normalised:
            every = [spectral_norm(layer) for layer in every]
        self.layers = nn.ModuleList(every)

    def forward(self, image_BCHW: Tensor, compressed_BCHW: Tensor) -> list[Tensor]:
        """Features of each layer; the last is (batch, 1, height / 8, width / 8) of judgements."""
        x = torch.cat([image_BCHW, compressed_BCHW], dim=1) * 2 - 1
        features = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), LEAK)
            features.append(x)
        return [*features, self.layers[-1](x)]


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators of the image, of half of it, ... (arXiv:1711.11585)."""

    def __init__(self, width: int, scales: int, *, normalised: bool) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(width, normalised=normalised) for _ in range(scales)
        )

    def forward(self, image_BCHW: Tensor, compressed_BCHW: Tensor) -> list[list[Tensor]]:
        """Features by scale and layer."""
        found = []
        for i, discriminator in enumerate(self.scales):
            if i:
                image_BCHW = F.avg_pool2d(image_BCHW, 2)
                compressed_BCHW = F.avg_pool2d(compressed_BCHW, 2)
            found.append(discriminator(image_BCHW, compressed_BCHW))
        return found


def build_generator(config: RestorationConfig) -> nn.Module:
    """An untrained generator: it gives back what it is given."""
    if config.generator == "nafnet":
        return NafGenerator(config.width, config.blocks, config.crop_size // UNSHUFFLE)
    kind = {"residual": ResidualGenerator, "unet": UNetGenerator}[config.generator]
    return kind(config.width, config.blocks)


def build_discriminator(config: RestorationConfig) -> MultiScaleDiscriminator:
    """Untrained discriminators."""
    return MultiScaleDiscriminator(
        config.discriminator_width, config.scales, normalised=config.spectral_norm
    )


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
