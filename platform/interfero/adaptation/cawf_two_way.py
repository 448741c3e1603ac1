"""CAwF, the two-way reading: parallel branches that write into the source's activations.

The other reading of Katakol et al., "DANICE", arXiv:2104.09370. Custom channels run beside every chain
of the source codec, as in `cawf`, but what they compute is added to the source's activations:

            [s']   [ W_ss  W_sc ] [s]          W_ss is the source's and frozen,
            [c'] = [ W_cs  W_cc ] [c]          W_sc starts at zero

Latents and entropy parameters change with them, and the base layer is lost: an old decoder cannot show
a target stream. Source mode is still the source codec, because the branch is off. The source's GDN sees
source channels only; custom channels have a GDN of their own that reads both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, Convolution, is_below, like
from interfero.adaptation.method import Method
from interfero.adaptation.one_way import OneWayChain, readable
from interfero.adaptation.patching import answering
from interfero.adaptation.table import CUSTOM_CHANNELS
from interfero.codecs.codec import Codec
from interfero.errors import CodecError
from interfero.randomness import Role, seed_for

CHAINS = ("g_a", "h_a", "h_s", "g_s", "entropy_parameters")


class TwoWayChain(nn.Module):
    """A source chain with custom channels that read and write its activations."""

    exact: ClassVar[bool] = True

    def __init__(self, source: nn.Sequential, num_custom: int) -> None:
        """Mirror `source`; the caller seeds the generator.

        Raises:
            CodecError: a layer of `source` has no custom form.
        """
        super().__init__()
        self._source = (source,)
        writes = {i: m for i, m in enumerate(source) if isinstance(m, Convolution)}
        self._last = max(writes, default=0)
        # Up to the last convolution, which has no custom output: what it would write is `back`.
        before = source[: self._last]
        self.custom = OneWayChain(
            before, num_custom=num_custom, custom_in=0, custom_out=num_custom, to_the_end=True
        )
        _, *rest = writes
        self.back = nn.ModuleDict(
            {str(i): _zero(like(writes[i], num_custom, writes[i].out_channels)) for i in rest}
        )

    def forward(self, x: Tensor) -> Tensor:
        """What the source chain gives, with the custom channels in it."""
        custom: Tensor | None = None
        for i, layer in enumerate(self._source[0]):
            s = layer(x)
            if str(i) in self.back:
                s = s + self.back[str(i)](custom)
            if i < self._last:
                custom = self.custom.step(i, readable(layer, x), custom)
            x = s
        return x


def _zero(layer: Convolution) -> Convolution:
    nn.init.zeros_(layer.weight)
    return layer


class TwoWayCodec(BranchedCodec):
    """The source codec, whose chains are replaced by two-way ones for the time of a pass."""

    @contextmanager
    def attached(self, prefixes: tuple[str, ...] = ("",)) -> Iterator[None]:
        """Let each chain answer with its two-way form, in target mode."""
        with ExitStack() as stack:
            for name, chain in self.branches.items():
                if self.mode == "target" and is_below(name, prefixes):
                    source = self.source.get_submodule(name)
                    stack.enter_context(answering(source, lambda x, chain=chain: chain(x)))
            yield


class CawfTwoWay(Method):
    """Two-way CAwF: more gain than the one-way form, and no base layer."""

    name: ClassVar[str] = "cawf_two_way"
    paper: ClassVar[str] = "arXiv:2104.09370, two-way reading"
    size_unit: ClassVar[str | None] = "channels"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = CUSTOM_CHANNELS
    fuses: ClassVar[bool] = True

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> TwoWayCodec:
        """Custom channels in every chain of the source codec.

        Raises:
            CodecError: a layer that is no convolution, transposed convolution, GDN or ReLU; names it.
        """
        chains = {n: m for n, m in source.model.named_children() if n in CHAINS}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(init_seed, adapter_size, Role.INIT, label=self.name))
            built = {}
            for name, chain in chains.items():
                try:
                    built[name] = TwoWayChain(chain, adapter_size)
                except CodecError as error:
                    raise CodecError(f"{name}: {error}") from error
            return TwoWayCodec(source, built)
