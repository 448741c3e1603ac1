"""The page around figures, words and tables: one file that works offline and asks nothing of any server."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from interfero.analysis.charts.data import Figure, Variant
from interfero.analysis.charts.library import vega_library
from interfero.analysis.charts.vega import (
    CONFIG,
    EDGES_NOTE,
    THEME,
    Texts,
    Theme,
    caption_of,
    legend_of,
    variant_spec,
)

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""The browser itself keeps the page from asking anything of anyone."""
DARK: Theme = {
    "@ink": "#ececec",
    "@page": "#161618",
    "@soft": "#a8a8a8",
    "@grid": "#2b2b2e",
    "@missing": "#333337",
    # Blue on a dark page is the dimmest: its faint marks still have twice the page's luminance.
    "@faint": 0.6,
}
WHOLE_TABLE_ROWS = 14
"""A longer table is folded away."""
DENSE_COLUMNS = 12
"""A table of more is set smaller, and its numbers break before each of their parts."""
_BREAKS = re.compile(r" (?=[\[±]|to |\([^)]* (?:to|of) )|(?<=[,;]) ")

Block = tuple[str, Any]
"""What is written one below the other: a kind that the template knows, and its value."""


@dataclass(frozen=True)
class PageTable:
    """Rows of text, which a reader can sort."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    """So many columns at the start are words, the rest numbers."""
    long: int = -1
    """A column of sentences."""
    whole: bool = False
    """Whether it is shown however long it is."""
    name: str = "All"
    """What its rows are, where it is folded: `Every setting:`."""
    tight: bool = False
    """Whether its columns are long, few as they may be."""
    note: str = ""
    """What its numbers are; folded away together with it."""

    @property
    def folded(self) -> bool:
        """Whether one has to ask for it."""
        return len(self.rows) > WHOLE_TABLE_ROWS and not self.whole

    @property
    def dense(self) -> bool:
        """Whether it is so wide that numbers have to break to fit a usual window."""
        return self.tight or len(self.header) > DENSE_COLUMNS

    def kind(self, index: int) -> Markup:
        """How a column is set."""
        if index == self.long:
            return Markup(' class="long"')
        return Markup("" if index < self.words else ' class="number"')

    def text(self, cell: str, index: int) -> Markup:
        """A cell's text; where a table is short of width, an interval or a count goes below its number."""
        if index < self.words or index == self.long:
            return escape(cell)
        if self.dense:
            parts = (Markup("/<wbr>").join(part.split("/")) for part in _BREAKS.split(cell))
            return Markup(" <wbr>").join(parts)
        value, *notes = cell.split(" (")
        text = escape(value)
        for note in notes:
            apart = any(word in note for word in (" to ", " of "))
            text += Markup(" <wbr>(" if apart else " (") + note
        return text


@dataclass(frozen=True)
class Section:
    """A part that is folded away; one that holds nothing is left out."""

    anchor: str
    title: str
    parts: Sequence[Block]


@dataclass(frozen=True)
class ReportPage:
    """What is on it, from top to bottom."""

    title: str
    questions: Sequence[str]
    remarks: Sequence[str]
    """What a reader has to know of where the cells come from."""
    answer: Sequence[str]
    """At most three sentences."""
    first: Sequence[Block]
    """The figure that shows the answer, and its table."""
    gloss: Sequence[tuple[str, str]] = ()
    """What words of the answer mean: each with its meaning."""
    sure: Sequence[str] = ()
    """How sure the answer is, in sentences."""
    sure_table: Sequence[Block] = ()
    """The same of each domain."""
    next: Sequence[Block] = ()
    """What would make it surer."""
    sections: Sequence[Section] = ()
    figures: Sequence[Figure] = field(default=(), repr=False)


def page_html(page: ReportPage) -> str:
    """The page as one file; every text in it is escaped."""
    shown = ReportPage(**{**vars(page), "sections": [s for s in page.sections if s.parts]})
    # "<" would let a domain's name end the script.
    data = _figures_json(page.figures).replace("<", "\\u003c")
    html: str = _template().render(
        page=shown,
        pictures={figure.name: picture_names(figure) for figure in page.figures},
        policy=POLICY,
        style=Markup(_asset("report.css")),
        data=Markup(data),
        library=Markup(vega_library().replace("</script", "<\\/script")),
        script=Markup(_asset("report.js")),
    )
    return html


def picture_names(figure: Figure) -> list[str]:
    """`overview.png`: what a browser without JavaScript can show of a figure, beside the page."""
    return [f"{name}.png" for name in dict.fromkeys(v.file for v in figure.variants) if name]


def _figures_json(figures: Sequence[Figure]) -> str:
    """What `report.js` reads: specifications, and the texts that their points name by number.

    One variant after the other becomes text: as objects, those of a large sweep take ten times the page.
    """
    texts: Texts = {}
    drawn = []
    for figure in figures:
        variants = ",".join(_json(_variant_value(v, texts)) for v in figure.variants)
        head = {
            "name": figure.name, "selectors": figure.selectors, "note": figure.note,
            "start": figure.start,
        }  # fmt: skip
        drawn.append(f'{_json(head)[:-1]},"variants":[{variants}]}}')
    rest = {
        "texts": [list(lines) for lines in texts], "config": CONFIG,
        "themes": {"light": THEME, "dark": DARK},
    }  # fmt: skip
    return f'{{"figures":[{",".join(drawn)}],{_json(rest)[1:]}'


def _variant_value(variant: Variant, texts: Texts) -> dict[str, Any]:
    spec = variant_spec(variant, texts)
    caption = caption_of(variant, spec)
    # What a picture cannot say: it has no table.
    caption = caption.replace(
        EDGES_NOTE, f"{EDGES_NOTE[:-1]}; the numbers as a table have their values."
    )
    return {
        "choice": variant.choice, "caption": caption, "file": variant.file, "spec": spec,
        "legend": legend_of(variant), "faces": len(variant.faces),
        "columns": [[_column(p.x), _column(p.y)] for p in variant.panels],
    }  # fmt: skip


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _column(axis: Any) -> str:
    """The title of an axis' column in the table behind a figure; names are told by the points themselves."""
    return "" if axis.scale == "names" else axis.label


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_asset("report.html"))


def _asset(name: str) -> str:
    return (files("interfero.analysis.report") / "assets" / name).read_text(encoding="utf-8")
