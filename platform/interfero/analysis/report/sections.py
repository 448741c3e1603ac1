"""The parts of the page that are words, tables and pictures, as HTML; every text is escaped here."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Sequence

from interfero.analysis.about import About
from interfero.analysis.capacity_table import (
    capacity_rows,
    failed_lines,
    seeds_text,
    signed,
    table_caption,
)
from interfero.analysis.choices import Choice, choose_learning_rates
from interfero.analysis.rd_curves import SIDE_TITLES, SIDES
from interfero.analysis.report.curves import NO_CURVES, CurveRow
from interfero.analysis.report.figure_data import RunLinks
from interfero.analysis.report.laws import LawRow
from interfero.analysis.report.pictures import ShownCell, picture_urls
from interfero.records import CellRecord, ImageRow

WHOLE_TABLE_ROWS = 14
"""A longer table is folded away."""
MAX_FAILED = 20
_COLUMNS = ("original", "source codec", "adapted")
_ROLES = {
    "target": "target",
    "source_unrouted": "source, through the adapted codec",
}
_HASHES = ("codec_hash", "table_hash", "domain_hash", "source_domain_hash", "loop_hash")


def escape(text: object) -> str:
    """Fit for HTML, attributes too."""
    return html.escape(str(text), quote=True)


def paragraphs(lines: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def facts(records: Sequence[CellRecord], choices: Sequence[Choice]) -> str:
    """What there is, at a glance."""
    status = Counter(r.status for r in records)
    params = [r.params for r in records]

    def levels(name: str) -> list[str]:
        return [f"{v:g}" for v in sorted({float(p[name]) for p in params})]

    entries = [
        ("cells", ", ".join(f"{n} {word}" for word, n in sorted(status.items(), reverse=True))),
        ("source codec", ", ".join(sorted({str(p["codec"]) for p in params}))),
        ("target domains", ", ".join(sorted({str(p["domain"]) for p in params}))),
        ("methods", ", ".join(sorted({str(p["method"]) for p in params}))),
        ("lambda", ", ".join(levels("rd_lambda"))),
        ("training images", ", ".join(levels("num_images"))),
        ("steps", ", ".join(levels("num_steps"))),
        ("seeds", seeds_text(choices)),
    ]
    return facts_list(entries)


def facts_list(entries: Iterable[tuple[str, str]]) -> str:
    """Words with what they stand for."""
    items = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in entries)
    return f'<dl class="facts">{"".join(items)}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int, long: int = -1) -> str:
    """Rows of text; folded away if they are many.

    Args:
        header: Titles of the columns.
        rows: Cells.
        words: So many columns at the start are words, the rest numbers.
        long: A column of sentences.
    """

    def kind(index: int) -> str:
        return ' class="long"' if index == long else "" if index < words else ' class="number"'

    head = "".join(f"<th{kind(i)}>{escape(t)}</th>" for i, t in enumerate(header))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(i)}>{escape(t)}</td>" for i, t in enumerate(row)) + "</tr>"
        for row in rows
    )
    made = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if len(rows) <= WHOLE_TABLE_ROWS:
        return made
    return f"<details><summary>Table of {len(rows)} rows</summary>{made}</details>"


def capacity_section(records: Sequence[CellRecord]) -> str:
    """The table that a sweep prints, one adapter size a method."""
    header, rows = capacity_rows(records, best_size_only=True)
    words = header.index("size")
    caption = table_caption(choose_learning_rates(records)).replace("\n", "; ")
    note = f"The adapter size with the best validation for each method; {caption}."
    plain = [title.replace("\n", " ") for title in header]
    return f'<p class="soft">{escape(note)}</p>' + table(
        plain, [[c.replace("\n", " ") for c in row] for row in rows], words
    )


def curves_section(rows: Sequence[CurveRow]) -> str:
    """BD-rates, with the reasons of those that are missing."""
    if not rows:
        return f'<p class="soft">{escape(NO_CURVES)}</p>'
    header = ["domain", "method", "size", "images", "steps", "seeds"]
    for side in SIDES:
        header += [f"{SIDE_TITLES[side]}: BD-rate", "BD-PSNR"]
    reasons: dict[str, int] = {}
    body = []
    for row in rows:
        domain, images, steps, _, method, size, _ = row.setting
        numbers = [str(reasons.setdefault(r, len(reasons) + 1)) for r in row.reasons]
        why = f" ({', '.join(numbers)})" if numbers else ""
        values = [v for pair in zip(row.rates, row.psnrs, strict=True) for v in pair]
        shown = [v + why if "missing" in v else v for v in values]
        own = [domain, method, str(size) if size else "-", str(images), str(steps)]
        body.append([*own, str(row.num_seeds), *shown])
    note = (
        "BD-rate: percent of rate at equal PSNR, negative is better; mean over seeds ± standard deviation; "
        "in brackets the least share of an adapted curve that the source codecs' curve covers. Numbers in "
        "parentheses say why a value is missing."
    )
    notes = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    title = f"Why values are missing: {len(reasons)} reasons"
    return (
        f'<p class="soft">{escape(note)}</p>'
        + table(header, body, 2)
        + (f"<details><summary>{title}</summary><ol>{notes}</ol></details>" if notes else "")
    )


def laws_section(rows: Sequence[LawRow]) -> str:
    """Every law that was asked for: fitted, beaten by the mean, or refused."""
    if not rows:
        return (
            '<p class="soft">No finished cell of a method that sees the target: nothing to fit.</p>'
        )
    header = ["method", "of", "law", "exponents, or why there are none", "evidence"]
    body = [[r.subject, r.response, r.law, r.detail, r.evidence] for r in rows]
    return table(header, body, len(header), long=3)


def pictures_section(cells: Sequence[ShownCell], runs: RunLinks) -> str:
    """Original, source codec, adapted: worst and median images with their numbers."""
    if not cells:
        return (
            '<p class="soft">The pictures of the cells are not at hand: they lie in the sweep\'s folder '
            "(<code>samples/</code>) and in the cells' MLflow runs.</p>"
        )
    urls, exact = picture_urls(cells)
    how = (
        "Pixel-exact"
        if exact
        else "JPEG here, to keep this file small; pixel-exact in the PNG files"
    )
    note = (
        f"{how}; of larger images the centre. Rate and PSNR are those of the whole image. Shown of each "
        "domain: fine-tuning, and the other method with the best validation gain, at the seed with the "
        "median gain. Worst: the test image whose rate-distortion loss grew most, or fell least."
    )
    parts = [f'<p class="soft">{escape(note)}</p>']
    first = cells[0].record.params["domain"]
    for cell in cells:
        shown = cell.record.params["domain"] == first
        parts.append(
            f"<details{' open' if shown else ''}>{_cell_pictures(cell, urls, runs)}</details>"
        )
    return "".join(parts)


def _cell_pictures(cell: ShownCell, urls: dict[int, str], runs: RunLinks) -> str:
    p = cell.record.params
    size = f" {p['adapter_size']}" if p["adapter_size"] else ""
    where = f"lambda {float(p['rd_lambda']):g}, {p['num_images']} images, {p['num_steps']} steps"
    parts = [
        f"<summary>{escape(p['domain'])}: {escape(p['method'])}{escape(size)}</summary>",
        f'<p class="soft">{escape(where)}; {escape(runs.text(cell.record))}</p>',
    ]
    for picture in cell.pictures:
        row = cell.row(picture)
        numbers = ["", "", ""] if row is None else _picture_texts(row)
        title = f"{_ROLES[picture.role]}, {picture.rank} image ({picture.name})"
        images = "".join(
            f'<figure><img src="{urls[id(pixels)]}" width="{pixels.shape[1]}" '
            f'height="{pixels.shape[0]}" alt="{escape(f"{column}, {title}")}"><figcaption>'
            f"{escape(column)}<br>{escape(text)}</figcaption></figure>"
            for column, pixels, text in zip(_COLUMNS, picture.pictures_HWC, numbers, strict=True)
        )
        parts.append(f'<p>{escape(title)}</p><div class="pictures">{images}</div>')
    return "".join(parts)


def _picture_texts(row: ImageRow) -> list[str]:
    """Under original, source codec and adapted."""
    change = 100 * (row.rd_loss / row.rd_loss_before - 1)
    return [
        "",
        f"{row.bpp_before:.3f} bpp, {row.psnr_db_before:.2f} dB",
        f"{row.bpp:.3f} bpp, {row.psnr_db:.2f} dB, loss {signed(change)} %",
    ]


def reproduce_section(abouts: Sequence[About], records: Sequence[CellRecord]) -> str:
    """Commands, versions and fingerprints."""
    parts = []
    for about in abouts:
        parts.append(f"<h3>{escape(about.name)} ({escape(about.kind)})</h3>")
        if about.command:
            parts.append(f"<pre>{escape(about.command)}</pre>")
        if about.versions:
            rows = [[name, value] for name, value in sorted(about.versions.items())]
            parts.append(table(["provenance", "value"], rows, 2))
    if not any(about.command for about in abouts):
        parts.append(
            '<p class="soft">The command is not known: the table was written by an earlier version, or '
            "put together from several.</p>"
        )
    prints = _fingerprints(records)
    if prints:
        parts.append("<h3>Fingerprints of the cells</h3>")
        parts.append(table(["what", "of", "value"], prints, 3))
    return "".join(parts)


def _fingerprints(records: Sequence[CellRecord]) -> list[list[str]]:
    """Each hash with what it is of: a codec at a lambda, a domain; then versions and loop settings."""
    found: dict[tuple[str, str, str], None] = {}
    for record in records:
        p, own = record.params, record.provenance
        of = {
            "codec_hash": f"{p['codec']} at lambda {float(p['rd_lambda']):g}",
            "table_hash": f"{p['codec']} at lambda {float(p['rd_lambda']):g}",
            "domain_hash": str(p["domain"]),
            "source_domain_hash": own.get("source_domain", ""),
            "loop_hash": "training code",
        }
        for name in _HASHES:
            if name in own:
                found[name.removesuffix("_hash").replace("_", " "), of[name], own[name]] = None
        if "versions" in own:
            found["libraries", "", own["versions"]] = None
        if "loop" in own:
            found["loop", "", _loop_text(own["loop"])] = None
    order = {name.removesuffix("_hash").replace("_", " "): i for i, name in enumerate(_HASHES)}
    return [list(key) for key in sorted(found, key=lambda key: (order.get(key[0], 9), *key))]


def _loop_text(text: str) -> str:
    """`batch_size 8, crop_size 128, ...`; as it is if it is no JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else text


def failures_section(records: Sequence[CellRecord]) -> str:
    """Which cells failed, and why."""
    lines = failed_lines(records)
    if not lines:
        return ""
    more = [f"and {len(lines) - MAX_FAILED} more"] if len(lines) > MAX_FAILED else []
    listed = paragraphs([*lines[:MAX_FAILED], *more])
    return f"<h2>Failed cells</h2><details><summary>{len(lines)} cells</summary>{listed}</details>"
