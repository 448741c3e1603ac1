"""Chains of stages: the matrix of every order and seed, put together from the rows of its prefixes.

A chain is one order of domains with one setting and one pair of seeds. Its learning rate is the one that
validation chose. A chain of which a stage is missing is left out, and counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import seed_of
from interfero.analysis.grouping import grouped
from interfero.metrics.bd_rate import bd_rate_percent
from interfero.metrics.continual import percent_of_source
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]
Order = tuple[str, ...]
Quantity = Literal["rd_loss", "bpp", "psnr_db", "val_rd_loss"]

_Place = tuple["SequenceSetting", float, tuple[int, int], Order]
"""What the rows of a chain share (setting, learning rate, seeds), and how far a row is."""
_CURVE: tuple[Quantity, Quantity] = ("bpp", "psnr_db")
ARROW = ">"
UNDECIDABLE = "several learning rates and no validation result to choose by"
BOUNDS = ("joint", "codec_per_domain")
"""What methods are held against: training on all domains at once, and a codec for each."""


@dataclass(frozen=True, order=True)
class SequenceCase:
    """What all matrices share that are compared."""

    codec: str
    rd_lambda: float
    images: str
    """As asked for: a number, or `all`, which differs between domains."""
    num_steps: int
    length: int
    """Domains of an order."""

    @property
    def text(self) -> str:
        """`lambda 0.013, 20 images, 300 steps a stage, 3 domains`."""
        return (
            f"lambda {self.rd_lambda:g}, {self.images} images, {self.num_steps} steps a stage, "
            f"{self.length} domains"
        )


@dataclass(frozen=True, order=True)
class SequenceSetting:
    """A method with everything but its learning rate."""

    case: SequenceCase
    method: str
    adapter_size: int = 0
    strength: float = 0.0
    memory_images: int = 0
    buffer: str = "none"
    memory_form: str = "none"
    """What is kept of an image, `images` or `streams`."""
    routed: bool = False
    """Whether it keeps an adapter or a codec a domain, and images are routed."""

    @property
    def text(self) -> str:
        """`replay, 16 images kept (reservoir)`, or `16 images kept as streams`."""
        parts = [f"{self.method} {self.adapter_size}" if self.adapter_size else self.method]
        parts += [f"strength {self.strength:g}"] if self.strength else []
        if self.memory_images:
            as_streams = " as streams" if self.memory_form == "streams" else ""
            parts.append(f"{self.memory_images} images kept{as_streams} ({self.buffer})")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Chain:
    """The stages of one order."""

    setting: SequenceSetting
    order: Order
    seed: tuple[int, int]
    """(data seed, init seed)."""
    learning_rate: float
    rows: tuple[CellRecord, ...]
    """By stage; the source codec's is the first."""

    @property
    def names(self) -> Order:
        """Of the columns: the source domain, then the domains as they were met."""
        return (str(self.rows[0].params["domain"]), *self.order)

    @property
    def last(self) -> CellRecord:
        """Of the last stage."""
        return self.rows[-1]

    def matrix(self, quantity: Quantity, suffix: str = "") -> FloatArray | None:
        """(stages, domains); None where a stage has not measured it."""
        names = [f"row/{domain}/{quantity}{suffix}" for domain in self.names]
        rows = [[row.metrics.get(name, np.nan) for name in names] for row in self.rows]
        found = np.array(rows, dtype=float)
        return found if np.isfinite(found).all() else None

    @cached_property
    def percent(self) -> FloatArray:
        """(stages, domains) loss on coded test images, change in percent of the source codec's."""
        loss = self.matrix("rd_loss")
        assert loss is not None
        return percent_of_source(loss)

    @cached_property
    def validation(self) -> FloatArray | None:
        """(stages, domains) the same on validation images; None where not measured."""
        loss = self.matrix("val_rd_loss")
        return None if loss is None else percent_of_source(loss)

    @property
    def score(self) -> float | None:
        """What choices are made by, lower is better: mean validation loss over all domains at the end."""
        return self.score_after(len(self.order))

    def score_after(self, stages: int) -> float | None:
        """The same, had the sequence ended after so many domains: over these and the source domain."""
        known = self.validation
        return None if known is None else float(known[stages, : stages + 1].mean())


@dataclass(frozen=True)
class Chains:
    """All chains of a sweep."""

    every: tuple[Chain, ...]
    """At every learning rate."""
    chosen: tuple[Chain, ...]
    """One a setting, order and seed: at the rate that validation chose."""
    problems: tuple[str, ...]
    """What is left out, and why."""

    @property
    def cases(self) -> list[SequenceCase]:
        """Most telling first: most methods, then the middle lambda, most images and steps."""
        methods: dict[SequenceCase, set[str]] = defaultdict(set)
        for chain in self.chosen:
            methods[chain.setting.case].add(chain.setting.method)
        lambdas = sorted({case.rd_lambda for case in methods})
        middle = lambdas[(len(lambdas) - 1) // 2] if lambdas else 0.0

        def interest(case: SequenceCase) -> tuple[int, bool, int, float, SequenceCase]:
            images = float(case.images) if case.images.isdigit() else np.inf
            most = -len(methods[case]), case.rd_lambda != middle
            return *most, -case.num_steps, -images, case

        return sorted(methods, key=interest)

    def of(self, case: SequenceCase) -> list[Chain]:
        """All chains of a case."""
        return [chain for chain in self.every if chain.setting.case == case]


def find_chains(records: Iterable[CellRecord]) -> Chains:
    """Put the matrices of a sweep together; an order is as long as the longest sequence."""
    every = [r for r in records if "sequence" in r.params]
    rows = [r for r in every if r.status == "finished"]
    length = max((len(_order(r)) for r in every), default=0)
    by_place, ambiguous = _by_place(rows, length)
    begun = {(*place[:-1], place[-1][:-1]) for place in by_place}
    found, missing = [], Counter[str]()
    for place, row in by_place.items():
        if len(place[-1]) < length:
            missing["they end before the longest order does"] += place not in begun
            continue
        chain = _chain(row, length, by_place, rows)
        if isinstance(chain, str):
            missing[chain] += 1
        else:
            found.append(chain)
    chosen, undecidable = choose_rates(found, length)
    missing[UNDECIDABLE] += undecidable
    problems = [f"{counted(n, 'chain')} left out: {why}" for why, n in missing.items() if n]
    failed = sum(r.status == "failed" for r in every)
    problems += [f"{counted(failed, 'row')} failed"] if failed else []
    problems += [ambiguous] if ambiguous else []
    return Chains(tuple(found), tuple(chosen), tuple(problems))


def _by_place(rows: Iterable[CellRecord], length: int) -> tuple[dict[_Place, CellRecord], str]:
    """The row of each place; places that several rows claim have none, and are told.

    Rows of one place differ in what a place does not have: batch, crop, precision, images of the test,
    code. A matrix of such rows would be of two studies.
    """
    places = grouped((r for r in rows if r.params["sequence"]), lambda r: _place(r, length))
    several = [own for own in places.values() if len({row.key for row in own}) > 1]
    found = {place: own[0] for place, own in places.items() if own not in several}
    if not several:
        return found, ""
    first = several[0][0].params
    where = f"{first['method']} after {first['sequence']}, data seed {first['data_seed']}"
    return found, (
        f"{counted(len(several), 'stage')} left out that several rows claim, made with other batches, crops, "
        f"precision, test images or code (the first: {where}): make one report of each study"
    )


def _chain(
    last: CellRecord, length: int, by_place: Mapping[_Place, CellRecord], rows: Sequence[CellRecord]
) -> Chain | str:
    """From the source codec to a last stage, or why there is none."""
    order, place = _order(last), _place(last, length)
    stages = [_source_row(last, rows)]
    stages += [by_place.get((*place[:-1], order[:k])) for k in range(1, length + 1)]
    there = tuple(stage for stage in stages if stage is not None)
    if len(there) < len(stages):
        return "a stage is missing"
    setting, rate, seed, _ = place
    chain = Chain(setting, order, seed, rate, there)
    return "a stage lacks a domain" if chain.matrix("rd_loss") is None else chain


def _order(record: CellRecord) -> Order:
    text = str(record.params["sequence"])
    return tuple(text.split(ARROW)) if text else ()


def _setting(record: CellRecord, length: int) -> SequenceSetting:
    p = record.params
    images = str(p.get("images_asked", p["num_images"]))
    case = SequenceCase(
        str(p.get("codec", "")), float(p["rd_lambda"]), images, int(p["num_steps"]), length
    )
    return SequenceSetting(
        case, str(p["method"]), int(p["adapter_size"]), float(p.get("strength", 0)),
        int(p.get("memory_images", 0)), str(p.get("buffer", "none")),
        str(p.get("memory_form", "images")) if p.get("memory_images") else "none",
        str(p.get("routing", "none")) != "none",
    )  # fmt: skip


def _place(record: CellRecord, length: int) -> _Place:
    rate = float(record.params["learning_rate"])
    return _setting(record, length), rate, seed_of(record), _order(record)


def _source_row(row: CellRecord, rows: Sequence[CellRecord]) -> CellRecord | None:
    """Stage 0: of the same codec and lambda, and of the same data seed if it is there.

    Tables of two machines may have two of these, whose losses differ in the last digits: a change of nothing
    is to be zero, so the row's own comes first.
    """
    own = {(i.role, i.name): i.rd_loss_before for i in row.images}
    same = [
        r for r in rows
        if not r.params["sequence"]
        and all(r.params.get(n) == row.params.get(n) for n in ("codec", "rd_lambda"))
    ]  # fmt: skip
    return max(
        same,
        key=lambda r: (
            r.params["data_seed"] == row.params["data_seed"],
            bool(own) and all(own.get((i.role, i.name)) == i.rd_loss for i in r.images),
        ),
        default=None,
    )


def choose_rates(every: Iterable[Chain], stages: int) -> tuple[list[Chain], int]:
    """Of chains that differ in the learning rate alone, the one that validation chooses.

    Args:
        every: Chains at all learning rates.
        stages: Domains met by then; validation images of these and of the source domain decide.

    Returns:
        Them, and how many chains are left without a validation result to choose by.
    """
    chosen, undecidable = [], 0
    for group in grouped(every, lambda c: (c.setting, c.order, c.seed)).values():
        scores = [(score, c) for c in group if (score := c.score_after(stages)) is not None]
        if scores:
            chosen.append(min(scores, key=lambda own: (own[0], own[1].learning_rate))[1])
        elif len(group) == 1:
            chosen += group
        else:
            undecidable += len(group)
    return chosen, undecidable


def free_of_lambda(setting: SequenceSetting, order: Order) -> tuple[SequenceSetting, Order]:
    """What the chains of one curve share, apart from learning rate and seeds."""
    return replace(setting, case=replace(setting.case, rd_lambda=0.0)), order


def bd_matrices(chains: Chains) -> dict[tuple[SequenceSetting, Order], FloatArray | str]:
    """BD-rate of each stage against the source codecs on each domain, mean over seeds.

    A curve is chains that differ in lambda alone; its learning rate is the one that `_choose_curve` takes.

    Returns:
        By `free_of_lambda`: (stages, domains) percent of rate at equal PSNR, or why there is none.
    """
    curves: dict[
        tuple[tuple[SequenceSetting, Order], tuple[int, int]], dict[float, dict[float, Chain]]
    ] = defaultdict(lambda: defaultdict(dict))
    for chain in chains.every:
        key = free_of_lambda(chain.setting, chain.order), chain.seed
        curves[key][chain.learning_rate][chain.setting.case.rd_lambda] = chain
    found: dict[tuple[SequenceSetting, Order], list[FloatArray | str]] = defaultdict(list)
    for (place, _), by_rate in curves.items():
        best = _choose_curve(by_rate)
        found[place].append(
            UNDECIDABLE if best is None else _bd_matrix([best[v] for v in sorted(best)])
        )
    means: dict[tuple[SequenceSetting, Order], FloatArray | str] = {}
    for at, values in found.items():
        reasons = [v for v in values if isinstance(v, str)]
        means[at] = reasons[0] if reasons else np.asarray(np.mean(np.array(values), axis=0))
    return means


def _choose_curve(by_rate: Mapping[float, Mapping[float, Chain]]) -> Mapping[float, Chain] | None:
    """The curve whose validation loss, averaged over its lambdas, is lowest, of those with most lambdas.

    A curve without a validation result at each lambda is taken only where no other one has them and no
    other one has as many lambdas.

    Args:
        by_rate: Chains by learning rate, then by lambda.

    Returns:
        Chains by lambda; None where several could be taken and nothing decides.
    """
    scores = {
        rate: score for rate, curve in by_rate.items() if (score := _curve_score(curve)) is not None
    }
    able = scores.keys() or by_rate.keys()
    most = max(len(by_rate[rate]) for rate in able)
    whole = [rate for rate in able if len(by_rate[rate]) == most]
    if scores:
        return by_rate[min(whole, key=lambda rate: (scores[rate], rate))]
    return by_rate[whole[0]] if len(whole) == 1 else None


def _curve_score(curve: Mapping[float, Chain]) -> float | None:
    """Mean over the lambdas, lower is better; None if one of them was not validated."""
    scores = [chain.score for chain in curve.values()]
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if len(known) == len(scores) else None


def _bd_matrix(curve: Sequence[Chain]) -> FloatArray | str:
    sides = [[chain.matrix(q) for chain in curve] for q in _CURVE]
    if any(m is None for side in sides for m in side):
        return "rate or PSNR was not measured"
    points = np.stack([np.array(side) for side in sides], axis=-1)
    stages, domains = points.shape[1:3]
    try:
        values = [
            [bd_rate_percent(_curve(points[:, 0, j]), _curve(points[:, i, j])).value
             for j in range(domains)]
            for i in range(stages)
        ]  # fmt: skip
    except ValueError as error:
        return str(error)
    return np.array(values)


def _curve(points: FloatArray) -> list[tuple[float, float]]:
    return [(float(bpp), float(psnr)) for bpp, psnr in points]
