"""Means over the same cases in each data seed, with intervals, and what they stand on."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from interfero.analysis.capacity_table import places_text, signed, value_range
from interfero.analysis.cells import GROUP, ROLE, Cells, image_arrays
from interfero.analysis.choices import CellSetting, Choice, Seed, seed_of
from interfero.analysis.comparable import comparable, covered
from interfero.analysis.laws.resampling import half_width as of_variances
from interfero.analysis.parts import loss_parts

MIN_CASES = 3
"""Of which one can be said to make their mean."""
SAME = 1e-9
"""In percent: ends of an interval that are no further apart are one value."""
_Unit = tuple[CellSetting, int]
"""A case and a data seed."""
BySeed = Callable[[Choice], Mapping[Seed, float]]
"""The values of a choice, one for each seed; none where one of them is not known."""


@dataclass(frozen=True)
class SeedMean:
    """A mean over the same cases in each seed, and what it stands on."""

    value: float
    low: float | None
    """Of the 95 % interval over data seeds; None with one."""
    high: float | None
    cases: tuple[float, ...]
    """The mean of each case over its seeds."""
    num_seeds: int
    places: str = ""
    """What the cases are, counted."""
    domains: tuple[str, ...] = ()
    """Of each case."""
    by_seed: tuple[tuple[int, float], ...] = ()
    """Each data seed with its mean over the cases, rising."""

    @property
    def text(self) -> str:
        """`+5.70 % (95 % interval +4.90 to +6.50, 3 seeds)`."""
        if self.low is None or self.high is None:
            return f"{signed(self.value)} %"
        if self.no_seed_matters:
            return f"{signed(self.value)} % (the same with each of {self.num_seeds} seeds: no interval)"
        ends = f"{signed(self.low)} to {signed(self.high)}"
        return f"{signed(self.value)} % (95 % interval {ends}, {self.num_seeds} seeds)"

    @property
    def no_seed_matters(self) -> bool:
        """Whether all seeds gave one value, as where nothing is trained: no width can be told."""
        return self.low is not None and self.high is not None and self.high - self.low < SAME

    @property
    def made_by(self) -> str:
        """`; without screen +0.87 %`, where one of three cases or more is most of the mean; else empty."""
        if len(self.cases) < MIN_CASES:
            return ""
        middle = statistics.median(self.cases)
        far = max(range(len(self.cases)), key=lambda i: abs(self.cases[i] - middle))
        rest = statistics.fmean([v for i, v in enumerate(self.cases) if i != far])
        mean = statistics.fmean(self.cases)
        if abs(mean - rest) <= abs(mean) / 2:
            return ""
        return f"; without {self.domains[far]} {signed(rest)} %"

    def opposite(self, name: str) -> str:
        """`5.70 % (95 % interval of the gain -6.50 to -4.90, 3 seeds)`, of a value below zero.

        Args:
            name: What the value is, whose interval is printed with its sign.
        """
        return self.text.replace(signed(self.value), f"{-self.value:.2f}", 1).replace(
            "95 % interval", f"95 % interval of the {name}", 1
        )

    @property
    def short(self) -> str:
        """`+5.70 (+4.90 to +6.50)`, under a heading that says what it is."""
        if self.low is None or self.high is None or self.no_seed_matters:
            return signed(self.value)
        return f"{signed(self.value)} ({signed(self.low)} to {signed(self.high)})"


def means(
    methods: Sequence[str], choices: Iterable[Choice], metric: str | BySeed
) -> Mapping[str, SeedMean]:
    """The mean of each method over the cases and data seeds that all of them have.

    Args:
        methods: Those that are compared.
        choices: One a case and method.
        metric: An MLflow name, in percent, or what gives the values of a choice.
    """
    found: dict[_Unit, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for choice in choices:
        if choice.setting.method in methods and not choice.all_diverged:
            own = choice.by_seed(metric) if isinstance(metric, str) else metric(choice)
            for (data_seed, _), value in own.items():
                unit = choice.setting.without_method, data_seed
                found[unit][choice.setting.method].append(value)
    units, compared = comparable(found, bool)
    return {
        method: _mean({u: statistics.fmean(own[method]) for u, own in found.items() if u in units})
        for method in compared
    }


def mean_of(method: str, choices: Iterable[Choice], metric: str | BySeed) -> SeedMean | None:
    """That of one method over all that it has; None where it has nothing."""
    return means([method], choices, metric).get(method)


def _mean(values: Mapping[_Unit, float]) -> SeedMean:
    """Seeds are what is drawn; each counts with the cases that all seeds have."""
    cases, seeds = covered(values)
    ordered = sorted(cases, key=lambda case: case.order)
    by_seed = tuple(
        (seed, statistics.fmean(values[case, seed] for case in ordered)) for seed in sorted(seeds)
    )
    each = [value for _, value in by_seed]
    mean = statistics.fmean(each)
    by_case = tuple(statistics.fmean(values[case, seed] for seed in seeds) for case in ordered)
    places, domains = places_text(ordered), tuple(case.domain for case in ordered)
    if len(each) == 1:
        return SeedMean(mean, None, None, by_case, 1, places, domains, by_seed)
    half = half_width(each)
    return SeedMean(mean, mean - half, mean + half, by_case, len(each), places, domains, by_seed)


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean of two values or more, by Student's t."""
    return of_variances([(statistics.variance(values) / len(values), len(values) - 1)])


def in_db(records: Cells, role: str) -> BySeed:
    """What a choice changes in each seed, in dB at equal rate; of the source what is lost, above zero.

    Args:
        records: All cells.
        role: Of the images.
    """
    parts, sign = loss_parts(records, role), 1 if role == "target" else -1

    def by_seed(choice: Choice) -> dict[Seed, float]:
        if any(pick.cell.key not in parts for pick in choice.picks):
            return {}
        return {seed_of(p.cell): sign * parts[p.cell.key].db for p in choice.kept}

    return by_seed


def tested_text(choices: Iterable[Choice], role: str) -> str:
    """`6 test images`, `4 to 6 test images`; empty where cells have no images.

    `4 crops of 1 picture as test images` where that is what they are: they are not independent.

    Args:
        choices: Whose cells.
        role: Of the images, as in `ImageRow`.
    """
    tested = [
        [word[GROUP] for word in image_arrays(pick.cell)[0] if word[ROLE] == role]
        for choice in choices
        for pick in choice.picks
    ]
    counts, pictures = [float(len(own)) for own in tested], [float(len(set(own))) for own in tested]
    if not any(counts):
        return ""
    number = value_range(counts, "{:.0f}".format)
    if counts != pictures:
        of = value_range(pictures, "{:.0f}".format)
        return f"{number} crops of {of} picture{'' if max(pictures) == 1 else 's'} as test images"
    return f"{number} test image{'' if max(counts) == 1 else 's'}"
