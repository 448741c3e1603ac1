"""The museum of old streams, and what routing costs: both after the last stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from interfero.analysis.sequence.chains import Chain
from interfero.analysis.sequence.measures import SettingRow, values_of
from interfero.analysis.sequence.orders import SequenceMean, mean_of
from interfero.records import CellRecord

Router = Literal["auto", "gate"]
_ARCHIVED = (("pixels_exact", 100), ("symbols_exact", 100), ("refused", 100), ("psnr_drop_db", 1))
"""In the order of `OldStreams`, with what makes percent of a share."""
ROUTERS: dict[Router, str] = {"auto": "tries all, index counted", "gate": "gate"}


@dataclass(frozen=True)
class OldStreams:
    """Streams of one age, decoded by the codec of the last stage."""

    age: int
    """Stages ago; 0 are its own."""
    pixels_exact: SequenceMean
    """Share of streams, in percent, as are the next two."""
    symbols_exact: SequenceMean
    refused: SequenceMean
    psnr_drop_db: SequenceMean


def old_streams(row: SettingRow) -> list[OldStreams]:
    """By age: of the last stage alone, for of earlier stages only the young ages exist."""
    found = []
    for age in range(row.setting.case.length + 1):
        means = [_archived(row, f"archive/{age}/{name}", factor) for name, factor in _ARCHIVED]
        there = [mean for mean in means if mean is not None]
        if len(there) == len(means):
            found.append(OldStreams(age, *there))
    return found


def _archived(row: SettingRow, metric: str, factor: float) -> SequenceMean | None:
    values = values_of(row.chains, lambda chain: chain.last.metrics.get(metric))
    return mean_of({unit: factor * value for unit, value in values.items()})


@dataclass(frozen=True)
class RoutingCost:
    """What it costs that nobody says which domain an image is of."""

    router: Router
    seen: bool
    """Domains that were met, the source among them, after the last stage; else those to come, at every stage
    before it."""
    percent: SequenceMean
    """Loss more than with an oracle, which takes a met domain's own adapter, for others the source codec."""
    wrong_percent: SequenceMean | None
    """Share of images that another adapter coded than the oracle's."""


def routing_costs(row: SettingRow) -> list[RoutingCost]:
    """Of a bank; empty where nothing is routed."""
    found = []
    for router in ROUTERS:
        for seen in (True, False):
            cost = mean_of(values_of(row.chains, partial(_cost, router=router, seen=seen)))
            wrong = mean_of(values_of(row.chains, partial(_wrong, router=router, seen=seen)))
            if cost is not None:
                found.append(RoutingCost(router, seen, cost, wrong))
    return found


def _cost(chain: Chain, router: Router, seen: bool) -> float | None:
    return _mean(
        100 * (row.metrics[f"row/{d}/rd_loss_{router}"] / row.metrics[f"row/{d}/rd_loss"] - 1)
        for row, d in _places(chain, seen)
        if f"row/{d}/rd_loss_{router}" in row.metrics
    )


def _wrong(chain: Chain, router: Router, seen: bool) -> float | None:
    return _mean(
        100 * row.metrics[name]
        for row, d in _places(chain, seen)
        if (name := f"row/{d}/wrong_route_share_{router}") in row.metrics
    )


def _places(chain: Chain, seen: bool) -> list[tuple[CellRecord, str]]:
    if seen:
        return [(chain.last, domain) for domain in chain.names]
    stages = range(1, len(chain.order))
    return [(chain.rows[k], domain) for k in stages for domain in chain.names[k + 1 :]]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
