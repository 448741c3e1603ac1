"""What entropy coding runs in and through: one setting, guarded native coders, recorded symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from compressai.entropy_models import EntropyModel
from torch import Tensor, nn

from interfero.errors import BitstreamError

MAX_SYMBOL = 1 << 20
"""CompressAI's coder loops for ever on the integers that NaN and infinity round to."""
# A rANS decoder that runs past the end reads at most one 32-bit word a symbol; zeros end its escapes.
_GUARD_BYTES_PER_SYMBOL = 16


@contextmanager
def coding_setting() -> Iterator[None]:
    """The one setting in which symbols are decided: one thread, float32, no autocast, no gradient."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)


class RecordingCoder:
    """Stands in for a CompressAI entropy coder: pads what it decodes, and keeps the symbols.

    The native decoder trusts its input. Behind the string it is given zeros, so that a stream met by
    the wrong tables yields wrong symbols instead of a read past the end.
    """

    def __init__(self, coder: Any, symbols: list[list[int]]) -> None:
        """Wrap `coder`; every coded or decoded list of symbols is appended to `symbols`."""
        self.name = coder.name
        self._coder = coder
        self._symbols = symbols

    def encode_with_indexes(self, symbols: list[int], *tables: Any) -> bytes:
        """As CompressAI's, for symbols it can code.

        Raises:
            BitstreamError: a symbol is so large that the native coder would never return.
        """
        largest = max(map(abs, symbols), default=0)
        if largest >= MAX_SYMBOL:
            raise BitstreamError(
                f"a latent of {largest} cannot be coded (below {MAX_SYMBOL} it can): the codec has "
                "diverged, lower the learning rate"
            )
        self._symbols.append(symbols)
        data: bytes = self._coder.encode_with_indexes(symbols, *tables)
        return data

    def decode_with_indexes(self, data: bytes, indexes: list[int], *tables: Any) -> list[int]:
        """As CompressAI's, never reading past the end."""
        guarded = data + bytes(_GUARD_BYTES_PER_SYMBOL * (len(indexes) + 16))
        symbols: list[int] = self._coder.decode_with_indexes(guarded, indexes, *tables)
        self._symbols.append(symbols)
        return symbols


@contextmanager
def recorded_symbols(roots: Iterable[nn.Module]) -> Iterator[list[list[int]]]:
    """Guard every entropy coder below `roots`, and collect symbols in the order they are coded."""
    symbols: list[list[int]] = []
    patched = [m for root in roots for m in root.modules() if isinstance(m, EntropyModel)]
    originals = [m.entropy_coder for m in patched]
    for module, coder in zip(patched, originals, strict=True):
        module.entropy_coder = RecordingCoder(coder, symbols)
    try:
        yield symbols
    finally:
        for module, coder in zip(patched, originals, strict=True):
            module.entropy_coder = coder


def pad_to_stride(image_CHW: Tensor, stride: int) -> Tensor:
    """(3, H, W) to (1, 3, H', W') with sides that are multiples of `stride`, edges repeated."""
    height, width = image_CHW.shape[-2:]
    padding = (0, -width % stride, 0, -height % stride)
    padded: Tensor = nn.functional.pad(image_CHW[None], padding, mode="replicate")
    return padded
