"""What `--precision auto` means: bfloat16 where the hardware has it and it pays, measured once.

STORAGE/precision.json    the answer, by machine. The precision is part of every key: it is never
                          decided again in a storage on the same kind of machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from interfero.engine.measurements import changed_json, json_object

FILE = "precision.json"
WORTH = 1.1
"""bfloat16 has to be this many times faster: less is within the noise of a short measurement."""

TURNS = 2
"""Each precision is timed so often."""

Precision = Literal["bfloat16", "float32"]
StepSeconds = Callable[[Precision], float]
"""Seconds of a training step in a precision, measured now."""


class PrecisionChoice(NamedTuple):
    """A precision and why it is used."""

    precision: Precision
    reason: str


def has_bfloat16(device: str) -> bool:
    """Whether this machine computes bfloat16 natively; emulated, it is many times slower."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def choose_precision(
    asked: Literal["auto", "bfloat16", "float32"], device: str, time_step: StepSeconds | None = None
) -> PrecisionChoice:
    """Resolve `auto`, by measurement where there is a choice.

    Args:
        asked: `--precision`.
        device: `cpu` or `cuda`.
        time_step: Measures; without it bfloat16 is taken wherever it is native.
    """
    if asked != "auto":
        return PrecisionChoice(asked, "as asked for")
    if device == "cuda" and not torch.cuda.is_available():
        return PrecisionChoice("float32", "there is no GPU here that could be asked for bfloat16")
    if not has_bfloat16(device):
        what = "this GPU" if device == "cuda" else "this processor"
        return PrecisionChoice("float32", f"{what} has no bfloat16 of its own")
    if time_step is None:
        return PrecisionChoice("bfloat16", "the machine has it; not timed")
    # Ray starts meanwhile: in turns, and the shorter of each, which nothing else slowed down.
    taken = [(time_step("float32"), time_step("bfloat16")) for _ in range(TURNS)]
    slow, fast = (min(times) for times in zip(*taken, strict=True))
    gain = slow / fast
    return PrecisionChoice("bfloat16" if gain >= WORTH else "float32", _reason(gain))


def _reason(gain: float) -> str:
    if gain >= WORTH:
        return f"{gain:.1f}x as fast here as float32"
    return f"bfloat16 is no gain here: {gain:.2f}x as fast"


def stored_choice(storage: Path, machine: str) -> PrecisionChoice | None:
    """What was decided in this storage on such a machine, if anything was."""
    return _choice(json_object(storage / FILE), machine)


def keep_choice(storage: Path, machine: str, choice: PrecisionChoice) -> PrecisionChoice:
    """Keep a decision, unless another sweep was faster; returns the one that holds.

    Raises:
        StorageError: the storage cannot be written.
    """
    with changed_json(storage / FILE) as kept:
        earlier = _choice(kept, machine)
        if earlier is None:
            kept[machine] = choice._asdict()
    return earlier or choice


def _choice(kept: Mapping[str, Any], machine: str) -> PrecisionChoice | None:
    found = kept.get(machine)
    if not isinstance(found, dict) or found.get("precision") not in ("bfloat16", "float32"):
        return None
    return PrecisionChoice(found["precision"], str(found.get("reason", "")))
