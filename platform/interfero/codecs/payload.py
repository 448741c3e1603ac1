"""How short a string can be for the picture that a header claims: what keeps a forged size cheap.

A symbol of probability p costs at least -log2(p) bits, also of a rANS stream, so the most probable
symbols of a table give the shortest string that a latent of some size can have. The latent that is
decoded first has a size that comes from the header alone; a string too short for it is refused before
anything of that size is allocated, and all that follows is in proportion to the bytes received.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor, nn

from interfero.errors import BitstreamError

Decompress = Callable[[Sequence[bytes], torch.Size], Tensor]

ROUNDING = 0.999
"""A rANS step rounds its state, of 31 bits and more, down by a 2**-15th of what the symbol adds."""


def least_bits(bottleneck: EntropyBottleneck) -> float:
    """Bits that one position of a latent costs at least, all channels together."""
    tables = bottleneck.quantized_cdf.cpu().numpy()
    lengths = bottleneck.cdf_length.cpu().tolist()
    whole = 1 << bottleneck.entropy_coder_precision
    likeliest = [np.diff(row[:n]).max() for row, n in zip(tables, lengths, strict=True)]
    return float(np.log2(whole / np.asarray(likeliest)).sum())


@contextmanager
def refused_if_short(roots: Iterable[nn.Module]) -> Iterator[None]:
    """While it lasts, entropy bottlenecks below `roots` refuse strings too short for the size asked.

    Raises:
        BitstreamError: inside, when such a string is met.
    """
    modules = {m for root in roots for m in root.modules() if isinstance(m, EntropyBottleneck)}
    with ExitStack() as stack:
        for module in modules:
            # Whatever decodes at present, also a stand-in for CompressAI's own.
            checked = functools.partial(_decompress, module, module.decompress)
            stack.callback(_restore, module, vars(module).get("decompress"))
            vars(module)["decompress"] = checked
        yield


def _restore(module: EntropyBottleneck, before: Decompress | None) -> None:
    del vars(module)["decompress"]
    if before is not None:
        vars(module)["decompress"] = before


def _decompress(
    module: EntropyBottleneck, inner: Decompress, strings: Sequence[bytes], size: torch.Size
) -> Tensor:
    least_bytes = math.floor(ROUNDING * least_bits(module) * math.prod(size) / 8)
    shortest = min(map(len, strings), default=0)
    if shortest < least_bytes:
        raise BitstreamError(
            f"bitstream is damaged: {shortest} bytes cannot hold a latent of {tuple(size)}, which "
            f"takes at least {least_bytes}"
        )
    return inner(strings, size)
