"""How often the intervals of fitted laws cover the truth, on simulated sweeps whose law is known.

    python tools/law_coverage.py --repetitions 200

prints a row for each thing counted and a column for each design: the share of 95 % intervals that hold what
was planted (the mean exponents over all domains there could be, those of the map's own domains, a new cell of
a known and of a new domain, both at twice the largest image count), and how often a law across domains is
claimed where there is one and where there is none. Exponents differ between domains.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from interfero.analysis.laws.forms import Power
from interfero.analysis.laws.observations import RESPONSES, observations
from interfero.analysis.laws.prediction import Prediction, predict
from interfero.analysis.laws.scaling import Scaling, fit_observations
from interfero.analysis.laws.words import claim
from tools.planted import PlantedDomain, PlantedSweep, Scatter

EXPONENTS = {"num_images": 0.3, "rd_lambda": 0.2}
BETWEEN_DOMAINS = 0.15
"""Standard deviation of an exponent."""
NAMES = ("charts", "fundus", "histology", "maps", "text", "textures", "windows")
DISTANCES = (2.0, 3.0, 4.0, 6.0, 8.0, 2.5, 5.0)
DESIGNS: dict[str, dict[str, Any]] = {
    f"{seeds} seeds, {domains} domains": {
        "seeds": tuple(range(seeds)),
        "domains": NAMES[:domains],
        "distances": DISTANCES[:domains],
    }
    for seeds, domains in ((3, 3), (5, 3), (3, 5), (3, 7))
}


def planted(place: Mapping[str, float]) -> float:
    """Log points forgotten: 4 at one image and lambda 0.013."""
    of_lambda = (place["rd_lambda"] / 0.013) ** EXPONENTS["rd_lambda"]
    return float(4 * place["num_images"] ** EXPONENTS["num_images"] * of_lambda)


def covered(design: Mapping[str, Any], seed: int) -> dict[str, bool]:
    """What the intervals of one simulated sweep hold."""
    rng = np.random.default_rng(seed)
    scatter = Scatter(exponent=BETWEEN_DOMAINS)
    sweep = PlantedSweep(planted, lambdas=(0.0045, 0.013), scatter=scatter, **design)
    records, domains = sweep.records_and_domains(rng)
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    scaling = fit_observations(data)
    if not isinstance(scaling, Scaling):
        return {"fitted": False}
    found = {"a law across domains is claimed: one was planted": is_claimed(scaling)}
    wanted = next(c for c in scaling.tried if c.law == Power(tuple(EXPONENTS)))
    by_name = {p.name: p for p in replace(scaling, chosen=wanted).parameters()}
    for axis, exponent in EXPONENTS.items():
        interval = by_name[f"exponent:{axis}"]
        here = exponent + statistics.fmean(d.exponents[axis] for d in domains.values())
        found[f"mean exponent of {axis}, all domains"] = interval.low <= exponent <= interval.high
        found[f"mean exponent of {axis}, these domains"] = (
            interval.here[0] <= here <= interval.here[1]
        )
    place = {"num_images": 160.0, "rd_lambda": 0.013, "feature_sd": 4.0}
    for name, known in (("in the map", sweep.domains[0]), ("new", None)):
        domain = domains[known] if known else PlantedDomain.drawn(scatter, rng)
        noise = math.exp(math.hypot(scatter.seed, scatter.cell) * rng.normal())
        # The images of a cell are those of the sweep: their mean factor is known to all cells.
        points = planted(place) * domain.at(place) * noise * _mean_of_images(scatter)
        value = float(data.response.percent(np.array(points)))
        forecast = predict(scaling, place, known)
        found[f"a new cell of a domain {name}"] = (
            isinstance(forecast, Prediction) and forecast.low <= value <= forecast.high
        )
    if len(sweep.domains) > 3:
        found["a useless distance is left unused"] = not scaling.for_new_domains.law.axes or (
            "feature_sd" not in scaling.for_new_domains.law.axes
        )
    return found


def claimed_without(design: Mapping[str, Any], seed: int, between_domains: float) -> bool:
    """Whether a law across domains is claimed where the mean of every exponent is 0."""
    scatter = Scatter(exponent=between_domains)
    sweep = PlantedSweep(lambda _: 6.0, lambdas=(0.0045, 0.013), scatter=scatter, **design)
    records = sweep.records(np.random.default_rng(seed))
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    scaling = fit_observations(data)
    return isinstance(scaling, Scaling) and is_claimed(scaling)


def is_claimed(scaling: Scaling) -> bool:
    """Across domains."""
    return scaling.beats_null and claim(scaling) == "across"


def _mean_of_images(scatter: Scatter) -> float:
    """Expected factor of an image: log-normals have a mean above their median."""
    return math.exp((scatter.image**2 + scatter.image_in_cell**2) / 2)


def shares(design: Mapping[str, Any], count: int) -> dict[str, str]:
    """Of so many simulated sweeps, by what is counted."""
    hits: Counter[str] = Counter()
    for seed in range(count):
        hits.update(covered(design, seed))
        for name, spread in (("none, exponents differ", BETWEEN_DOMAINS), ("none at all", 0.0)):
            what = f"a law across domains is claimed: there is {name}"
            hits[what] += claimed_without(design, seed, spread)
    return {what: f"{held / count:.3f}" for what, held in hits.items()}


def table(count: int) -> str:
    """Markdown; designs are simulated side by side."""
    with ProcessPoolExecutor(len(DESIGNS)) as pool:
        columns = list(pool.map(shares, DESIGNS.values(), [count] * len(DESIGNS)))
    lines = [[f"of {count} sweeps", *DESIGNS], ["---"] * (len(DESIGNS) + 1)]
    names = dict.fromkeys(what for column in columns for what in column)
    lines += [[what, *(column.get(what, "") for column in columns)] for what in names]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    sys.stdout.write(table(parser.parse_args().repetitions))


if __name__ == "__main__":
    main()
