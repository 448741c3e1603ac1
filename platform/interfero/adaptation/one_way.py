"""Block-triangular layers: custom channels read source channels, source channels never read custom ones.

A custom chain runs beside a chain of source layers. Layer by layer it sees what the source layer saw,
concatenated with its own channels, and writes custom channels only. Source activations therefore
depend on no custom parameter: they need no gradient, and all members of a pack can share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from compressai.layers import GDN
from compressai.ops.parametrizers import NonNegativeParametrizer
from torch import Tensor, nn

from interfero.adaptation.subpixel import transposed
from interfero.codecs.exact import joined
from interfero.errors import CodecError

Activations = tuple[Tensor, ...]
"""What custom layers read of a source chain, in order: each layer's input, that of GDN squared."""


def walk(chain: nn.Sequential, x_BCHW: Tensor) -> tuple[Activations, Tensor]:
    """Run a source chain and keep what is read; the output is that of `chain(x)`, bit for bit."""
    inputs = []
    for layer in chain:
        read = readable(layer, x_BCHW)
        inputs.append(read)
        x_BCHW = _normalised(layer, x_BCHW, read) if type(layer) is GDN else layer(x_BCHW)
    return tuple(inputs), x_BCHW


def readable(layer: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What a custom layer beside `layer` reads of its input; squares are computed once for all."""
    return x_BCHW.square() if isinstance(layer, GDN | OneWayGDN) else x_BCHW


def _normalised(layer: GDN, x_BCHW: Tensor, squared_BCHW: Tensor) -> Tensor:
    """`layer(x)`, its squares given."""
    gamma = layer.gamma_reparam(layer.gamma)[:, :, None, None]
    norm = nn.functional.conv2d(squared_BCHW, gamma, layer.beta_reparam(layer.beta))
    return x_BCHW * (torch.sqrt(norm) if layer.inverse else torch.rsqrt(norm))


class OneWayGDN(nn.Module):
    """GDN of custom channels, normalised by source and custom channels together.

    `y_i = x_i / sqrt(beta_i + sum_j gamma_ij * x_j**2)` (Balle et al., arXiv:1511.06281), i over
    custom channels, j over source and custom ones. It starts without any source term.
    """

    def __init__(self, num_source: int, num_custom: int, *, inverse: bool) -> None:
        """Start like CompressAI's GDN: beta 1, gamma 0.1 on the custom diagonal."""
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = NonNegativeParametrizer(minimum=1e-6)
        self.beta = nn.Parameter(self.beta_reparam.init(torch.ones(num_custom)))
        self.gamma_reparam = NonNegativeParametrizer()
        gamma = torch.cat([torch.zeros(num_custom, num_source), 0.1 * torch.eye(num_custom)], dim=1)
        self.gamma = nn.Parameter(self.gamma_reparam.init(gamma))

    def forward(self, squared_source_BCHW: Tensor, custom_BCHW: Tensor) -> Tensor:
        """(batch, custom, H, W), normalised."""
        gamma = self.gamma_reparam(self.gamma)[:, :, None, None]
        sizes = [squared_source_BCHW.shape[1], custom_BCHW.shape[1]]
        of_source, of_custom = gamma.split(sizes, dim=1)
        norm = nn.functional.conv2d(custom_BCHW.square(), of_custom, self.beta_reparam(self.beta))
        norm = norm + nn.functional.conv2d(squared_source_BCHW, of_source)
        return custom_BCHW * (torch.sqrt(norm) if self.inverse else torch.rsqrt(norm))


class OneWayChain(nn.Module):
    """Custom channels beside a chain of convolutions, transposed convolutions, GDN and ReLUs."""

    exact: ClassVar[bool] = True

    def __init__(
        self,
        source: nn.Sequential | OneWayChain,
        *,
        num_custom: int,
        custom_in: int,
        custom_out: int,
        zero_head: bool = False,
        to_the_end: bool = False,
    ) -> None:
        """Mirror `source`.

        Args:
            source: The chain to run beside; of one that is itself custom, its channels and all that it
                reads are read.
            num_custom: Custom channels of inner layers.
            custom_in: Custom channels that come with the chain's input.
            custom_out: Channels the last layer writes.
            zero_head: Start the last convolution at zero, so that it adds nothing yet.
            to_the_end: Mirror what follows the last convolution as well; else (a ReLU on scales, say)
                it is the source's business.

        Raises:
            CodecError: a layer of `source` has no one-way form.
        """
        super().__init__()
        beside = [*(source.layers if isinstance(source, OneWayChain) else source)]
        convolutions = [i for i, m in enumerate(beside) if _is_convolution(m)]
        if not convolutions:
            raise CodecError(_no_form(0, beside[0]))
        layers: list[nn.Module] = []
        present = custom_in
        end = len(beside) if to_the_end else convolutions[-1] + 1
        for i, layer in enumerate(beside[:end]):
            if _is_convolution(layer):
                after = custom_out if i == convolutions[-1] else num_custom
                layers.append(_one_way_convolution(layer, present, after))
                present = after
            elif isinstance(layer, GDN | OneWayGDN):
                layers.append(OneWayGDN(layer.gamma.shape[1], present, inverse=layer.inverse))
            elif isinstance(layer, nn.ReLU | nn.LeakyReLU):
                layers.append(out_of_place(layer))
            else:
                raise CodecError(_no_form(i, layer))
        self.layers: nn.ModuleList = nn.ModuleList(layers)
        self._head = convolutions[-1]
        if zero_head:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    @property
    def head(self) -> nn.Conv2d | nn.ConvTranspose2d:
        """The last convolution."""
        layer = self.layers[self._head]
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        return layer

    def forward(self, activations: Sequence[Tensor], custom_BCHW: Tensor | None) -> Tensor:
        """Run the custom chain.

        Args:
            activations: What is read of each source layer (see `walk`).
            custom_BCHW: Custom channels of the chain's input; None if it has none.
        """
        x = custom_BCHW
        for i, source in enumerate(activations[: len(self.layers)]):
            x = self.step(i, source, x)
        assert x is not None
        return x

    def walk(
        self, activations: Sequence[Tensor], custom_BCHW: Tensor | None
    ) -> tuple[Activations, Tensor]:
        """Run the custom chain and keep what a chain beside it reads: of source and custom channels.

        Args:
            activations: What is read of each source layer.
            custom_BCHW: Custom channels of the chain's input; None if it has none.
        """
        read, x = [], custom_BCHW
        for i, source in enumerate(activations[: len(self.layers)]):
            own = [] if x is None else [readable(self.layers[i], x)]
            read.append(torch.cat([source, *own], dim=1))
            x = self.step(i, source, x)
        assert x is not None
        return tuple(read), x

    def step(self, index: int, source_BCHW: Tensor, custom_BCHW: Tensor | None) -> Tensor:
        """One layer of the custom chain.

        Args:
            index: Of the layer.
            source_BCHW: What is read of the source layer (see `readable`).
            custom_BCHW: Custom channels beside it; None where there are none yet.
        """
        layer = self.layers[index]
        if _is_convolution(layer):
            return _both_convolved(layer, source_BCHW, custom_BCHW)
        assert custom_BCHW is not None
        pair = (source_BCHW, custom_BCHW) if isinstance(layer, OneWayGDN) else (custom_BCHW,)
        custom: Tensor = layer(*pair)
        return custom


def out_of_place(layer: nn.ReLU | nn.LeakyReLU) -> nn.LeakyReLU:
    """The same function, without changing its input."""
    return nn.LeakyReLU(getattr(layer, "negative_slope", 0.0))


def _no_form(index: int, layer: nn.Module) -> str:
    return (
        f"layer {index} ({type(layer).__name__}) has no custom channels beside it: cawf adapts chains "
        "of convolutions, transposed convolutions, GDN and ReLU"
    )


def _both_convolved(layer: nn.Module, source_BCHW: Tensor, custom_BCHW: Tensor | None) -> Tensor:
    """`layer` of source and custom channels, without joining them.

    Source activations need no gradient: of joined channels, most of the gradient that is computed for
    the layer's input would be thrown away.
    """
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    exact = joined(layer, source_BCHW, custom_BCHW)
    if exact is not None:
        return exact
    if custom_BCHW is None:
        return _convolved(layer, source_BCHW, layer.weight, layer.bias)
    sizes = [source_BCHW.shape[1], custom_BCHW.shape[1]]
    if isinstance(layer, nn.ConvTranspose2d):
        of_source, of_custom = layer.weight.split(sizes, dim=0)
        return transposed(layer, custom_BCHW, of_custom, layer.bias, (source_BCHW, of_source))
    of_source, of_custom = layer.weight.split(sizes, dim=1)
    custom = _convolved(layer, custom_BCHW, of_custom, layer.bias)
    return custom + _convolved(layer, source_BCHW, of_source, None)


def _convolved(
    layer: nn.Conv2d | nn.ConvTranspose2d, x_BCHW: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """What `layer` does, with another kernel in its layout."""
    if isinstance(layer, nn.ConvTranspose2d):
        return transposed(layer, x_BCHW, weight, bias)
    return nn.functional.conv2d(x_BCHW, weight, bias, layer.stride, layer.padding)


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)


def _one_way_convolution(layer: nn.Module, custom_in: int, custom_out: int) -> nn.Module:
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    common = (layer.in_channels + custom_in, custom_out, layer.kernel_size, layer.stride)
    if isinstance(layer, nn.ConvTranspose2d):
        return nn.ConvTranspose2d(*common, layer.padding, layer.output_padding)  # type: ignore[arg-type]
    return nn.Conv2d(*common, layer.padding)  # type: ignore[arg-type]
