"""How often the intervals of fitted laws cover the truth, on simulated sweeps whose law is known.

    python tools/law_coverage.py --repetitions 200

prints, for each design, the share of 95 % intervals that hold what was planted: the exponents, a new cell
of a known domain, and a new cell of a new domain, both at twice the largest image count.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from interfero.analysis.laws.forms import Power
from interfero.analysis.laws.observations import RESPONSES, observations
from interfero.analysis.laws.prediction import Prediction, predict
from interfero.analysis.laws.scaling import Parameter, Scaling, fit_observations
from tools.planted import PlantedSweep, Scatter

EXPONENTS = {"num_images": 0.3, "rd_lambda": 0.2}
DESIGNS: dict[str, dict[str, Any]] = {
    "3 seeds, 3 domains": {"seeds": (0, 1, 2)},
    "5 seeds, 3 domains": {"seeds": (0, 1, 2, 3, 4)},
    "3 seeds, 5 domains": {
        "seeds": (0, 1, 2),
        "domains": ("charts", "fundus", "histology", "maps", "text"),
        "distances": (2.0, 3.0, 4.0, 6.0, 8.0),
    },
}


def planted(place: Mapping[str, float]) -> float:
    """Percent forgotten: 4 at one image and lambda 0.013."""
    of_lambda = (place["rd_lambda"] / 0.013) ** EXPONENTS["rd_lambda"]
    return float(4 * place["num_images"] ** EXPONENTS["num_images"] * of_lambda)


def covered(design: Mapping[str, Any], seed: int) -> dict[str, bool]:
    """What the intervals of one simulated sweep hold."""
    rng = np.random.default_rng(seed)
    sweep = PlantedSweep(planted, lambdas=(0.0045, 0.013), **design)
    records, factors = sweep.records_and_factors(rng)
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    scaling = fit_observations(data)
    wanted = Power(tuple(EXPONENTS))
    if not isinstance(scaling, Scaling) or scaling.chosen.law != wanted:
        return {"planted form chosen": False}
    found = {"planted form chosen": True}
    by_name = {p.name: p for p in scaling.parameters()}
    for axis, exponent in EXPONENTS.items():
        found[f"exponent of {axis}"] = _holds(by_name.get(f"exponent:{axis}"), exponent)
    place = {"num_images": 160.0, "rd_lambda": 0.013, "feature_sd": 4.0}
    for name in ("in the map", "new"):
        known = sweep.domains[0] if name == "in the map" else None
        factor = factors[known] if known else _factor(rng, sweep.scatter.domain)
        noise = math.hypot(sweep.scatter.seed, sweep.scatter.cell)
        # The images of a cell are those of the sweep: their mean factor is known to all cells.
        mean = _mean_of_images(sweep.scatter)
        value = planted(place) * factor * mean * _factor(rng, noise)
        found[f"cell of a domain {name}"] = _holds(predict(scaling, place, known), value)
    if len(sweep.domains) > 3:
        found["useless distance left out"] = scaling.for_new_domains is scaling.chosen
    return found


def null_kept(design: Mapping[str, Any], seed: int) -> bool:
    """Whether nothing is found where nothing was planted."""
    sweep = PlantedSweep(lambda _: 6.0, lambdas=(0.0045, 0.013), **design)
    records = sweep.records(np.random.default_rng(seed))
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    scaling = fit_observations(data)
    return isinstance(scaling, Scaling) and not scaling.beats_null


def _mean_of_images(scatter: Scatter) -> float:
    """Expected factor of an image: log-normals have a mean above their median."""
    return math.exp((scatter.image**2 + scatter.image_in_cell**2) / 2)


def _factor(rng: np.random.Generator, deviation: float) -> float:
    return float(np.exp(deviation * rng.normal()))


def _holds(interval: object, value: float) -> bool:
    if not isinstance(interval, Prediction | Parameter):
        return False
    return bool(interval.low <= value <= interval.high)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    count = parser.parse_args().repetitions
    for name, design in DESIGNS.items():
        hits: Counter[str] = Counter()
        tried: Counter[str] = Counter()
        for seed in range(count):
            found = covered(design, seed) | {
                "nothing planted, nothing found": null_kept(design, seed)
            }
            for what, held in found.items():
                tried[what] += 1
                hits[what] += held
        sys.stdout.write(f"{name}\n")
        for what, total in tried.items():
            sys.stdout.write(f"  {what}: {hits[what] / total:.3f} of {total}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
