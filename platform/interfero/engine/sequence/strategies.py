"""The ways to meet one domain after another, and the orders to meet them in; no library is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from interfero.errors import ConfigError, nearest

Kind = Literal["chain", "bank", "grown", "joint", "merged"]
"""chain: one codec, trained on from stage to stage. bank: an adapter a domain, each trained on the source
codec. grown: an adapter a domain, each trained on all that was there before and changing none of it. joint:
one codec, trained on all domains met. merged: one codec, made of what single domains made of the source."""
Buffer = Literal["reservoir", "balanced"]
MemoryForm = Literal["images", "streams"]
"""images: pixels as they were. streams: what the codec in service coded when an image was met, and its pixels
as that codec decoded them."""


@dataclass(frozen=True)
class Strategy:
    """One way to meet one domain after another."""

    kind: Kind
    method: str
    """How a training adapts, a name of `METHOD_TABLE`."""
    rehearses: bool = False
    """Whether it keeps images of earlier domains."""
    anchor: Literal["before", "source"] = "before"
    """The codec whose weights it is pulled to."""
    weights: Literal["mean", "arithmetic"] = "mean"
    """How merged codecs are made one, as of `Merged`."""


STRATEGIES: Final[dict[str, Strategy]] = {
    "finetune": Strategy("chain", "finetune"),
    "freeze_entropy": Strategy("chain", "freeze_entropy"),
    "replay": Strategy("chain", "replay", rehearses=True),
    "ewc": Strategy("chain", "ewc"),
    "distill": Strategy("chain", "distill"),
    "l2_sp": Strategy("chain", "l2_sp"),
    "l2_sp_source": Strategy("chain", "l2_sp", anchor="source"),
    "lora": Strategy("bank", "lora"),
    "residual_adapter": Strategy("bank", "residual_adapter"),
    "cawf": Strategy("bank", "cawf"),
    "bias_gain": Strategy("bank", "bias_gain"),
    "cawf_growing": Strategy("grown", "cawf"),
    "codec_per_domain": Strategy("bank", "finetune"),
    "merge_mean": Strategy("merged", "finetune"),
    "task_arithmetic": Strategy("merged", "finetune", weights="arithmetic"),
    "merge_mean_lora": Strategy("merged", "lora"),
    "task_arithmetic_lora": Strategy("merged", "lora", weights="arithmetic"),
    "joint": Strategy("joint", "finetune"),
}
"""By the command line's word, which records keep as the method."""


WORDS: Final = ("all", "latin", "balanced", "given")
"""Orders that need not be spelled out."""


def orders_of(names: Sequence[str], asked: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """The orders in which domains are met, each once.

    Args:
        names: All domains.
        asked: Each of them a word of `WORDS`, or an order such as `text>charts`.
        length: Domains of an order; an order that is spelled out has its own length.

    Raises:
        ConfigError: an order names a domain that is not there, or one twice.
    """
    found: dict[tuple[str, ...], None] = {}
    for word in asked:
        if word == "all":
            found |= dict.fromkeys(itertools.permutations(names, length))
        elif word in ("latin", "balanced"):
            square = balanced_square(names)
            count = len(names) if word == "latin" else len(square)
            found |= dict.fromkeys(order[:length] for order in square[:count])
        elif word == "given":
            found[tuple(names[:length])] = None
        else:
            found[_spelled(word, names)] = None
    return list(found)


def _spelled(word: str, names: Sequence[str]) -> tuple[str, ...]:
    order = tuple(part.strip() for part in word.replace(",", ">").split(">"))
    for name in order:
        if name not in names:
            # A word by itself may be a misspelled order, one of several can only be a domain.
            known = [*names, *WORDS] if len(order) == 1 else names
            raise ConfigError(
                f"--orders {word!r}: {name!r} is no domain of --domains; {nearest(name, known)}; an order is "
                f"{', '.join(WORDS)}, or names such as 'text>charts'"
            )
    if len(set(order)) < len(order):
        raise ConfigError(f"--orders {word!r} meets one domain twice: name each once")
    return order


def balanced_square(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Orders in which each domain stands equally often at each place and right after each other one.

    Williams' design (Australian Journal of Scientific Research 2, 1949): as many orders as domains for an
    even number of them, twice as many for an odd one, whose first half is a Latin square by itself.
    """
    count = len(names)
    zigzag = [(i + 1) // 2 if i % 2 else (count - i // 2) % count for i in range(count)]
    rows = [tuple((place + shift) % count for place in zigzag) for shift in range(count)]
    if count % 2 and count > 1:
        rows += [row[::-1] for row in rows]
    return list(dict.fromkeys(tuple(names[place] for place in row) for row in rows))
