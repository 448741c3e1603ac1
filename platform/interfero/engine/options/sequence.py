"""Options of sweeps in which a codec meets one domain after another."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.base import FLAG, EarlyStopping, Sampler, SweepOptions
from interfero.engine.options.marks import FREE, HIDDEN, QUESTION, TRAINING
from interfero.engine.options.rules import Rule, list_rules, number_rules
from interfero.engine.sequence.orders import list_orders
from interfero.engine.sequence.strategies import STRATEGIES, WORDS, Buffer, MemoryForm
from interfero.errors import ConfigError, nearest


class SequenceOptions(AdaptationOptions):
    """Options of sweeps in which a codec meets one domain after another."""

    domains: Annotated[tuple[str, ...], QUESTION] = ()
    """Domains to meet: bundled NAMEs, or NAME=PATH for a folder of images or a Parquet file. Every stage is
    tested on all of them."""
    methods: Annotated[tuple[str, ...], QUESTION] = ("finetune", "replay", "lora")
    """How a codec goes from domain to domain. One codec, trained on: finetune, freeze_entropy (which leaves
    old streams their symbols), replay, ewc, distill, l2_sp, l2_sp_source. An adapter for each domain: lora,
    residual_adapter, cawf, bias_gain, cawf_growing (its channels read those of earlier domains). One codec
    made of several, or of several adapters: merge_mean, task_arithmetic, merge_mean_lora,
    task_arithmetic_lora. For comparison: joint, codec_per_domain."""
    orders: Annotated[tuple[str, ...], QUESTION] = ("latin",)
    """Orders in which domains are met: all, latin (each domain once at each place), balanced (also equally
    often after each other one), given (as --domains lists them), or spelled out, as in 'text>charts'."""
    length: Annotated[int, QUESTION] = 0
    """Domains in a sequence, the same for all orders; 0 is all of --domains, or what is spelled out."""
    memory_images: Annotated[tuple[int, ...], QUESTION] = (16,)
    """Images of the source and of earlier domains that replay may keep, together."""
    buffers: Annotated[tuple[Buffer, ...], QUESTION] = ("reservoir",)
    """Which images replay keeps: reservoir (any image met is equally likely), balanced (equally many per
    domain)."""
    memory_forms: Annotated[tuple[MemoryForm, ...], QUESTION] = ("images",)
    """What replay keeps of an image: images (its pixels), or streams (what the codec in service made of it,
    a small part of the bytes; rehearsed as it decodes)."""
    strengths: Annotated[tuple[float, ...], QUESTION] = (1.0,)
    """Weights of a method's own loss term in its own unit, each a chain of its own; at 1, l2_sp does little
    (docs/methods.md)."""
    num_steps: Annotated[int | tuple[int, ...], TRAINING] = 200
    """Optimiser steps per stage; several values form an axis."""

    design: Annotated[Literal["full", "star"], HIDDEN] = "full"
    """Every combination."""
    schedule: Annotated[Literal["auto", "cosine", "wsd"], HIDDEN] = "cosine"
    """Every stage has a cosine of its own."""
    attribute: Annotated[bool, FLAG, HIDDEN] = False
    """Not measured here."""
    calibrate: Annotated[bool, FLAG, HIDDEN, FREE] = False
    """Nodes of a graph are timed as they are done."""
    sampler: Annotated[Sampler, HIDDEN] = "grid"
    """Every stage is wanted."""
    widen_rates: Annotated[bool, HIDDEN] = True
    """A chain has one learning rate from its first stage on."""
    early_stopping: Annotated[EarlyStopping, HIDDEN] = "none"
    """Every stage is trained to its end."""
    num_samples: Annotated[int, HIDDEN, FREE] = 16
    """No effect: nothing is searched."""
    max_forgetting: Annotated[float | None, HIDDEN] = None
    """Nothing is searched."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the domains."""
        return tuple(spec.partition("=")[0] for spec in self.domains)

    @property
    def order_list(self) -> list[tuple[str, ...]]:
        """The orders in which domains are met.

        Raises:
            ConfigError: see `list_orders`.
        """
        return list_orders(self.names, self.orders, self.length)

    @property
    def trainings(self) -> Self:
        """The same for the trainings of its stages, with the methods that these adapt by."""
        methods = dict.fromkeys(STRATEGIES[m].method for m in self.methods if m in STRATEGIES)
        return self.model_copy(update={"methods": tuple(methods) or ("finetune",)})

    def settled(self) -> Self:
        """See `SweepOptions`: nothing is halved, every stage is wanted."""
        return SweepOptions.settled(self)

    def rules(self) -> list[Rule]:
        """See `SweepOptions`."""
        strange = [m for m in self.methods if m not in STRATEGIES]
        return [
            *list_rules({"--methods": self.methods, "--memory-images": self.memory_images,
                         "--buffers": self.buffers, "--memory-forms": self.memory_forms,
                         "--orders": self.orders}),
            *((True, f"unknown method {m!r}: {_hint(m)}") for m in strange),
            *AdaptationOptions.rules(self.trainings),
            *number_rules({"--memory-images": min(self.memory_images, default=1)},
                          {"--length": self.length}, {}),
            (
                self.length > len(self.domains),
                f"--length {self.length} with {len(self.domains)} --domains: a sequence meets each once; "
                "name more, or ask for a shorter one",
            ),
            *_order_rules(self),
            *_memory_rules(self),
            *_meaningless(self),
        ]  # fmt: skip

    def smallest(self) -> Self:
        """See `SweepOptions`: two domains in one order, every method."""
        few = super().smallest()
        spelled = [word for word in self.orders if word not in WORDS]
        return few.model_copy(
            update={
                "domains": self.domains if spelled else self.domains[:2],
                "orders": tuple(spelled[:1]) or ("given",),
                "length": self.length if spelled else min(self.length, 2),
                "memory_images": self.memory_images[:1],
                "buffers": self.buffers[:1],
                "memory_forms": self.memory_forms[:1],
                "num_steps": min(self.budgets[0], 10),
                "max_source_images": min(self.max_source_images, 2),
                "max_target_images": min(self.max_target_images, 2),
            }
        )


def _hint(method: str) -> str:
    if method in METHOD_TABLE:
        return (
            "it adapts to one domain, and there is no way from one to the next; take one of "
            f"{', '.join(STRATEGIES)}, or compare methods with method_comparison.py"
        )
    return nearest(method, STRATEGIES)


def _order_rules(o: SequenceOptions) -> list[Rule]:
    # Another rule refuses such a length: with it, nothing could be said of orders.
    if 0 <= o.length <= len(o.domains):
        try:
            o.order_list  # noqa: B018 - orders are checked by making them
        except ConfigError as error:
            return [(True, str(error))]
    source = o.source_domain.partition("=")[0]
    return [
        (
            source in o.names,
            f"--domains and --source-domain both have the name {source!r}: rows are told apart by names; "
            "give one of them another, as in NAME=PATH",
        ),
    ]


def _memory_rules(o: SequenceOptions) -> list[Rule]:
    """Options of a memory that no method keeps: refused, not ignored."""
    rehearsing = [name for name, strategy in STRATEGIES.items() if strategy.rehearses]
    # An unknown method may be meant to be one of these: its own rule says so.
    idle = not any(m in rehearsing or m not in STRATEGIES for m in o.methods)
    default = SequenceOptions()
    return [
        (
            idle and getattr(o, name) != getattr(default, name),
            f"--{name.replace('_', '-')} {' '.join(map(str, getattr(o, name)))}: no method of --methods "
            f"rehearses; add {' or '.join(rehearsing)} to --methods, or leave it out",
        )
        for name in ("memory_images", "buffers", "memory_forms")
    ]


def _meaningless(o: SequenceOptions) -> list[Rule]:
    """Options for something this sweep does not do: refused, not ignored."""
    unused = {
        "design": ("full", "every combination is wanted"),
        "schedule": ("cosine", "every stage has a cosine of its own"),
        "attribute": (False, "what is forgotten is measured by domain here"),
        "calibrate": (False, "nodes of a graph are timed as they are done"),
        "sampler": ("grid", "every stage is wanted"),
        "widen_rates": (True, "a chain has one learning rate from its first stage on"),
        "early_stopping": ("none", "the next stage goes on from the last step"),
        "max_forgetting": (None, "nothing is searched"),
    }
    return [
        (
            getattr(o, name) != value,
            f"--{name.replace('_', '-')}"
            f"{'' if isinstance(getattr(o, name), bool) else f' {getattr(o, name)}'}: {why}; leave it out",
        )
        for name, (value, why) in unused.items()
    ]
