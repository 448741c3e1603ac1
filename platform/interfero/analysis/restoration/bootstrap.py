"""Intervals of a restoration sweep by paired bootstrap: what is drawn again, and what an interval speaks for.

Seeds: a data seed draws crops and restorers, an init seed a segmentation model. Models of one data seed
share its restorers, so of several data seeds the models of each are averaged and data seeds are drawn, as
the laws of adaptation do it (see `interfero.analysis.laws.observations`). Of one data seed its init seeds are
drawn.

Restorers: several seeds of restorers are drawn apart from the init seeds that each of them meets, so that an
interval contains the luck of a restorer. Of several data seeds, whose restorers differ anyway, the models of
all restorers are averaged with the others of their data seed. Lines without a restorer are the same for all.

Images: source images are drawn, the same in every group. Where all test images come from one, they say
nothing of others, and seeds are drawn alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import seed_of
from interfero.analysis.laws.resampling import half_width, score_parts, seed_part
from interfero.errors import ConfigError
from interfero.metrics.tasks import task_of
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]
MAX_NUMBERS = 1 << 22
"""Counts that are drawn at a time."""


@dataclass(frozen=True)
class Drawn:
    """The sample behind a number, and what its interval was drawn from."""

    data_seeds: int
    models: int
    """Pairs of a data seed and an init seed that all sides have."""
    images: int
    """Test images."""
    pictures: int
    """Source images that these come from."""
    restorers: int = 0
    """Restorers behind the models, of all data seeds; 0 where nothing restored."""

    @property
    def by(self) -> Literal["data", "init"]:
        """Which seeds are drawn."""
        return "data" if self.data_seeds > 1 else "init"

    @property
    def seeds(self) -> int:
        """How many there are to draw: of several data seeds not their models."""
        return self.data_seeds if self.data_seeds > 1 else self.models

    @property
    def restorers_drawn(self) -> bool:
        """Whether the interval contains the luck of a restorer by draws of their seeds."""
        return self.by == "init" and self.restorers > 1

    @property
    def over(self) -> str:
        """`init seeds and source images`: what the interval is over."""
        seeds = f"{self.by} seeds" + (" and restorers" if self.restorers_drawn else "")
        if self.pictures > 1:
            return f"{seeds.replace(' and', ',')} and source images"
        return f"{seeds} only, because {self._seeds_only}"

    @property
    def text(self) -> str:
        """`n = 3 init seeds of 1 restorer, 40 images`; `n = 3 init seeds x 3 restorers, 40 images`."""
        if not self.models:
            return "n = 0: no seed in common"
        drawn = counted(self.seeds, f"{self.by} seed")
        restorers = counted(self.restorers, "restorer")
        if self.restorers_drawn:
            return f"n = {drawn} x {restorers}, {self._images}"
        behind = [counted(self.models, "model")] if self.by == "data" else []
        behind += [restorers] if self.restorers else []
        of = f" of {' and '.join(behind)}" if behind else ""
        return f"n = {drawn}{of}, {self._images}"

    @property
    def _images(self) -> str:
        if self.pictures == self.images > 1:
            return f"{self.images} images"
        crops = counted(self.images, "crop" if self.images > 1 else "image")
        if self.pictures > 1:
            return f"{crops} of {self.pictures} pictures"
        return f"{crops}; seeds only: {self._seeds_only}"

    @property
    def _seeds_only(self) -> str:
        """Why images are not drawn."""
        return (
            "the test images are cut from the same pictures"
            if self.images > 1
            else "there is one test image"
        )


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    half_width: float | None
    """Of the 95 % interval; None with one seed: nothing then says how much the score varies."""
    drawn: Drawn


def estimate(
    groups: Sequence[Sequence[CellRecord]], statistic: Callable[[FloatArray], float]
) -> Estimate:
    """A statistic of the groups' scores over the seeds that all have.

    Args:
        groups: Cells of each line.
        statistic: From (groups,) scores, mean IoU or that of another task, to the number.

    Raises:
        ConfigError: cells were tested on different images.
    """
    pairs, cells = _crossed(groups)
    if not pairs:
        return Estimate(float("nan"), None, Drawn(0, 0, 0, 0))
    every = [cell for group in cells for row in group for cell in row]
    members = _members(every)
    counts = np.array([[[_counts(cell) for cell in row] for row in group] for group in cells])
    num_data = len({data_seed for data_seed, _ in pairs})
    restorers = len({(d, restorer_of(r)) for r in every if _restored(r) for d, _ in [seed_of(r)]})
    drawn = Drawn(num_data, len(pairs), len(members), int(members.max()) + 1, restorers)
    task = task_of(every[0].params)
    # The same classes in every configuration and every draw.
    averaged = counts[..., 1, :, :].sum(axis=(0, 1, 2, 4)) > 0
    shares = _shares([data_seed for data_seed, _ in pairs]) if num_data > 1 else np.eye(len(pairs))

    pictures = counts @ np.eye(drawn.pictures)[members]

    def each(draws: FloatArray) -> FloatArray:
        """(draws, groups, restorers, models) scores with source images that count so often."""
        total = np.tensordot(draws, pictures, axes=(1, 5)).round().astype(np.int64)
        hits, labelled, predicted = (total[..., i, :] for i in range(3))
        return task.score(hits, labelled, predicted, averaged)

    def scores(draws: FloatArray) -> FloatArray:
        """(draws, groups, seeds to draw), means over restorers; a part of the draws at a time, for memory."""
        num_parts = min(len(draws), 1 + len(draws) * pictures[..., 0].size // MAX_NUMBERS)
        found = [each(part).mean(axis=2) @ shares for part in np.array_split(draws, num_parts)]
        return np.concatenate(found)

    whole = np.ones((1, drawn.pictures))
    value = float(statistic(scores(whole)[0].mean(axis=1)))
    if drawn.seeds < 2:
        return Estimate(value, None, drawn)
    one_domain = np.zeros(drawn.pictures, dtype=np.int64)
    parts = score_parts(scores, one_domain)
    if drawn.restorers_drawn:
        parts.append(seed_part(each(whole)[0].mean(axis=2), np.random.default_rng(0)))
    width = half_width([(part.variance(statistic), part.degrees) for part in parts])
    return Estimate(value, width, drawn)


def restorer_of(record: CellRecord) -> int:
    """The seed of its restorer; earlier records, and those without one, have 0."""
    return int(record.params.get("restorer_seed", 0))


def _restored(record: CellRecord) -> bool:
    return record.params["restoration"] != "none"


Crossed = list[list[list[CellRecord]]]


def _crossed(
    groups: Sequence[Sequence[CellRecord]],
) -> tuple[list[tuple[int, int]], Crossed]:
    """Pairs of seeds that all groups have, and cells by group, restorer and pair.

    A group without restorers has the same cells for each; a restorer that a pair of seeds lacks is left out.
    """
    by_seed: list[dict[tuple[int, int], dict[int, CellRecord]]] = []
    for group in groups:
        found: dict[tuple[int, int], dict[int, CellRecord]] = {}
        for record in group:
            found.setdefault(seed_of(record), {})[restorer_of(record)] = record
        by_seed.append(found)
    pairs = sorted(set.intersection(*(set(found) for found in by_seed)))
    restored = [bool(group) and _restored(group[0]) for group in groups]
    sets = [
        set(found[pair])
        for found, has in zip(by_seed, restored, strict=True)
        if has
        for pair in pairs
    ]
    restorers = sorted(set.intersection(*sets)) if sets else [0]
    if not restorers:
        return [], []
    return pairs, [
        [[found[pair][seed if has else 0] for pair in pairs] for seed in restorers]
        for found, has in zip(by_seed, restored, strict=True)
    ]


def _shares(data_seeds: Sequence[int]) -> FloatArray:
    """(models, data seeds): the weights that average the models of each data seed."""
    each = sorted(set(data_seeds))
    inside = np.array([[float(own == seed) for seed in each] for own in data_seeds])
    shares: FloatArray = inside / inside.sum(axis=0)
    return shares


def _members(cells: Sequence[CellRecord]) -> npt.NDArray[np.int64]:
    """(images,) which source image each test image comes from."""
    names = {tuple(i.name for i in cell.segmented) for cell in cells}
    if len(names) > 1:
        raise ConfigError(
            f"cells of domain {cells[0].params['domain']} were tested on {len(names)} different sets of "
            "images, and cannot be compared: report on sweeps of one --max-images and of one folder"
        )
    # A sweep that other code goes on with may hold records that tell apart what these know to be one.
    marks = {tuple(i.group for i in cell.segmented) for cell in cells}
    coarsest = min(marks, key=lambda groups: (len(set(groups)), groups))
    order = sorted(set(coarsest))
    return np.array([order.index(group) for group in coarsest])


def _counts(record: CellRecord) -> FloatArray:
    """(3, classes, images) hits, labelled, predicted."""
    rows = [(i.hits, i.labelled, i.predicted) for i in record.segmented]
    return np.array(rows, dtype=float).transpose(1, 2, 0)
