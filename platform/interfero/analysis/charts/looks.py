"""What tells the labels of one picture apart: colour, shape, and whether marks are hollow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from interfero.analysis.charts.data import Panel, Series, Variant
from interfero.analysis.charts.style import DOMAIN_STYLES
from interfero.analysis.grouping import grouped

SHAPES = {
    "o": "circle", ".": "circle", "s": "square", "D": "diamond", "^": "triangle-up",
    "v": "triangle-down", ">": "triangle-right", "": "circle",
    "P": "M-.42,-1H.42V-.42H1V.42H.42V1H-.42V.42H-1V-.42H-.42Z",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
    "x": "M-.8,-.8L.8,.8M-.8,.8L.8,-.8",
}  # fmt: skip
_PATHS = {
    "circle": "M-1,0A1,1,0,1,0,1,0A1,1,0,1,0,-1,0Z",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "diamond": "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "triangle-up": "M0,-1.1L1,.8L-1,.8Z",
    "triangle-down": "M0,1.1L1,-.8L-1,-.8Z",
    "triangle-right": "M1.1,0L-.8,1L-.8,-1Z",
}
"""Vega's shapes, as paths within a square from -1 to 1."""
_BACK = {
    "circle": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "square": "M-.9,-.9V.9H.9V-.9Z",
    "diamond": "M0,-1.2L-1.2,0L0,1.2L1.2,0Z",
    "triangle-up": "M0,-1.1L-1,.8L1,.8Z",
    "triangle-down": "M0,1.1L-1,-.8L1,-.8Z",
    "triangle-right": "M1.1,0L-.8,-1L-.8,1Z",
}
"""The same the other way round: a path and its way back enclose nothing that could be filled."""


FACE = "@soft"
"""Colour of what a legend says of filled and hollow marks, whatever their label."""


@dataclass(frozen=True)
class Look:
    """How all marks of a label look."""

    colour: str
    shape: str
    """One of Vega's, or a path."""
    hollow: bool = False
    """Whether all of them are hollow; a legend fills its marks, whatever they are of."""
    dashed: bool = False

    @property
    def path(self) -> str:
        """As a legend draws it, which fills every path."""
        return _PATHS.get(self.shape, self.shape) + (_BACK.get(self.shape, "") * self.hollow)

    @property
    def legend_shape(self) -> str:
        """Of a legend of Vega's."""
        return self.path if self.hollow else self.shape


def series_of(variants: Iterable[Variant]) -> Iterator[Series]:
    """Of all panels that have axes."""
    for variant in variants:
        for panel in variant.panels:
            if isinstance(panel, Panel):
                yield from panel.series


def picture_looks(variants: Sequence[Variant]) -> dict[str, Look]:
    """All that the legend of a picture has: its labels, and what filled and hollow marks of them are."""
    faces = next((v.faces for v in variants if v.faces), ())
    marks = {face: Look(FACE, "circle", hollow=bool(i)) for i, face in enumerate(faces)}
    return {**looks_of(series_of(variants)), **marks}


def looks_of(series: Iterable[Series]) -> dict[str, Look]:
    """The look of each label, no two the same.

    Two labels that would look the same (two unknown methods, the domains of one row and the orders of
    another) are told apart by shape, or by colour where no shape is left.

    Args:
        series: Of a whole picture, of all of its rows: one legend explains them.
    """
    found: dict[str, Look] = {}
    taken: set[Look] = set()
    for label, own in grouped(series, lambda one: one.label).items():
        marked = [s for s in own if s.marker]
        first = (marked or own)[0]
        look = Look(
            first.colour,
            SHAPES.get(first.marker, "circle"),
            hollow=bool(marked) and all(s.hollow for s in marked),
            dashed=all(s.dashed for s in own),
        )
        if marked:
            # More labels than that nobody can tell apart.
            look = next((other for other in _others(look) if other not in taken), look)
            taken.add(look)
        found[label] = look
    return found


def _others(look: Look) -> Iterator[Look]:
    """It, then those that come nearest: of its colour, then of others."""
    yield look
    for colour in dict.fromkeys([look.colour, *(style.colour for style in DOMAIN_STYLES)]):
        for style in DOMAIN_STYLES:
            yield replace(look, colour=colour, shape=SHAPES[style.marker])
