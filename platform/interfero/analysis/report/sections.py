"""The parts of the page that are words, tables and pictures; the template escapes every text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from interfero.analysis.about import About
from interfero.analysis.best import BestAdapter, best_adapters
from interfero.analysis.capacity_table import (
    capacity_rows,
    failed_lines,
    seeds_text,
    short_rate,
    signed,
    table_caption,
)
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.choices import Choice, choose_learning_rates, setting_of
from interfero.analysis.comparison import DOMAINS_NOTE, domain_rows
from interfero.analysis.diverged import every_diverged
from interfero.analysis.focus import budget_text, central_lambda, lambdas, longest
from interfero.analysis.laws.words import LawRow
from interfero.analysis.method_table import method_rows
from interfero.analysis.next_command import Next
from interfero.analysis.parts import grey_domains, without_grey
from interfero.analysis.rd_curves import (
    CURVES_NOTE,
    NO_CURVES,
    CurveRow,
    curve_table,
    without_curves,
)
from interfero.analysis.report.pictures import ShownCell, picture_urls
from interfero.analysis.report.shell import Block, PageTable
from interfero.analysis.single_domains import DomainResult, domain_table
from interfero.metrics.names import GAIN, ROUTED
from interfero.records import CellRecord, ImageRow

MAX_FAILED = 20
_COLUMNS = ("original", "source codec", "adapted")
_ROLES = {
    "target": "target",
    "source_unrouted": "source, through the adapted codec",
}
_HASHES = ("codec_hash", "table_hash", "domain_hash", "source_domain_hash", "loop_hash")


def facts(records: Sequence[CellRecord], choices: Sequence[Choice]) -> list[Block]:
    """What there is, at a glance."""
    status = Counter(r.status for r in records)
    params = [r.params for r in records]

    def levels(name: str) -> list[str]:
        return [f"{v:g}" for v in sorted({float(p[name]) for p in params})]

    rows = [
        ("cells", ", ".join(f"{n} {word}" for word, n in sorted(status.items(), reverse=True))),
        ("source codec", ", ".join(sorted({str(p["codec"]) for p in params}))),
        ("target domains", ", ".join(sorted({str(p["domain"]) for p in params}))),
        ("methods", ", ".join(sorted({str(p["method"]) for p in params}))),
        ("lambda", ", ".join(levels("rd_lambda"))),
        ("training images", ", ".join(levels("num_images"))),
        ("test images", _tested(records)),
        ("steps", ", ".join(levels("num_steps"))),
        ("diverged", every_diverged(records, choices)),
        ("seeds", seeds_text(choices)),
    ]
    return [("table", PageTable(["what", "value"], rows, 2))]


def _tested(records: Sequence[CellRecord]) -> str:
    """`histology 4 crops of 2 pictures; source 12 pictures`: of each domain's first finished cell."""
    first: dict[str, CellRecord] = {}
    for record in records:
        if record.status == "finished":
            first.setdefault(str(record.params["domain"]), record)
    found: dict[str, None] = {}
    for domain, record in sorted(first.items()):
        for role, name in (("target", domain), ("source", "source")):
            groups = [row.group for row in record.images if row.role == role]
            if groups:
                found[f"{name} {_crops(len(groups), len(set(groups)))}"] = None
    return "; ".join(sorted(found, key=lambda text: text.startswith("source "))) or "not known"


def _crops(images: int, pictures: int) -> str:
    noun = "picture" if pictures == 1 else "pictures"
    return f"{images} {noun}" if images == pictures else f"{images} crops of {pictures} {noun}"


def capacity_parts(records: Sequence[CellRecord]) -> list[Block]:
    """The table that a sweep prints, one adapter size a method."""
    header, rows = capacity_rows(records, best_size_only=True, in_db=True)
    caption = table_caption(choose_learning_rates(records)).replace("\n", "; ")
    note = (
        f"For each method the adapter size with the best validation result; {caption}. dB are at equal "
        "rate, to first order: percent of the loss compares neither domains nor lambdas."
    )
    plain = [[c.replace("\n", " ") for c in row] for row in (header, *rows)]
    table = PageTable(
        plain[0], plain[1:], header.index("size"), name="Every method in each setting:", note=note
    )
    header, medians = domain_rows(records)
    rows = [[_plain(text) for text in row] for row in medians]
    after = budget_text(records)
    parted = PageTable(
        header, rows, header.index("cells"), name="Medians of each domain and method:",
        note=_plain(DOMAINS_NOTE) + (f" All {after}." if after else ""),
    )  # fmt: skip
    return [*_method_parts(records), ("table", table), ("table", parted)]


def _method_parts(records: Sequence[CellRecord]) -> list[Block]:
    """A row a method at the central lambda; other lambdas are folded away, each by itself.

    They unfold as the figure's lambda is chosen.
    """

    def table(rd_lambda: float | None = None) -> list[Block]:
        header, means, what = method_rows(records, rd_lambda)
        return [("table", PageTable(header, means, 1, whole=True)), ("note", what)]

    parts = table()
    found = longest(without_grey(records))
    for value in lambdas(found):
        if value != central_lambda(found):
            own = f"{value:g}"
            title = f"The same at lambda {own}"
            choice = {"figure": "overview", "choice": own, "title": title, "parts": table(value)}
            parts.append(("choice", choice))
    return parts


def _plain(text: str) -> str:
    """Without the marks of Markdown, which a page shows as they are."""
    return text.replace("`", "")


def domain_parts(results: Sequence[DomainResult]) -> list[Block]:
    """Gain and cost of each domain, with their intervals."""
    if not results:
        return []
    header, rows, note = domain_table(results)
    return [("table", PageTable(header, rows, 1, name="Each domain by itself:", note=note))]


def best_parts(records: Sequence[CellRecord], runs: RunLinks) -> list[Block]:
    """The adapter to ship for each domain and lambda, as `best_adapters.json` has it."""
    grey = grey_domains(records)
    rows = [_best_row(one, runs, grey=one.domain in grey) for one in best_adapters(records)]
    header = [
        "domain", "method", "lambda", "images", "steps", "size", "learn rate", "gain (%)",
        "forgetting, routed (%)", "file", "run",
    ]  # fmt: skip
    note = (
        "The adapter to ship, one cell for each domain and lambda: most gain on validation, mean over "
        "seeds, of the settings that surely forget nothing there when routed (0, or below it with their 95 "
        "% interval); of the seeds the one in the middle. Gain and forgetting are that cell's own, on test "
        "images; behind the mean of its setting stands the 95 % interval over data seeds. The tables above "
        "have for each method the learning rate that gains most, however much it forgets: a method that "
        "forgets can stand there with more gain. The answer compares methods at one count of training "
        "images and one budget; here the best of all counts and budgets is taken for each domain by "
        "itself, so that it can be another method. A method that trains nothing leaves nothing to ship. "
        "Files are relative to the sweep's folder; a search may have a limit of forgetting of its own."
    )
    if any(row[header.index("learn rate")].endswith("*") for row in rows):
        note += " * at the edge of the learning rates that were tried: a larger grid may do better."
    table = PageTable(header, rows, 2, whole=True, tight=True)
    own: list[Block] = [("table", table), ("note", note)]
    return [("folded", ("Which adapter to ship, for each domain and lambda", own))] if rows else []


def _best_row(one: BestAdapter, runs: RunLinks, *, grey: bool) -> list[str]:
    record, p = one.record, one.record.params
    gain, lost = (signed(record.metrics[m]) if m in record.metrics else "-" for m in (GAIN, ROUTED))
    notes = ["the source codec is better"] if one.loses else []
    if len(one.cells) > 1 and one.mean_gain is not None:
        mean = f"mean of {len(one.cells) - one.num_diverged} seeds {signed(one.mean_gain)}"
        ends = [signed(end) for end in one.gain_interval or ()]
        notes.append(f"{mean}, {' to '.join(ends)}" if ends else mean)
    if one.num_diverged:
        notes.append(f"{one.num_diverged} of {len(one.cells)} seeds diverged")
    if one.forgets:
        lost += " (every setting forgets)"
    elif record.metrics.get(ROUTED, 0.0) > 0:
        lost += " (forgets here, not on validation)"
    return [
        f"{one.domain} (grey)" if grey else one.domain, str(p["method"]), f"{one.rd_lambda:g}",
        setting_of(record).images_in_table, str(p["num_steps"]),
        str(p["adapter_size"]) if p["adapter_size"] else "-",
        short_rate(float(p["learning_rate"])) + ("*" if one.at_edge else ""),
        gain + "".join(f" ({note})" for note in notes), lost, record.adapter_file or "not kept",
        runs.text(record),
    ]  # fmt: skip


def next_parts(step: Next | None) -> list[Block]:
    """What would make the answer surer, and the command that does it."""
    if step is None:
        return []
    parts: list[Block] = [("lines", [f"{r[0].upper()}{r[1:]}." for r in step.reasons])]
    price = f"{step.size}. " if step.size else ""
    price += "With --dry-run the command lists its cells and trains nothing."
    if step.one_report:
        price += " Each command is a sweep of its own, in any order. When they have ended, one report of "
        price += f"all: {step.one_report}"
    return parts + ([("code", step.command), ("note", price)] if step.command else [])


def curves_parts(rows: Sequence[CurveRow]) -> list[Block]:
    """BD-rates of settings that have any; how many have none, and why."""
    if not rows:
        return [("note", NO_CURVES)]
    header, body, reasons = curve_table([row for row in rows if row.has_value])
    parts: list[Block] = [("note", CURVES_NOTE)] if body else []
    parts += [("table", PageTable(header, body, header.index("size")))] if body else []
    gone = without_curves(rows)
    parts += [("note", gone)] if gone else []
    return parts + ([("reasons", reasons)] if reasons else [])


def laws_parts(rows: Sequence[LawRow], astray: str = "") -> list[Block]:
    """Every law that was asked for: fitted, beaten by the mean, or refused.

    Args:
        rows: Of the table.
        astray: How many of the chosen cells diverged, and are in no fit; empty if none.
    """
    if not rows:
        return [("note", "No finished cell of a method that sees the target: nothing to fit.")]
    header = ["method", "of", "law", "holds", "exponents, or why there are none", "evidence"]
    body = [[r.subject, r.response, r.law, r.holds, r.detail, r.evidence] for r in rows]
    left_out: list[Block] = [("note", f"In no fit: {astray}.")] if astray else []
    return [("table", PageTable(header, body, len(header), long=4)), *left_out]


def pictures_parts(cells: Sequence[ShownCell], runs: RunLinks) -> list[Block]:
    """Original, source codec, adapted: worst and median images with their numbers."""
    if not cells:
        why = (
            "The pictures of the cells are not here: they are in the sweep's folder (samples/) and in the "
            "cells' MLflow runs."
        )
        return [("note", why)]
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
    parts: list[Block] = [("note", note)]
    for cell in cells:
        parts.append(("folded", _cell_pictures(cell, urls, runs)))
    return parts


def _cell_pictures(
    cell: ShownCell, urls: dict[int, str], runs: RunLinks
) -> tuple[str, list[Block]]:
    p = cell.record.params
    size = f" {p['adapter_size']}" if p["adapter_size"] else ""
    where = f"lambda {float(p['rd_lambda']):g}, {p['num_images']} images, {p['num_steps']} steps"
    parts: list[Block] = [("note", f"{where}; {runs.text(cell.record)}")]
    for picture in cell.pictures:
        row = cell.row(picture)
        texts = ["", "", ""] if row is None else _picture_texts(row)
        title = f"{_ROLES[picture.role]}, {picture.rank} image ({picture.name})"
        shown = [
            {
                "name": name, "text": text, "url": urls[id(pixels)],
                "width": pixels.shape[1], "height": pixels.shape[0],
            }
            for name, pixels, text in zip(_COLUMNS, picture.pictures_HWC, texts, strict=True)
        ]  # fmt: skip
        parts.append(("pictures", {"title": title, "pictures": shown}))
    return f"{p['domain']}: {p['method']}{size}", parts


def _picture_texts(row: ImageRow) -> list[str]:
    """Under original, source codec and adapted."""
    change = 100 * (row.rd_loss / row.rd_loss_before - 1)
    return [
        "",
        f"{row.bpp_before:.3f} bpp, {row.psnr_db_before:.2f} dB",
        f"{row.bpp:.3f} bpp, {row.psnr_db:.2f} dB, loss {signed(change)} %",
    ]


def reproduce_parts(abouts: Sequence[About], records: Sequence[CellRecord]) -> list[Block]:
    """Commands, versions and fingerprints."""
    parts: list[Block] = []
    for about in abouts:
        parts.append(("heading", f"{about.name} ({about.kind})"))
        if about.command:
            parts.append(("code", about.command))
        if about.versions:
            rows = [[name, value] for name, value in sorted(about.versions.items())]
            parts.append(("table", PageTable(["provenance", "value"], rows, 2)))
    if not any(about.command for about in abouts):
        why = (
            "The command is not known: the table was written by an earlier version, or put together from "
            "several."
        )
        parts.append(("note", why))
    prints = _fingerprints(records)
    if prints:
        parts.append(("heading", "Fingerprints of the cells"))
        parts.append(("table", PageTable(["what", "of", "value"], prints, 3)))
    return parts


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


def failures_parts(records: Iterable[CellRecord]) -> list[Block]:
    """Which cells failed, and why."""
    lines = failed_lines(records)
    more = [f"and {len(lines) - MAX_FAILED} more"] if len(lines) > MAX_FAILED else []
    return [("lines", [*lines[:MAX_FAILED], *more])] if lines else []
