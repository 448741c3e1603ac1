"""Laws of a sequence, by the machinery of all laws: candidates, refusals and null model are the same.

Two responses of each method, at the adapter size and strength that validation chose:

- what the source domain has lost after k domains, with an amplitude an order: along the number of domains
  met, and the memory;
- what one more stage does to the domains met before it, with an amplitude for the domain that it learns:
  along the number of domains met, the distance of that domain from the one before, and the memory; and by its
  distance from the source domain in place of the amplitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interfero.analysis.axes import AXES, DISTANCES, level
from interfero.analysis.grouping import grouped
from interfero.analysis.laws.observations import Observations, Response, Subject
from interfero.analysis.laws.scaling import Refusal, Scaling, fit_observations
from interfero.analysis.sequence.chains import BOUNDS, Chain
from interfero.analysis.sequence.measures import SequenceSummary

SOURCE_LOST = Response(
    "sequence_source", "source forgetting after k domains (%)", "row/SOURCE/rd_loss", "source", 1
)
STAGE_HARM = Response(
    "sequence_stage", "harm of one more stage to domains met (%)", "row/DOMAIN/rd_loss", "source", 1
)
STAGE_AXES = ("stage", "memory_images", "step_distance", "step_ratio")
BEFORE = "distance/before/feature_sd"


@dataclass(frozen=True)
class _Point:
    """A stage of one chain."""

    group: str
    """What has an amplitude of its own."""
    x: dict[str, float]
    place: tuple[object, ...]
    """What stages of several seeds share."""
    seed: int
    value: float
    """In log points."""


def fit_sequences(summary: SequenceSummary) -> list[Scaling | Refusal]:
    """Every law of every method that trains a chain, or why there is none."""
    found: list[Scaling | Refusal] = []
    for method, best in summary.choices.items():
        if method in BOUNDS or best.setting.routed:
            # Adapters of a bank are trained apart: no stage does anything to another.
            continue
        s = best.setting
        chains = [
            chain for row in summary.rows for chain in row.chains
            if replace(row.setting, case=s.case, memory_images=s.memory_images) == s
        ]  # fmt: skip
        subject = Subject(method, s.case.codec, s.strength)
        for response, points in ((SOURCE_LOST, _source_lost), (STAGE_HARM, _stage_harm)):
            found.append(_fitted(subject, response, chains, points))
    return found


def _source_lost(chain: Chain) -> Iterator[_Point]:
    order, memory = " > ".join(chain.order), float(chain.setting.memory_images)
    for k in range(1, len(chain.rows)):
        x = {"stage": float(k), "memory_images": memory}
        lost = float(SOURCE_LOST.log_points(chain.percent[k, 0]))
        yield _Point(order, x, (chain.order, memory, k), chain.seed[0], lost)


def _stage_harm(chain: Chain) -> Iterator[_Point]:
    loss, memory = chain.matrix("rd_loss"), float(chain.setting.memory_images)
    assert loss is not None
    for k in range(1, len(chain.rows)):
        metrics = chain.rows[k].metrics
        x = {
            "stage": float(k),
            "memory_images": memory,
            # As the codec of the stage before sees them.
            "step_ratio": float(loss[k - 1, k] / loss[k - 1, k - 1]),
            "rd_ratio": float(loss[0, k] / loss[0, 0]),
        }
        x |= {"step_distance": metrics[BEFORE]} if BEFORE in metrics else {}
        for name in ("feature_sd", "chroma_sd", "latent_bits"):
            value = AXES[name].value(chain.rows[k])
            x |= {} if value is None else {name: value}
        after, before = (STAGE_HARM.log_points(chain.percent[i, :k]) for i in (k, k - 1))
        harm = float((after - before).mean())
        yield _Point(chain.order[k - 1], x, (chain.order, memory, k), chain.seed[0], harm)


def _fitted(
    subject: Subject, response: Response, chains: Sequence[Chain],
    points: Callable[[Chain], Iterator[_Point]],
) -> Scaling | Refusal:  # fmt: skip
    every = (point for chain in chains for point in points(chain))
    settings = list(grouped(every, lambda point: point.place).values())
    seeds = tuple(sorted({p.seed for own in settings for p in own}))
    values = np.full((len(settings), len(seeds)), np.nan)
    for row, own in zip(values, settings, strict=True):
        for column, seed in enumerate(seeds):
            found = [p.value for p in own if p.seed == seed]
            row[column] = np.mean(found) if found else np.nan
    axes = _axes(settings)
    return fit_observations(
        Observations(
            subject=subject,
            response=response,
            axes=axes,
            x=np.array([[_coordinate(own, name) for name in axes] for own in settings]),
            domains=tuple(own[0].group for own in settings),
            seeds=seeds,
            values=values,
            images=None,
            drawn="orders" if response is SOURCE_LOST else "domains",
        )
    )


def _axes(settings: Sequence[Sequence[_Point]]) -> tuple[str, ...]:
    """Those that vary, of which every stage has a positive value; one of the two steps."""
    found = []
    for name in (*STAGE_AXES, *DISTANCES):
        values = [_coordinate(own, name) for own in settings]
        if all(v > 0 for v in values) and len({level(v) for v in values}) > 1:
            found.append(name)
    one_group = len({own[0].group for own in settings}) == 1
    left_out = {"step_ratio"} if "step_distance" in found else set()
    left_out |= set(DISTANCES) if one_group else set()
    return tuple(name for name in found if name not in left_out)


def _coordinate(points: Sequence[_Point], name: str) -> float:
    return float(np.mean([p.x.get(name, np.nan) for p in points]))
