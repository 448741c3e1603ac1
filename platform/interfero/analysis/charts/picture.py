"""Variants as the rows of one picture: what all say is said once, and what each says begins at one place."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from interfero.analysis.charts.vega import CONFIG, WIDTH, Spec, wrapped

NAME_CHARACTER = 5.8
"""Pixels of a letter beside an axis."""
TITLE_LINE = 15
"""Pixels of each line of an axis' title."""
KEPT_TITLES = 3
"""Rows of a picture that keep all of their titles; of more, titles that repeat stand once."""
_NAMES = re.compile(r"split\((\[.*\])\[indexof")
"""The names in the expression of an axis' labels."""
_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z0-9])(?![^(]*\))")
"""Between the sentences of a caption, outside of parentheses."""


def picture_spec(title: Sequence[str], rows: Sequence[tuple[str, Spec]]) -> Spec:
    """Variants as the rows of one picture; what is the same in all rows is said once, above or below them.

    Setting text is what drawing takes longest for, and a reader looks for what differs. Rows share one
    legend: their specifications have the looks of all of them.

    Args:
        title: The title, and what holds for all rows.
        rows: What each row shows, and its specification.
    """
    widest = max(len(spec["concat"]) for _, spec in rows)
    pixels = widest * (WIDTH + 70)
    captions, shared = parted_captions([caption for caption, _ in rows])
    panels = [spec["concat"] for _, spec in rows]
    # A title begins where its panel's own axis does, and axes differ in width from row to row.
    lefts = [max(_axis_width(own[c]) for own in panels if c < len(own)) for c in range(widest)]
    drawn: list[Spec] = [
        {
            "hconcat": [
                _begun(_in_rows(panels, row, column), lefts[column]) for column in range(len(own))
            ],
            "resolve": spec["resolve"],
            "title": {
                "text": wrapped(caption, pixels), "fontSize": 12.5, "fontWeight": "normal",
                "frame": "group", "dx": -lefts[0],
            },
        }
        for row, (caption, own, (_, spec)) in enumerate(zip(captions, panels, rows, strict=True))
    ]  # fmt: skip
    note = " ".join(part for part in (title[1], shared) if part)
    head = {"text": title[0], "fontSize": 15, "subtitle": wrapped(note, pixels)}
    schema = "https://vega.github.io/schema/vega-lite/v5.json"
    whole = {"vconcat": drawn, "resolve": drawn[0]["resolve"], "title": head, "config": CONFIG}
    return {"$schema": schema, **whole}


def parted_captions(captions: Sequence[str]) -> tuple[list[str], str]:
    """Each row's caption without the sentences that all rows have, and these.

    `["This is A. Bars are seeds.", "This is B. Bars are seeds."]` is `["This is A.", "This is B."]` and
    `"Bars are seeds."`.
    """
    each = [_SENTENCE.split(caption) for caption in captions]
    every = set(each[0]).intersection(*each) if len(captions) > 1 else set()
    if not every or any(every.issuperset(own) for own in each):
        return list(captions), ""
    own = [" ".join(sentence for sentence in row if sentence not in every) for row in each]
    return own, " ".join(sentence for sentence in each[0] if sentence in every)


def _in_rows(panels: Sequence[Sequence[Spec]], row: int, column: int) -> Spec:
    """A panel in a picture of many rows: its title stands in the first, that of its x axis in the last.

    Where another row has other words there, it keeps its own; and where rows are few, each has all.
    """
    panel = panels[row][column]
    if len(panels) <= KEPT_TITLES:
        return panel
    column_of = [own[column] for own in panels if column < len(own)]
    if len(column_of) < len(panels):
        return panel
    if row > 0 and len({str(p["title"]["text"]) for p in column_of}) == 1:
        beyond = panel["title"].get("subtitle", "")
        quiet = {"text": beyond, "fontSize": 11.5, "color": "@soft", "fontWeight": "normal"}
        panel = {**panel, "title": quiet if beyond else None}
    if row < len(panels) - 1 and len({_x_title(p) for p in column_of}) == 1 and _x_title(panel):
        x = panel["encoding"]["x"]
        axis = {**x["axis"], "title": None}
        panel = {**panel, "encoding": {**panel["encoding"], "x": {**x, "axis": axis}}}
    return panel


def _begun(panel: Spec, left: int) -> Spec:
    """A panel whose title begins so far to the left of its axis."""
    title = panel["title"]
    return {**panel, "title": {**title, "frame": "group", "dx": -left}} if title else panel


def _axis_width(panel: Spec) -> int:
    """Pixels to the left of the y axis: its labels and its title, about."""
    position = panel.get("encoding", {}).get("y")
    if not position:
        return 0
    axis = position["axis"]
    names = _NAMES.match(axis.get("labelExpr", ""))
    if names:
        labels = [part for name in json.loads(names[1]) for part in name.split("\n")]
    else:
        labels = [f"{value:.2g}" for value in axis.get("values") or position["scale"]["domain"]]
    widest = min(NAME_CHARACTER * max(map(len, labels), default=0), CONFIG["axis"]["labelLimit"])
    return int(widest) + 10 + TITLE_LINE * len(axis["title"] or ())


def _x_title(panel: Spec) -> str:
    axis = panel["encoding"].get("x", {}).get("axis", {})
    return " ".join(axis.get("title") or ())
