"""The methods by name, without their code: what a command line has to know before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TrainsOn = Literal["target", "source", "both"]
"""Domains whose training images a method sees."""
OF_WEIGHTS = (1e-4, 3e-4, 1e-3)
"""Learning rates for parameters that a source codec has already; docs/learning_rates.md has the evidence."""
OF_ADAPTERS = (1e-3, 3e-3, 1e-2)
"""Learning rates for parameters that begin at nothing."""


@dataclass(frozen=True)
class MethodEntry:
    """What a method's class says of it (see `interfero.adaptation.method.Method`)."""

    size_unit: str | None = None
    strength_unit: str | None = None
    trains_on: TrainsOn = "target"
    learning_rates: tuple[float, ...] = OF_WEIGHTS


METHOD_TABLE: dict[str, MethodEntry] = {
    "finetune": MethodEntry(),
    "finetune_encoder": MethodEntry(),
    "finetune_decoder": MethodEntry(),
    "freeze_entropy": MethodEntry(),
    "from_scratch": MethodEntry(),
    "continue_source": MethodEntry(trains_on="source"),
    "cawf": MethodEntry(size_unit="channels", learning_rates=OF_ADAPTERS),
    "cawf_two_way": MethodEntry(size_unit="channels", learning_rates=OF_ADAPTERS),
    "lora": MethodEntry(size_unit="rank", learning_rates=OF_ADAPTERS),
    "residual_adapter": MethodEntry(size_unit="kernel side", learning_rates=OF_ADAPTERS),
    "gated_adapters": MethodEntry(
        "channels", "loss per nat of the gate's cross-entropy", "both", OF_ADAPTERS
    ),
    "bias_gain": MethodEntry(learning_rates=OF_ADAPTERS),
    "l2_sp": MethodEntry(strength_unit="the paper's alpha of 0.01"),
    "ewc": MethodEntry(strength_unit="one source crop's evidence"),
    "distill": MethodEntry(strength_unit="weight of the teacher's loss against the target's"),
    "replay": MethodEntry(None, "weight of the source half against the target half", "both"),
}
"""Entries of all methods, in the order of `METHODS`; a test checks that the two are equal."""
