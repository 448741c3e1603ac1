"""Where interference lives: which part of an adapted codec the forgetting comes from.

Components of the adapted codec are swapped back into the source codec, in every combination, and the
source domain's loss is measured. A component's share is its Shapley value (Shapley 1953): its mean
effect over all orders in which the parts can be swapped. The shares add up to the whole forgetting, which
single swaps do not, because an encoder and its decoder change together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import nn

from interfero.adaptation.method import COMPONENTS, AdaptedCodec
from interfero.codecs.coding import mean_score, score_estimated
from interfero.domains.images import Sample
from interfero.metrics.forgetting import percent

MAX_IMAGES = 6
"""Source test images it is measured on: sixteen combinations of four components each."""


@dataclass(frozen=True)
class Hybrid:
    """A mixture of source and adapted components, for estimates only."""

    model: nn.Module
    stride: int
    codec_id: bytes = b""
    adapter_id: bytes | None = None
    roots: tuple[nn.Module, ...] = ()


def attribution(
    adapted: AdaptedCodec, samples: Sequence[Sample], rd_lambda: float
) -> dict[str, float]:
    """Shapley shares of the unrouted forgetting, in percent of the source codec's estimated loss.

    Args:
        adapted: In target mode.
        samples: Images of the source domain; the first `MAX_IMAGES` are used.
        rd_lambda: Weight of distortion.

    Returns:
        `attribution/NAME_percent` for each component, and their sum as `attribution/total_percent`.

    Raises:
        CodecError: the method's forgetting cannot be parted.
    """

    def loss(names: frozenset[str]) -> float:
        hybrid = Hybrid(adapted.with_components(names), adapted.stride)
        scores = [score_estimated(hybrid, sample) for sample in samples[:MAX_IMAGES]]
        return mean_score(scores, rd_lambda)["rd_loss"]

    values = {names: loss(names) for names in _subsets(tuple(COMPONENTS))}
    before = values[frozenset()]
    shares = shapley_values(tuple(COMPONENTS), values.__getitem__)
    metrics = {f"attribution/{n}_percent": percent(v, before) for n, v in shares.items()}
    whole = values[frozenset(COMPONENTS)] - before
    return {**metrics, "attribution/total_percent": percent(whole, before)}


def shapley_values(
    players: Sequence[str], value: Callable[[frozenset[str]], float]
) -> dict[str, float]:
    """Each player's mean marginal effect over all orders of joining.

    Args:
        players: Names.
        value: What a set of them is worth.

    Returns:
        By player; they add up to `value(all) - value(none)`.
    """
    count = len(players)
    shares = {}
    for player in players:
        others = tuple(p for p in players if p != player)
        shares[player] = sum(
            math.factorial(len(s)) * math.factorial(count - len(s) - 1)
            * (value(s | {player}) - value(s))
            for s in _subsets(others)
        ) / math.factorial(count)  # fmt: skip
    return shares


def _subsets(names: Sequence[str]) -> list[frozenset[str]]:
    sizes = range(len(names) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(names, size)]
