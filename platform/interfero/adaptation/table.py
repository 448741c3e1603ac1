"""The methods by name, without their code: what a command line has to know before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TrainsOn = Literal["target", "source", "both"]
"""Domains whose training images a method sees."""
WHOLE_CODEC = (3e-5, 1e-4, 3e-4)
"""Learning rates where all of a source codec learns; docs/learning_rates.md has the evidence of all grids."""
LARGER_STEPS = (1e-4, 3e-4, 1e-3)
CUSTOM_CHANNELS = (3e-4, 1e-3, 3e-3, 1e-2)
BRANCHES = (1e-3, 3e-3, 1e-2)
LATENTS = (1e-2, 3e-2, 1e-1)
"""Step sizes of latents, whose rounding is to integers."""
ONE = (1.0,)
"""Strength of a term whose weight trades nothing that a comparison shows."""


@dataclass(frozen=True)
class MethodEntry:
    """What a method's class says of it (see `interfero.adaptation.method.Method`)."""

    size_unit: str | None = None
    strength_unit: str | None = None
    trains_on: TrainsOn = "target"
    learning_rates: tuple[float, ...] = WHOLE_CODEC
    strengths: tuple[float, ...] = ONE
    random_init: bool = True
    trains: bool = True
    all_rates: bool = False


METHOD_TABLE: dict[str, MethodEntry] = {
    "finetune": MethodEntry(random_init=False),
    "finetune_encoder": MethodEntry(random_init=False),
    "finetune_decoder": MethodEntry(learning_rates=LARGER_STEPS, random_init=False),
    "freeze_entropy": MethodEntry(random_init=False),
    "from_scratch": MethodEntry(learning_rates=LARGER_STEPS),
    "continue_source": MethodEntry(trains_on="source", random_init=False),
    "cawf": MethodEntry(size_unit="channels", learning_rates=CUSTOM_CHANNELS),
    "cawf_two_way": MethodEntry(size_unit="channels", learning_rates=CUSTOM_CHANNELS),
    "lora": MethodEntry(size_unit="rank", learning_rates=BRANCHES),
    "lora_transforms": MethodEntry(size_unit="rank", learning_rates=BRANCHES),
    "lora_entropy": MethodEntry(size_unit="rank", learning_rates=BRANCHES),
    "rslora": MethodEntry(size_unit="rank", learning_rates=BRANCHES),
    "dora": MethodEntry(size_unit="rank", learning_rates=BRANCHES),
    "lora_all_rates": MethodEntry(size_unit="rank", learning_rates=BRANCHES, all_rates=True),
    "residual_adapter": MethodEntry(
        size_unit="kernel side", learning_rates=LARGER_STEPS, random_init=False
    ),
    "gated_adapters": MethodEntry(
        "channels", "loss per nat of the gate's cross-entropy", "both", BRANCHES
    ),
    "bias_gain": MethodEntry(learning_rates=BRANCHES, random_init=False),
    "latent_refinement": MethodEntry(learning_rates=LATENTS, random_init=False, trains=False),
    "regularised_refinement": MethodEntry(
        strength_unit="a bit of the term against a coded bit, as in the paper",
        learning_rates=LATENTS,
        random_init=False,
        trains=False,
    ),
    "l2_sp": MethodEntry(
        strength_unit="the paper's alpha of 0.01", strengths=(30.0, 100.0, 300.0), random_init=False
    ),
    "ewc": MethodEntry(
        strength_unit="one source crop's evidence", strengths=(1.0, 3.0, 10.0), random_init=False
    ),
    "distill": MethodEntry(
        strength_unit="weight of the teacher's loss against the target's",
        strengths=(1.0, 3.0, 10.0),
        random_init=False,
    ),
    "replay": MethodEntry(
        strength_unit="weight of the source half against the target half",
        trains_on="both",
        strengths=(0.3, 1.0, 3.0),
        random_init=False,
    ),
}
"""Entries of all methods, in the order of `METHODS`; a test checks that the two are equal."""


def trains(method: str) -> bool:
    """Whether a method has steps of training; one that is not known does."""
    return METHOD_TABLE.get(method, MethodEntry()).trains
