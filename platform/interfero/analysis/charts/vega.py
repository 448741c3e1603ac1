"""One Vega-Lite specification a figure: the page embeds it, and PNG and SVG are drawn from it.

Specifications are plain dictionaries. Altair would check each against a schema in Python, seconds for the
hundreds of variants of a page; vl-convert's compiler checks those that are drawn.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import (
    INK,
    MapPanel,
    Panel,
    PlotAxis,
    PlotPoint,
    Series,
    Tile,
    Variant,
)
from interfero.analysis.charts.frame import Frame, frame_of, ticks_of
from interfero.analysis.charts.looks import Look, picture_looks

Spec = dict[str, Any]
Theme = dict[str, str | float]
Texts = dict[tuple[str, ...], int]
"""Lines that points say, each once, with its number."""

WIDTH, HEIGHT = 310, 230
TILE_HEIGHT = 38
CHARACTER = 6.4
"""Pixels of a letter, to break lines by."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Comes with vl-convert; DejaVu Sans takes twice the time of all else to set."""
THEME: Theme = {
    "@ink": "#1a1a1a",
    "@page": "#ffffff",
    "@soft": "#5a5a5a",
    "@grid": "#e8e8e8",
    "@missing": "#e4e4e4",
    "@faint": 0.4,
}
"""What a picture has in place of the page's own colours, and of the opacity of faint marks."""
CONFIG: Spec = {
    "background": "@page", "font": FONT, "padding": 6, "view": {"stroke": None},
    "axis": {
        "labelColor": "@soft", "titleColor": INK, "domainColor": "@soft", "tickColor": "@soft",
        "labelFontSize": 11.5, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 260,
        "gridColor": {
            "condition": {"test": "datum.value === 0", "value": "@soft"}, "value": "@grid"
        },
    },
    "legend": {
        "orient": "bottom", "columns": 4, "labelFontSize": 12, "labelLimit": 300, "labelColor": INK,
        "titleColor": INK,
        "symbolSize": 70, "title": None,
    },
    "title": {
        "anchor": "start", "fontSize": 12.5, "color": INK, "subtitleColor": "@soft",
        "subtitleFontSize": 11.5, "offset": 8,
    },
    "text": {"color": INK, "fontSize": 11.5},
    "concat": {"spacing": 22},
}  # fmt: skip
_EDGES = {"<": "triangle-left", ">": "triangle-right", "v": "triangle-down", "^": "triangle-up"}
EDGES_NOTE = " Triangles at the frame stand for results that are too far out for its scale."


def variant_spec(variant: Variant, texts: Texts, looks: Mapping[str, Look] | None = None) -> Spec:
    """The specification of what a figure shows at one choice; panels side by side.

    Args:
        variant: What is drawn.
        texts: Grows by what the points say; a point names its lines by number.
        looks: Of the picture that it is a row of; its own, if not told otherwise.
    """
    seen = picture_looks([variant]) if looks is None else looks
    panels = [
        _map_spec(p, texts) if isinstance(p, MapPanel) else _panel_spec(p, seen, texts)
        for p in variant.panels
    ]
    maps = any(isinstance(p, MapPanel) for p in variant.panels)
    how = "independent" if maps else "shared"
    resolve = {"scale": {"color": how, "shape": how}}
    return {"concat": panels, "columns": len(panels), "resolve": resolve}


def caption_of(variant: Variant, spec: Spec) -> str:
    """The caption of a variant, and what triangles at a frame are where its specification has any."""
    layers = (layer for panel in spec["concat"] for layer in panel.get("layer", ()))
    edges = any("e" in layer["data"]["values"][0] for layer in layers)
    return variant.caption + EDGES_NOTE * edges


def legend_of(variant: Variant) -> list[tuple[str, str, str]]:
    """Label, colour and SVG path of each entry, for a page that draws its own legend.

    Entries in the colour `FACE` explain marks of all labels.
    """
    looks = picture_looks([variant])
    return [(label, look.colour, look.path) for label, look in looks.items()]


def coloured(spec: Spec, theme: Theme) -> str:
    """The specification as JSON, in the colours of a page or a picture."""
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    for name, colour in theme.items():
        text = text.replace(json.dumps(name), json.dumps(colour))
    return text


def _panel_spec(panel: Panel, looks: Mapping[str, Look], texts: Texts) -> Spec:
    points = [p for s in panel.series for p in s.points]
    if panel.empty:
        return _empty_spec(panel.title, panel.empty)
    ends = points
    if panel.diagonal:  # Both axes serve both coordinates.
        ends = [*points, *(PlotPoint(p.y, p.x, ()) for p in points)]
    x, y = frame_of(panel.x, ends, "x"), frame_of(panel.y, ends, "y")
    height = panel.y.row_height * len(panel.y.names) if panel.y.scale == "names" else HEIGHT
    colour, shape = _encodings(looks)
    layers, beyond = _layers(panel, x, y, texts, shape)
    if not layers:
        # Vega fails at a panel of no layers, and with it the whole picture (vl-convert 1.9.0).
        return _empty_spec(panel.title, "No cell has the values of both axes.")
    return {
        "width": WIDTH, "height": height, "title": _title(panel.title, beyond),
        "encoding": {
            "x": _position("x", panel.x, x, WIDTH), "y": _position("y", panel.y, y, height),
            "color": colour,
        },
        "layer": layers,
    }  # fmt: skip


def _encodings(looks: Mapping[str, Look]) -> tuple[Spec, Spec]:
    """By label; the legend is of both."""
    legend: Spec | None = {} if len(looks) > 1 else None
    field: Spec = {"field": "s", "type": "nominal", "legend": legend}
    colours = [look.colour for look in looks.values()]
    colour = {**field, "scale": {"domain": list(looks), "range": colours}}
    shapes = [look.legend_shape for look in looks.values()]
    shape = {**field, "scale": {"domain": list(looks), "range": shapes}}
    # The scale has what a legend shows, which fills its marks; marks are hollow by their own layer.
    hollow = [
        {"test": f"datum.s === {json.dumps(label)}", "value": look.shape}
        for label, look in looks.items()
        if look.shape != look.legend_shape
    ]
    return colour, {**shape, "condition": hollow} if hollow else shape


def _layers(
    panel: Panel, x: Frame, y: Frame, texts: Texts, shape: Spec
) -> tuple[list[Spec], list[PlotPoint]]:
    """Lines, bars, points, notes and what lies beyond the frame, in the order of drawing."""
    made = _Rows(x, y, texts)
    for series in panel.series:
        made.add(series)
    layers: list[Spec] = []
    if panel.diagonal and made.points:
        low, high = max(x.low, y.low), min(x.high, y.high)
        ends = [{"x": _short(v), "y": _short(v)} for v in (low, high)]
        line = {"type": "line", "strokeWidth": 1}
        layers.append(_layer(line, ends, {"color": {"value": "@soft"}}))
    dash = {"condition": {"test": "datum.d", "value": [5, 4]}, "value": [1, 0]}
    for steps, rows in made.lines.items():
        mark = {"type": "line", "interpolate": "step-before" if steps else "linear"}
        more = {"order": {"field": "i", "type": "quantitative"}, "strokeDash": dash}
        layers.append(_layer({**mark, "strokeWidth": 1.7}, rows, more))
    for which, rows in made.bars.items():
        end = {f"{which}2": {"field": f"{which}2"}}
        layers.append(_layer({"type": "rule", "strokeWidth": 1.3}, rows, end))
    faces: tuple[Spec, Spec] = {"filled": True}, {"filled": False, "fill": "@page"}
    for hollow, face in enumerate(faces):
        rows = [r for r in made.points if bool(r.get("h")) == hollow]
        seen = {
            "shape": shape,
            "size": {"field": "z", "type": "quantitative", "scale": None},
            "opacity": {"condition": {"test": "datum.f", "value": "@faint"}, "value": 1},
        }
        layers.append(_layer({"type": "point", **face, "strokeWidth": 1.6}, rows, seen))
    note = {"type": "text", "dy": -11, "fontSize": 11}
    layers.append(_layer(note, made.notes, {"text": {"field": "n", "type": "nominal"}}))
    for side, symbol in _EDGES.items():
        rows = [r for r in made.edges if r["e"] == side]
        layers.append(_layer({"type": "point", "shape": symbol, "filled": True, "size": 60}, rows))
    return [layer for layer in layers if layer["data"]["values"]], made.beyond


class _Rows:
    """The rows of each layer."""

    def __init__(self, x: Frame, y: Frame, texts: Texts) -> None:
        self._x, self._y, self._texts = x, y, texts
        self.lines: dict[bool, list[Spec]] = {}
        self.bars: dict[str, list[Spec]] = {"x": [], "y": []}
        self.points: list[Spec] = []
        self.notes: list[Spec] = []
        self.edges: list[Spec] = []
        self.beyond: list[PlotPoint] = []

    def add(self, series: Series) -> None:
        """All points that have a place on the axes."""
        good = [p for p in series.points if self._drawn(p.x, self._x) and self._drawn(p.y, self._y)]
        solid = [p for p in good if not p.faint]
        if series.line and len(solid) > 1:
            dashed = {"d": 1} if series.dashed else {}
            self.lines.setdefault(series.steps, []).extend(
                {**self._place(p), "s": series.label, "i": i, **dashed} for i, p in enumerate(solid)
            )
        for point in good:
            self._bar("x", point.x_range, point, series)
            self._bar("y", point.y_range, point, series)
        for point in good:
            self._point(point, series)

    def _drawn(self, value: float, frame: Frame) -> bool:
        return math.isfinite(value) and (frame.kind != "log" or value > 0)

    def _place(self, point: PlotPoint) -> Spec:
        return {"x": _short(self._x.held(point.x)), "y": _short(self._y.held(point.y))}

    def _bar(
        self, which: str, span: tuple[float, float] | None, point: PlotPoint, series: Series
    ) -> None:
        if span is not None:
            frame = self._x if which == "x" else self._y
            low, high = (_short(frame.held(v)) for v in span)
            row = {**self._place(point), which: low, f"{which}2": high, "s": series.label}
            self.bars[which].append(row)

    def _point(self, point: PlotPoint, series: Series) -> None:
        row = {**self._place(point), "s": series.label}
        row["t"] = self._texts.setdefault(point.hover, len(self._texts))
        side = self._side(point)
        if side:
            self.beyond.append(point)
            self.edges.append({**row, "e": side, "v": [_short(point.x), _short(point.y)]})
            return
        if series.marker:
            usual = 4.5 if point.faint else 8.5
            diameter = usual * point.size * (0.6 if series.marker == "." else 1)
            row |= {"z": round(diameter**2, 1)}
            row |= {"f": 1} if point.faint else {}
            row |= {"h": 1} if series.hollow or series.marker == "x" else {}
            self.points.append(row)
        if point.note:
            top = point.y if point.y_range is None else max(point.y, point.y_range[1])
            at = {**self._place(point), "y": _short(self._y.held(top))}
            self.notes.append({**at, "s": series.label, "n": point.note})

    def _side(self, point: PlotPoint) -> str:
        if self._y.beyond(point.y):
            return "v" if point.y < self._y.low else "^"
        if self._x.beyond(point.x):
            return "<" if point.x < self._x.low else ">"
        return ""


def _layer(mark: Spec, rows: Sequence[Spec], encoding: Spec | None = None) -> Spec:
    layer: Spec = {"mark": mark, "data": {"values": list(rows)}}
    return layer | ({"encoding": encoding} if encoding else {})


def _title(title: str, beyond: Sequence[PlotPoint]) -> Spec:
    text: Spec = {"text": wrapped(title, WIDTH + 40)}
    if beyond:
        text["subtitle"] = f"{counted(len(beyond), 'point')} beyond the frame (triangles)"
    return text


def _position(which: str, axis: PlotAxis, frame: Frame, pixels: int) -> Spec:
    label = axis.label + (", log beyond 1" if frame.kind == "symlog" else "")
    drawn: Spec = {"title": wrapped(label, max(pixels, 200)) if label else None}
    ticks = list(enumerate(axis.names)) if axis.scale == "names" else list(axis.ticks)
    if ticks:
        names = json.dumps([text for _, text in ticks])
        values = [_short(v) for v, _ in ticks]
        where = f"indexof({json.dumps(values)},datum.value)"
        drawn |= {"values": values, "labelExpr": f"split({names}[{where}],'\\n')"}
        drawn |= {"grid": False, "ticks": False, "labelPadding": 6} if axis.names else {}
        drawn |= {"domain": False} if axis.names else {}
    elif frame.kind != "linear":
        drawn |= {"values": [_short(v) for v in ticks_of(frame)], "format": ",~f"}
    else:
        drawn |= {"tickCount": 5 if which == "x" else 6}
    scale: Spec = {"type": frame.kind, "domain": [frame.low, frame.high], "nice": False}
    # A logarithmic scale has no zero to include.
    scale |= {"zero": False} if frame.kind == "linear" else {}
    return {"field": which, "type": "quantitative", "scale": scale, "axis": drawn}


def _map_spec(panel: MapPanel, texts: Texts) -> Spec:
    if panel.empty:
        return _empty_spec(panel.title, panel.empty)
    # A map of two rows is no lower than the title of its axis is long.
    height = max(
        TILE_HEIGHT * len(panel.y.names), min(200, int(CHARACTER * len(panel.y.label)) + 8)
    )
    known = [t.value for t in panel.tiles if t.value is not None]
    shown = _served(known)
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    if panel.diverging:
        high = max(-low, high) or 1.0
        low = -high
    rows = [_tile_row(t, texts) for t in panel.tiles]
    with_value = [r for r in rows if "v" in r]
    missing = [r for r in rows if "v" not in r]
    scheme = "blueorange" if panel.diverging else "cividis"
    scale = {"scheme": scheme, "domain": [low, high if high > low else low + 1], "clamp": True}
    tile = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    at = {axis: {"field": name, "type": "quantitative"} for axis, name in (("x", "c"), ("y", "m"))}
    colour = {
        "field": "v",
        "type": "quantitative",
        "scale": scale,
        "legend": _map_legend(panel, height),
    }
    # Dark are the low end of the one scale, and both ends of the other.
    dark = (
        f"abs(datum.v) > {0.6 * high!r}" if panel.diverging else f"datum.v < {(low + high) / 2!r}"
    )
    ink = {"condition": {"test": dark, "value": "#ffffff"}, "value": "#000000"}
    word = {"text": {"field": "n", "type": "nominal"}}
    layers = [
        _layer({"type": "rect"}, with_value, {**tile, "color": colour}),
        _layer({"type": "rect", "color": "@missing"}, missing, tile),
        _layer({"type": "text"}, with_value, {**at, **word, "color": {**ink}}),
        _layer({"type": "text", "color": "@soft"}, missing, {**at, **word}),
    ]
    astray = len(known) - len(shown)
    title: Spec = {"text": wrapped(panel.title, WIDTH + 40)}
    if astray:
        title["subtitle"] = f"colours serve the rest: {astray} diverged"
    x, y = (Frame("linear", -0.5, len(a.names) - 0.5) for a in (panel.x, panel.y))
    return {
        "width": WIDTH, "height": height, "title": title,
        "encoding": {
            "x": _position("x", panel.x, x, WIDTH), "y": _position("y", panel.y, y, height),
        },
        "layer": [layer for layer in layers if layer["data"]["values"]],
    }  # fmt: skip


def _served(values: Sequence[float]) -> list[float]:
    """Without what diverged."""
    points = [PlotPoint(v, 0.0, ()) for v in values]
    frame = frame_of(PlotAxis("", "percent"), points, "x")
    return [v for v in values if not frame.beyond(v)]


def _map_legend(panel: MapPanel, height: int) -> Spec:
    return {
        "orient": "right", "title": panel.unit, "gradientLength": max(60, height - 20),
        "gradientThickness": 10, "format": ",~f",
    }  # fmt: skip


def _tile_row(tile: Tile, texts: Texts) -> Spec:
    row: Spec = {
        "x": tile.x - 0.48, "x2": tile.x + 0.48, "y": tile.y - 0.47, "y2": tile.y + 0.47,
        "c": tile.x, "m": tile.y, "n": tile.text,
        "t": texts.setdefault(tile.hover, len(texts)),
    }  # fmt: skip
    return row if tile.value is None else {**row, "v": _short(tile.value)}


def _empty_spec(title: str, why: str) -> Spec:
    """A panel of words: axes would be read as results."""
    text = {"text": {"value": wrapped(why, WIDTH - 30)}}
    return {
        "width": WIDTH, "height": HEIGHT // 2, "title": _title(title, ()),
        "data": {"values": [{}]}, "mark": {"type": "text", "color": "@soft"}, "encoding": text,
    }  # fmt: skip


def wrapped(text: str, pixels: int) -> list[str]:
    """Lines of so many pixels; those that are apart already stay so."""
    lines = text.split("\n")
    return [part for line in lines for part in textwrap.wrap(line, int(pixels / CHARACTER))]


def _short(value: float) -> float:
    """No more digits than a screen has."""
    return float(f"{value:.5g}")
