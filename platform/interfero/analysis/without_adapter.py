"""What adapting buys beyond what needs no adapter, and from how many images on.

Refining the latents of each picture with the source decoder (`latent_refinement`, `regularised_refinement`)
learns nothing of a domain and forgets nothing: it searches for every picture that is coded. An adapter that
gains less than that is worth what the search costs, and no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from interfero.adaptation.table import METHOD_TABLE
from interfero.analysis.capacity_table import counted, signed, value_range
from interfero.analysis.choices import (
    CONTROL,
    Choice,
    best_sizes,
    by_method,
    choose_learning_rates,
)
from interfero.metrics.names import GAIN
from interfero.records import CellRecord

_Gains = Mapping[str, Mapping[int, float]]
"""By domain and training images, percent."""


def without_adapter_lines(records: Iterable[CellRecord]) -> list[str]:
    """A sentence for each way to refine latents: which methods gain more, and from how many images on.

    Args:
        records: Finished cells of one budget and one lambda (`focus`).
    """
    gains = {
        m: _gains(own) for m, own in by_method(best_sizes(choose_learning_rates(records))).items()
    }
    trains = {m: METHOD_TABLE[m].trains for m in gains if m in METHOD_TABLE and m != CONTROL}
    lines = []
    for refined in (m for m in gains if trains.get(m) is False):
        values = [gain for by_count in gains[refined].values() for gain in by_count.values()]
        parts = [
            f"{method} {text}"
            for method in gains
            if trains.get(method) and (text := _compared(gains[method], gains[refined]))
        ]
        if parts:
            lines.append(
                f"{refined} needs no adapter, searches for every picture, and gains "
                f"{value_range(values, signed)} %. Of the methods that adapt, {'; '.join(parts)}."
            )
    return lines


def _gains(choices: Iterable[Choice]) -> _Gains:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for choice in choices:
        gain = choice.mean(GAIN)
        if gain is not None:
            found[choice.setting.domain][choice.setting.num_images] = gain
    return found


def _compared(own: _Gains, refined: _Gains) -> str:
    """`gains more from 5 images on in text, gains no more with 1 or 5 images in charts`, or nothing."""
    places: dict[str, list[str]] = defaultdict(list)
    for domain in own:
        counts = sorted(own[domain].keys() & refined.get(domain, {}).keys())
        behind = [n for n in counts if own[domain][n] <= refined[domain][n]]
        ahead = [n for n in counts if n not in behind]
        on = [n for n in ahead if n > max(behind, default=0)]
        if on == ahead and on and len(counts) > 1:
            places[f"gains more from {counted(on[0], 'image')} on"].append(domain)
            continue
        parts = [("more", ahead), ("no more", behind)]
        texts = [f"{what} with {_listed(some)}" for what, some in parts if some]
        if texts:
            places[f"gains {' and '.join(texts)}"].append(domain)
    return ", ".join(f"{what} in {' and '.join(where)}" for what, where in places.items())


def _listed(counts: Sequence[int]) -> str:
    """`1, 5 or 20 images`."""
    *fewer, most = map(str, counts)
    text = " or ".join([", ".join(fewer), most] if fewer else [most])
    return f"{text} {'image' if list(counts) == [1] else 'images'}"
