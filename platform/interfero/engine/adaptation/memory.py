"""How much memory a pack needs, and how much there is.

A member's state is counted exactly: its parameters with gradient and Adam's two moments, and whatever
else it carries. A step's activations are counted in real steps on small crops, by what autograd
saves for the backward pass, and grow with the pixels of a batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from interfero.adaptation.method import AdaptedCodec, Batch, Method, Role
from interfero.codecs.codec import Codec, Shape
from interfero.codecs.noise import NoiseKey
from interfero.engine.adaptation.nodes import LoopConfig

SAFETY = 0.8
"""Share of the free memory that is planned with: evaluation and other programs want some as well."""
LEARNING_COPIES = 3
"""Copies of a learning parameter beside its value: gradient and Adam's two moments."""
TRANSIENT = 2.0
"""Peak of a step over what autograd saves: gradients of activations, a convolution's own buffers.

Against the peak resident memory of packs of the bundled codec (8 or 16 crops of 128 pixels, one
thread), estimates lay between 25 % below (8 members of cawf) and 14 % above (2 of distill).
"""
PROBE_BATCHES, PROBE_SIDE = (2, 4), 64
"""Crops and their side in pixels of the steps that are looked at."""
MIB = 1024**2


@dataclass(frozen=True)
class Footprint:
    """Bytes that members of one method need."""

    state: int
    """A member between steps."""
    step: int
    """A step at its peak, beside the state."""
    shared: int
    """Activations of the frozen source that all members read, and the batch."""

    def of_pack(self, members: int, *, fused: bool = False) -> int:
        """A pack of so many; members step one after the other unless they are fused."""
        return members * self.state + self.shared + (members if fused else 1) * self.step

    def members_in(self, room: int, *, fused: bool = False) -> int:
        """Members that fit `room` bytes; 0 where not even one does."""
        each = self.state + (self.step if fused else 0)
        once = self.shared + (0 if fused else self.step)
        return max(0, (room - once) // max(1, each))


def footprint(method: Method, codec: Codec, adapter_size: int, loop: LoopConfig) -> Footprint:
    """What a method needs, from two small steps in float32; nothing learns, the codec stays as it is.

    bfloat16 needs less. `codec` stays on the CPU.
    """
    key = (method, codec.shape, codec.weights_hash, adapter_size)
    if key not in _PROBED:
        _PROBED[key] = _probe(method, codec, adapter_size)
    probe = _PROBED[key]
    # Two sizes tell what grows with the pixels from what does not: a penalty on weights, say.
    crops = loop.batch_size * loop.crop_size**2 / PROBE_SIDE**2
    saved, shared = (
        a + (b - a) / (PROBE_BATCHES[1] - PROBE_BATCHES[0]) * (crops - PROBE_BATCHES[0])
        for a, b in zip(probe.few, probe.more, strict=True)
    )
    return Footprint(state=probe.state, step=round(TRANSIENT * saved), shared=round(shared))


@dataclass(frozen=True)
class _Probe:
    """Bytes that were counted."""

    state: int
    """As in `Footprint`."""
    few: tuple[int, int]
    """Of a step on the smaller batch: what autograd saves, and what it is given."""
    more: tuple[int, int]
    """Of a step on the larger one."""


_PROBED: dict[tuple[Method, Shape, str, int], _Probe] = {}
"""What this process has counted by method, codec and adapter size: whoever plans once plans often."""


def _probe(method: Method, codec: Codec, adapter_size: int) -> _Probe:
    adapted = method.build(codec, adapter_size, 0)
    adapted.train_parameters()
    adapted.train()
    one = Batch({"source": _picture(codec, 1)}, NoiseKey(0, 0, 1), codec.rd_lambda)
    method.prepare(adapted, lambda index: one)
    given = _Bytes([*codec.model.parameters(), *codec.model.buffers()])
    state = _Bytes(_tensors_of(adapted), given.seen)
    few, more = (_step_bytes(method, adapted, codec, batch, state.seen) for batch in PROBE_BATCHES)
    learning = sum(p.numel() * p.element_size() for p in adapted.parameters() if p.requires_grad)
    return _Probe(state.total + LEARNING_COPIES * learning, few, more)


def _step_bytes(
    method: Method, adapted: AdaptedCodec, codec: Codec, batch_size: int, present: Seen
) -> tuple[int, int]:
    """Bytes that autograd saves in a step, and bytes of what it is given: batch and shared pass."""
    picture = partial(_picture, codec, batch_size)
    images: dict[Role, Tensor] = {"target": picture(), "source": picture()}
    noise = NoiseKey(0, 0, batch_size)
    shared = method.shared_pass(codec, images["target"], noise)
    once = _Bytes([*_tensors_in(shared), *images.values()], present)
    saved = _Bytes([], once.seen)
    with torch.autograd.graph.saved_tensors_hooks(saved.see, lambda tensor: tensor):
        method.loss(adapted, Batch(images, noise, codec.rd_lambda, 1.0, shared))
    return saved.total, once.total


def _picture(codec: Codec, batch_size: int) -> Tensor:
    """A ramp: the pixels decide nothing here, and nothing is drawn from the global generator."""
    shape = (batch_size, codec.shape.image_channels, PROBE_SIDE, PROBE_SIDE)
    return torch.linspace(0, 1, math.prod(shape)).view(shape)


Seen = Mapping[int, Tensor]


class _Bytes:
    """Adds up the storages of tensors, each once."""

    def __init__(self, tensors: Iterable[Tensor], present: Seen | None = None) -> None:
        # Tensors are kept: memory that was given back would pass for seen when it is used again.
        self.seen = dict(present or {})
        self.total = 0
        for tensor in tensors:
            self.see(tensor)

    def see(self, tensor: Tensor) -> Tensor:
        """Count a tensor; gives it back."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen[storage.data_ptr()] = tensor
            self.total += storage.nbytes()
        return tensor


def _tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters, buffers, and tensors that a method keeps beside them (importances, say)."""
    loose = [
        tensor
        for part in module.modules()
        for name, value in vars(part).items()
        # The source codec, which all members share.
        if name != "_source" and not isinstance(value, nn.Module)
        for tensor in _tensors_in(value)
    ]
    return [*module.parameters(), *module.buffers(), *loose]


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested containers and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _tensors_in(getattr(value, field.name))


def room_for_pack(at_once: int, device: str, gpus_per_trial: float) -> int | None:
    """Bytes that one of `at_once` packs may take on this machine; None where that cannot be read."""
    if device == "cuda":
        if not torch.cuda.is_available():
            return None
        free, _ = torch.cuda.mem_get_info()
        return int(SAFETY * free * min(1.0, gpus_per_trial))
    free_bytes = available_bytes()
    if free_bytes is None:
        return None
    # An actor loads what this process has loaded: libraries, codecs and domains.
    # Its own pages alone: those of shared libraries are there once for all.
    own = int(psutil.Process().memory_full_info().uss)
    return int(SAFETY * free_bytes / at_once) - own


def available_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that can still be had, a container's limit included; None where it cannot be read."""
    try:
        free = int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, NotImplementedError):
        return None
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            allowed = int((cgroups / limit).read_text())
            used = int((cgroups / usage).read_text()) - _cached(cgroups / limit)
        except (OSError, ValueError):
            continue  # Another version of cgroups, or "max": no limit.
        free = min(free, max(0, allowed - used))
    return free


def _cached(limit: Path) -> int:
    """Pages of files that a container gives back when it needs them."""
    for line in (limit.parent / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def mebibytes(number: float) -> str:
    """Bytes as a person reads them."""
    return (
        f"{number / MIB:,.0f} MiB"
        if number < 10 * 1024 * MIB
        else f"{number / MIB / 1024:,.0f} GiB"
    )
