"""What a law is fitted to: one value a setting and seed, with the images behind it for the bootstrap.

And where a law is evaluated: the observations' axes, and which amplitude each point has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from interfero.analysis.axes import AXES, DISTANCES, LAW_AXES, level
from interfero.analysis.cells import GROUP, NAME, Words, image_arrays, once_for_cells, rows_of
from interfero.analysis.choices import CONTROL, Choice, by_data_seed, choose_learning_rates
from interfero.analysis.laws.forms import Design, Law
from interfero.analysis.laws.robust_fit import Space, to_space
from interfero.metrics.forgetting import from_log_points, log_points
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import NUMBERS, CellRecord

FloatArray = npt.NDArray[np.float64]

SOURCE_DOMAIN = "the source domain"


@dataclass(frozen=True)
class Response:
    """A quantity that a law is about: a change of loss, in percent of the loss before adapting.

    Laws are fitted in log points (`metrics.forgetting.log_points`), signed so that more is more.
    """

    name: str
    title: str
    metric: str
    role: Literal["target", "source", "source_unrouted"]
    sign: int
    """1 where a higher loss after adapting counts up."""

    def log_points(self, percent: FloatArray) -> FloatArray:
        """From percent of the loss before."""
        return np.asarray(self.sign * log_points(self.sign * percent))

    def percent(self, points: FloatArray) -> FloatArray:
        """From log points."""
        return np.asarray(self.sign * from_log_points(self.sign * points))


_ALL = (
    Response("gain", "target gain (%)", GAIN, "target", -1),
    Response(
        "forgetting_unrouted",
        "forgetting, unrouted (%)",
        UNROUTED,
        "source_unrouted",
        1,
    ),
    Response("forgetting", "forgetting, routed (%)", ROUTED, "source", 1),
)
RESPONSES: dict[str, Response] = {response.name: response for response in _ALL}


@dataclass(frozen=True)
class Subject:
    """Whose law it is."""

    method: str
    codec: str
    strength: float = 0.0

    @property
    def text(self) -> str:
        """`ewc (strength 1)`."""
        return f"{self.method} (strength {self.strength:g})" if self.strength else self.method


@dataclass(frozen=True)
class ImageSums:
    """Losses summed by source image: drawing images again is drawing columns again."""

    before: FloatArray
    """(points, seeds, groups); 0 where a cell has no image of that group."""
    after: FloatArray
    strata: npt.NDArray[np.int64]
    """(groups,): the domain a source image belongs to, an index; images are drawn within it."""
    domains: tuple[str, ...]
    """Names of these."""

    def only(self, keep: npt.NDArray[np.bool_]) -> ImageSums:
        """Those of some points."""
        before, after = self.before[keep], self.after[keep]
        there = before.any(axis=(0, 1))
        kept, strata = np.unique(self.strata[there], return_inverse=True)
        domains = tuple(self.domains[i] for i in kept)
        return ImageSums(before[:, :, there], after[:, :, there], strata, domains)

    @property
    def smallest_stratum(self) -> int:
        """Source images of the domain that has fewest."""
        return int(np.bincount(self.strata).min())

    @property
    def of_one_source(self) -> tuple[str, ...]:
        """Domains whose test images all come from one source image: nothing says how others would do."""
        counts = np.bincount(self.strata)
        return tuple(d for d, n in zip(self.domains, counts, strict=True) if n == 1)


@dataclass(frozen=True)
class Observations:
    """All settings of one method and codec, each at the learning rates that validation chose."""

    subject: Subject
    response: Response
    axes: tuple[str, ...]
    """Columns of `x`: first those of `LAW_AXES` that vary, then the distances."""
    x: FloatArray
    """(points, axes), positive."""
    domains: tuple[str, ...]
    """Of each point."""
    seeds: tuple[int, ...]
    """Data seeds; init seeds of one data seed are averaged, for they share its images."""
    values: FloatArray
    """(points, seeds) in log points; NaN where a seed has no result."""
    images: ImageSums | None
    """None unless every cell has its images."""
    drawn: str = "domains"
    """What has an amplitude of its own: domains, or the orders of a sequence."""

    @property
    def drawn_one(self) -> str:
        """A single one: `domain`, `order`."""
        return self.drawn.removesuffix("s")

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Each once, sorted."""
        return tuple(sorted(set(self.domains)))

    @property
    def own_axes(self) -> tuple[str, ...]:
        """Without the distances."""
        return tuple(name for name in self.axes if name not in DISTANCES)

    @property
    def distances(self) -> tuple[str, ...]:
        """Measures of domain distance that every point has."""
        return tuple(name for name in self.axes if name in DISTANCES)

    def column(self, name: str) -> FloatArray:
        """(points,): values of one axis."""
        return self.x[:, self.axes.index(name)]

    def levels(self, name: str) -> tuple[float, ...]:
        """Values of an axis, rising, each once."""
        return tuple(sorted({level(float(v)) for v in self.column(name)}))

    def only(self, keep: npt.NDArray[np.bool_]) -> Observations:
        """Some of the points, with the source images that they have, along the axes that still vary."""
        varying = [len({level(v) for v in column[keep].tolist()}) > 1 for column in self.x.T]
        return replace(
            self,
            axes=tuple(a for a, varies in zip(self.axes, varying, strict=True) if varies),
            x=self.x[keep][:, varying],
            domains=tuple(d for d, kept in zip(self.domains, keep, strict=True) if kept),
            values=self.values[keep],
            images=None if self.images is None else self.images.only(keep),
        )

    def resampled_values(self, group_weights: FloatArray) -> FloatArray:
        """(points, seeds) in log points: the values if each source image counted so many times.

        Args:
            group_weights: (groups,), how often each was drawn.
        """
        assert self.images is not None
        before = self.images.before @ group_weights
        after = self.images.after @ group_weights
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 100 * self.response.sign * np.log(after / before)
        return np.where(np.isnan(self.values), np.nan, values)


@once_for_cells
def observations(records: Iterable[CellRecord], response: Response) -> dict[Subject, Observations]:
    """One set a method, codec and strength; the control has none, for it never sees the target.

    Only finished cells with a validation result count, at the learning rate validation chose. One that
    diverged is left out, as of every mean: how far it went astray says nothing of its setting.
    """
    groups: dict[Subject, list[Choice]] = defaultdict(list)
    for choice in choose_learning_rates(records):
        s = choice.setting
        ended = len(choice.diverged) < choice.num_seeds
        if s.method != CONTROL and ended and choice.values(response.metric):
            groups[Subject(s.method, s.codec, s.strength)].append(choice)
    return {subject: _observed(subject, members, response) for subject, members in groups.items()}


def _observed(subject: Subject, choices: Sequence[Choice], response: Response) -> Observations:
    by_seed = [by_data_seed(pick.cell for pick in choice.kept) for choice in choices]
    seeds = tuple(sorted({seed for cells in by_seed for seed in cells}))
    columns = _columns(choices)
    values = np.full((len(choices), len(seeds)), np.nan)
    for row, cells in zip(values, by_seed, strict=True):
        for column, seed in enumerate(seeds):
            if seed in cells:
                row[column] = np.mean([c.metrics[response.metric] for c in cells[seed]])
    values = response.log_points(values)
    return Observations(
        subject=subject,
        response=response,
        axes=tuple(columns),
        x=np.array(list(columns.values())).reshape(len(columns), len(choices)).T,
        domains=tuple(choice.setting.domain for choice in choices),
        seeds=seeds,
        values=values,
        images=_image_sums(choices, by_seed, seeds, response),
    )


def _columns(choices: Sequence[Choice]) -> dict[str, list[float]]:
    """Values of the axes that vary, of which every setting has a positive value."""
    # One domain has one distance: what varies in it is the lambda it was measured at.
    several = len({c.setting.domain for c in choices}) > 1
    found = {}
    for name in (*LAW_AXES, *(DISTANCES if several else ())):
        values = [_coordinate(choice, name) for choice in choices]
        if all(v > 0 for v in values) and len({level(v) for v in values}) > 1:
            found[name] = values
    return found


def _coordinate(choice: Choice, name: str) -> float:
    """Mean over seeds; NaN, which is not positive, where a cell does not have it."""
    values = [AXES[name].value(pick.cell) for pick in choice.kept]
    return float(np.mean([np.nan if v is None else v for v in values]))


def _image_sums(
    choices: Sequence[Choice],
    by_seed: Sequence[Mapping[int, list[CellRecord]]],
    seeds: Sequence[int],
    response: Response,
) -> ImageSums | None:
    cells = (
        ((point, seeds.index(seed)), choice.setting.domain, cell)
        for point, (choice, own) in enumerate(zip(choices, by_seed, strict=True))
        for seed, members in own.items()
        for cell in members
    )
    sums = sums_by_image(cells, (len(choices), len(seeds)), response)
    if sums is None or not sums[2]:
        return None
    losses, strata, _ = sums
    domains = sorted(set(strata))
    domain_of_group = np.array([domains.index(stratum) for stratum in strata])
    named = tuple(domain or SOURCE_DOMAIN for domain in domains)
    return ImageSums(losses[..., 0, :], losses[..., 1, :], domain_of_group, named)


def sums_by_image(
    cells: Iterable[tuple[tuple[int, ...], str, CellRecord]],
    shape: tuple[int, ...],
    response: Response,
) -> tuple[FloatArray, list[str], bool] | None:
    """(*shape, 2, groups) losses before and after by source image; and its domain, empty for the source.

    And whether all cells agree which images are of one source image: two versions of the code may not.

    Args:
        cells: Each with its place and its domain.
        shape: Of the places.
        response: Whose images.

    Returns:
        None unless every cell has the images.
    """
    names: dict[tuple[str, str], int] = {}
    agree, marks = True, dict[tuple[str, frozenset[str]], frozenset[tuple[str, str]]]()
    # By the words' identity, which cells with the same images share; the words are kept, and so is it.
    known: dict[tuple[str, int], tuple[Words, npt.NDArray[np.intp], npt.NDArray[np.intp]]] = {}
    entries: list[tuple[tuple[int, ...], npt.NDArray[np.intp], FloatArray]] = []
    columns = [NUMBERS.index(name) for name in ("rd_loss_before", "rd_loss")]
    for place, domain, cell in cells:
        # Every target shares the source domain's images; targets have their own.
        stratum = domain if response.role == "target" else ""
        words, numbers = image_arrays(cell)
        if (stratum, id(words)) not in known:
            rows = rows_of(words, response.role)
            pairs = frozenset((words[i][NAME], words[i][GROUP]) for i in rows)
            mark = stratum, frozenset(name for name, _ in pairs)
            if not pairs:
                return None
            agree &= marks.setdefault(mark, pairs) == pairs
            own = [names.setdefault((stratum, words[i][GROUP]), len(names)) for i in rows]
            known[stratum, id(words)] = words, rows, np.array(own)
        _, rows, groups = known[stratum, id(words)]
        entries.append((place, groups, numbers[rows][:, columns]))
    sums = np.zeros((*shape, 2, len(names)))
    for place, groups, losses in entries:
        # Crops of one source image are added up.
        for of_place, values in zip(sums[place], losses.T, strict=True):
            of_place += np.bincount(groups, values, len(names))
    return sums, [stratum for stratum, _ in names], agree


def design_of(data: Observations, law: Law) -> Design:
    """Logs over the axes' geometric means, and each point's amplitude."""
    columns = [np.log(data.column(a) / reference(data, a)) for a in law.axes]
    u = np.column_stack(columns) if columns else np.zeros((len(data.domains), 0))
    if shares_amplitude(law, data):
        return Design(u, np.ones((len(data.domains), 1)))
    names = data.domain_names
    z = np.array([[float(domain == name) for name in names] for domain in data.domains])
    return Design(u, z)


def reference(data: Observations, axis: str) -> float:
    """Geometric mean of an axis: where its logarithm is 0."""
    return float(np.exp(np.log(data.column(axis)).mean()))


def shares_amplitude(law: Law, data: Observations) -> bool:
    """Whether a domain distance stands for the domains."""
    return any(axis in data.distances for axis in law.axes)


def amplitude_names(data: Observations, law: Law) -> tuple[str, ...]:
    """`amplitude:DOMAIN` for each, or one `amplitude`."""
    if shares_amplitude(law, data):
        return ("amplitude",)
    return tuple(f"amplitude:{name}" for name in data.domain_names)


def setting_means(data: Observations, space: Space) -> FloatArray:
    """(points,) mean over seeds, in the space of a fit."""
    return seed_mean(to_space(data.values, space), np.ones(len(data.seeds)))


def seed_mean(values: FloatArray, counts: FloatArray) -> FloatArray:
    """(points,) mean over seeds that count so often; NaN where none of a point's seeds was drawn."""
    there = np.isfinite(values)
    total = there @ counts
    sums = np.where(there, values, 0.0) @ counts
    return np.divide(sums, total, where=total > 0, out=np.full(len(values), np.nan))
