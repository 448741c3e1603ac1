"""How figures look: the same colours and markers in each, of a palette that colour-blind readers can use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interfero.analysis.charts.data import INK, PlotPoint, Series
from interfero.analysis.choices import CONTROL


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks in every figure."""

    colour: str
    """Of Okabe and Ito's palette, which colour-blind readers can tell apart."""
    marker: str

    def series(
        self, label: str, points: Iterable[PlotPoint], *, hollow: bool = False, line: bool = False
    ) -> Series:
        """Points that look so."""
        return Series(label, self.colour, self.marker, tuple(points), hollow, line)


_LOOKS = {
    "#D55E00": {"finetune": "s", "finetune_encoder": "^", "finetune_decoder": "v", "freeze_entropy": "D"},
    "#0072B2": {"cawf": "o", "cawf_growing": "s"},
    "#56B4E9": {
        "cawf_two_way": "D", "merge_mean": "o", "lora_all_rates": "^", "merge_mean_lora": "s",
        "lora_entropy": "P",
    },
    "#009E73": {
        "lora": "^", "lora_transforms": "P", "rslora": "X", "dora": "o", "residual_adapter": "s",
        "gated_adapters": "D", "bias_gain": "v",
    },
    "#E69F00": {"replay": "v", "latent_refinement": "o", "regularised_refinement": "s"},
    "#CC79A7": {
        "ewc": "X", "l2_sp": "s", "l2_sp_source": "^", "distill": "D", "task_arithmetic": "P",
        "task_arithmetic_lora": "v",
    },
    INK: {CONTROL: "P", "from_scratch": "X", "joint": "o", "codec_per_domain": "s"},
}  # fmt: skip
"""Markers by colour and method; related methods share a colour, no two a colour and a marker."""
STYLES: dict[str, MethodStyle] = {
    method: MethodStyle(colour, marker)
    for colour, methods in _LOOKS.items()
    for method, marker in methods.items()
}
_OTHERS = tuple(MethodStyle(colour, ">") for colour in ("#CC79A7", "#009E73", "#E69F00", "#56B4E9"))
DOMAIN_STYLES = tuple(
    MethodStyle(*look)
    for look in (
        ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"),
        ("#56B4E9", "P"), (INK, "X"),
    )
)  # fmt: skip
"""Where domains are told apart, methods are not."""


def method_style(method: str) -> MethodStyle:
    """A method's colour and marker; one this table does not know gets a triangle."""
    return STYLES.get(method) or _OTHERS[sum(method.encode()) % len(_OTHERS)]


def domain_style(index: int) -> MethodStyle:
    """Colour and marker of a domain, by its place among a figure's: 49 of them differ."""
    number = len(DOMAIN_STYLES)
    marker = DOMAIN_STYLES[(index + index // number) % number].marker
    return MethodStyle(DOMAIN_STYLES[index % number].colour, marker)


def styles_by_name(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Of all domains of a figure, so that each looks the same in all of its parts."""
    return {name: domain_style(index) for index, name in enumerate(dict.fromkeys(names))}


def method_label(method: str) -> str:
    """As legends call it."""
    return f"{method} (control)" if method == CONTROL else method


def interval_series(marks: Iterable[tuple[bool, PlotPoint]]) -> tuple[Series, ...]:
    """Filled marks and hollow ones, of results with intervals.

    Args:
        marks: Each with whether its interval is apart from zero.
    """
    every = list(marks)
    looks = (True, "interval apart from zero (filled)"), (False, "may be zero (hollow)")
    return tuple(
        MethodStyle("#0072B2", "o").series(label, points, hollow=not apart)
        for apart, label in looks
        if (points := [point for known, point in every if known == apart])
    )
