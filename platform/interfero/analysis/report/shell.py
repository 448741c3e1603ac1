"""The page around figures, words and tables: one file that works offline and asks nothing of any server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import matplotlib
from matplotlib.colors import to_hex

from interfero.analysis.report.figure_data import Figure, as_json
from interfero.analysis.report.sections import escape

PALETTE_STEPS = 64
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""The browser itself keeps the page from asking anything of anyone."""


class Section(NamedTuple):
    """A part of the page; one that holds nothing is left out."""

    anchor: str
    title: str
    inside: str
    """HTML."""


def page_html(
    title: str, questions: Sequence[str], head: str, sections: Sequence[Section],
    figures: Sequence[Figure], foot: str = "",
) -> str:  # fmt: skip
    """The page.

    Args:
        title: Its heading.
        questions: What was asked, a paragraph each.
        head: HTML above the list of sections.
        sections: In their order.
        figures: What `report.js` draws into `figure-NAME`.
        foot: HTML after the last section.
    """
    data = {**as_json(figures), "palette": _palette()}
    # "<" would let a domain's name end the script.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    body = "".join(_body(title, questions, head, [s for s in sections if s.inside], foot))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # A page that is served would ask for /favicon.ico.
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_asset('report.css')}</style></head>\n"
        f"<body>{body}"
        '<div id="tip" role="status" hidden></div>\n'
        f'<script type="application/json" id="figures">{text}</script>\n'
        f"<script>{_asset('report.js')}</script></body></html>\n"
    )


def _body(
    title: str, questions: Sequence[str], head: str, sections: Sequence[Section], foot: str
) -> list[str]:
    links = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in sections)
    return [
        f"<header><h1>{escape(title)}</h1>",
        *(f'<p class="soft">{escape(question)}</p>' for question in questions),
        head,
        f"<nav><ul>{links}</ul></nav></header><main>",
        *(
            f'<section id="{key}"><h2>{escape(name)}</h2>{inside}</section>'
            for key, name, inside in sections
        ),
        foot,
        "</main>",
    ]


def _palette() -> list[str]:
    """Cividis, as the static maps have it."""
    colours = matplotlib.colormaps["cividis"].resampled(PALETTE_STEPS)
    return [to_hex(colours(i)) for i in range(PALETTE_STEPS)]


def _asset(name: str) -> str:
    return (files("interfero.analysis.report") / "assets" / name).read_text(encoding="utf-8")
