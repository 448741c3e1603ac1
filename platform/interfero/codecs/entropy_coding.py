"""What entropy coding runs in and through: one setting, guarded native coders, recorded symbols.

Within `recorded_symbols` the entropy models below some modules code through `interfero.codecs.rans`:
the same bytes as CompressAI's own, bit for bit, from checked tables without their padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from compressai.models import JointAutoregressiveHierarchicalPriors
from torch import Tensor, nn

from interfero.codecs import rans
from interfero.codecs.entropy_models import (
    build_indexes,
    compress,
    compress_bottleneck,
    compress_pixels,
    decompress,
    decompress_bottleneck,
    decompress_pixels,
)
from interfero.codecs.exact import exact_networks
from interfero.codecs.memory import keep_freed_memory
from interfero.codecs.recording import RecordingCoder


@contextmanager
def coding_setting() -> Iterator[None]:
    """The one setting in which symbols are decided: one thread, float32, no autocast, no gradient."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)


_SHOWN: ContextVar[tuple[int, int] | None] = ContextVar("shown", default=None)


@contextmanager
def shown_size(height: int, width: int) -> Iterator[None]:
    """Say what of a padded picture is shown, for encoders that search."""
    token = _SHOWN.set((height, width))
    try:
        yield
    finally:
        _SHOWN.reset(token)


def size_shown(image_BCHW: Tensor) -> tuple[int, int]:
    """Height and width of what is shown of a padded picture; all of it if nobody said."""
    height, width = image_BCHW.shape[2:]
    return _SHOWN.get() or (height, width)


@contextmanager
def recorded_symbols(
    roots: Iterable[nn.Module],
    open_decoder: rans.OpenDecoder = rans.open_decoder,
    *,
    exact: bool = False,
    given: Sequence[Tensor] = (),
) -> Iterator[RecordingCoder]:
    """Guard every entropy coder below `roots`, and collect symbols in the order they are coded.

    Args:
        roots: Modules that hold the entropy models, and the networks that decide their symbols.
        open_decoder: Where strings are decoded: here, or in a process of their own
            (`rans_guard.open_decoder`).
        exact: Decide symbols in integers, alike on every machine.
        given: Latents to code in place of those that the encoder finds, in coding order.

    Raises:
        CodecError: a network that decides symbols has no integer form.
    """
    coder = RecordingCoder(open_decoder, exact=exact, given=given)
    roots = tuple(roots)
    with exact_networks(roots) if exact else nullcontext(), _replaced(roots, coder):
        yield coder


@contextmanager
def _replaced(roots: Iterable[nn.Module], coder: RecordingCoder) -> Iterator[None]:
    """Let every entropy model below `roots` code through `coder`."""
    replaced: list[tuple[nn.Module, dict[str, Any]]] = []
    try:
        for module in {m: None for root in roots for m in root.modules()}:
            ours = _replacements(module, coder)
            before = {k: v for k, v in vars(module).items() if k in ours}
            replaced.append((module, dict.fromkeys(ours, None) | before))
            vars(module).update(ours)
        yield
    finally:
        for module, before in reversed(replaced):
            for name, value in before.items():
                if value is None:
                    vars(module).pop(name, None)
                else:
                    vars(module)[name] = value


def _replacements(module: nn.Module, coder: RecordingCoder) -> dict[str, Any]:
    """What stands in for the module's own attributes; nothing where a subclass codes otherwise."""
    kind: Any = type(module)
    ours: dict[str, Callable[..., Any] | RecordingCoder] = {}
    if isinstance(module, EntropyModel):
        ours["entropy_coder"] = coder
        if kind.compress is EntropyBottleneck.compress:
            ours["compress"] = partial(compress_bottleneck, module, coder)
        elif kind.compress is EntropyModel.compress:
            ours["compress"] = partial(compress, module, coder)
        if kind.decompress is EntropyBottleneck.decompress:
            ours["decompress"] = partial(decompress_bottleneck, module, coder)
        elif kind.decompress is EntropyModel.decompress:
            ours["decompress"] = partial(decompress, module, coder)
    if getattr(kind, "build_indexes", None) is GaussianConditional.build_indexes:
        ours["build_indexes"] = partial(build_indexes, module, coder)
    base = JointAutoregressiveHierarchicalPriors
    if getattr(kind, "_compress_ar", None) is base._compress_ar:
        ours["_compress_ar"] = partial(compress_pixels, module, coder)
        ours["_decompress_ar"] = partial(decompress_pixels, module, coder)
    return ours


def pad_to_stride(image_CHW: Tensor, stride: int) -> Tensor:
    """(3, H, W) to (1, 3, H', W') with sides that are multiples of `stride`, edges repeated."""
    height, width = image_CHW.shape[-2:]
    padding = (0, -width % stride, 0, -height % stride)
    padded: Tensor = nn.functional.pad(image_CHW[None], padding, mode="replicate")
    return padded
