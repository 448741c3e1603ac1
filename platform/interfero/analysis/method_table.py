"""A row a method: what it gains and forgets over the cases that all methods share."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from interfero.analysis.capacity_table import percent, signed, unit_name, value_range
from interfero.analysis.cells import Cells
from interfero.analysis.choices import Choice, by_method, methods_of
from interfero.analysis.diverged import diverged_of_methods, num_diverged
from interfero.analysis.focus import budget_text, centre_text, images_text
from interfero.analysis.parts import grey_text, without_grey
from interfero.analysis.same_results import same_result_lines
from interfero.analysis.seed_means import SeedMean, in_db, means, tested_text
from interfero.analysis.shared_block import first_block
from interfero.metrics.names import FRACTION, GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

EDGE = "*"
_COLUMNS = {"target gain": GAIN, "forgetting, routed": ROUTED, "forgetting, unrouted": UNROUTED}


def method_rows(
    records: Iterable[CellRecord], rd_lambda: float | None = None
) -> tuple[list[str], list[list[str]], str]:
    """Header, a row a method, and what the means are over: the cases and seeds that all methods share.

    Args:
        records: All cells of a sweep.
        rd_lambda: At this lambda; None is the central one.
    """
    whole = Cells(records)
    every = without_grey(whole)  # As in the answer, whose numbers these are.
    where = centre_text(every)
    if rd_lambda is not None:
        texts = (budget_text(every), f"at lambda {rd_lambda:g}", images_text(every))
        where = ", ".join(filter(None, texts))
    first = first_block(whole, rd_lambda)
    found, best, block = first.cells, first.best, first.block
    methods = methods_of(best)
    mean_of = {title: means(methods, block.choices, m) for title, m in _COLUMNS.items()}
    dbs = {
        role: means(methods, block.choices, in_db(found, role))
        for role in ("target", "source_unrouted")
    }
    gains, lost = mean_of["target gain"], mean_of["forgetting, unrouted"]
    strengths = _strengths(found, best)
    rows = []
    for method, own in by_method(best).items():
        sizes = value_range([float(c.setting.adapter_size) for c in own], "{:.0f}".format)
        shares = [v for c in own if (v := c.mean(FRACTION)) is not None]
        params = value_range(shares, percent) if shares else "-"
        values = [m[method].short if method in m else "not comparable" for m in mean_of.values()]
        values[0] += f" ({astray})" if (astray := num_diverged(own)) else ""
        medians = [
            signed(statistics.median(m[method].cases)) if method in m else "-"
            for m in (gains, lost)
        ]
        db = [signed(m[method].value) if method in m else "-" for m in dbs.values()]
        count = len(gains[method].cases) if method in gains else 0
        rows.append(
            [method, sizes if sizes != "0" else "-", *([strengths[method]] if strengths else []), values[0],
             medians[0], db[0], *values[1:], medians[1], db[1], params, f"{count} of {len(own)}"]
        )  # fmt: skip
    header = [
        "method", "size", *(["strength"] if strengths else []), "target gain (%)", "median (%)", "dB",
        "forgetting, routed (%)", "forgetting, unrouted (%)", "median of it (%)", "dB lost", "parameters (%)",
        unit_name(c.setting for c in best),
    ]  # fmt: skip
    shared = next((m.places for m in gains.values()), "no domain")
    return header, rows, _note(best, f"{shared} that the methods share{', ' if where else ''}{where}", [
        f"{EDGE} marks the edge of the strengths that were tried" if EDGE in str(strengths) else "",
        block.left_out_text.replace("left out", "Left out", 1), _lacking_text(best, gains), grey_text(whole),
    ])  # fmt: skip


def _lacking_text(best: Sequence[Choice], compared: Mapping[str, SeedMean]) -> str:
    """Why methods are not comparable that did not diverge: `lora has no result on tissue`."""
    every = {c.setting.domain for c in best}
    texts = []
    for method, own in by_method(best).items():
        if method in compared or all(c.all_diverged for c in own):
            continue
        gone = sorted(every - {c.setting.domain for c in own})
        what = (
            f"no result on {', '.join(gone)}" if gone else "no results in the seeds of the others"
        )
        texts.append(f"{method} has {what}, and is in no mean")
    return ". ".join(texts)


def _strengths(found: Iterable[CellRecord], best: Sequence[Choice]) -> dict[str, str]:
    """By method, the strengths that validation chose; empty where none had several to choose from."""
    tried: dict[str, set[float]] = defaultdict(set)
    for record in found:
        tried[str(record.params["method"])].add(float(record.params.get("strength", 0)))
    if all(len(own) == 1 for own in tried.values()):
        return {}
    texts = {}
    for method, own in by_method(best).items():
        chosen = [c.setting.strength for c in own]
        ends = {min(tried[method]), max(tried[method])}
        edge = EDGE if len(tried[method]) > 1 and ends & set(chosen) else ""
        texts[method] = f"{value_range(chosen, '{:g}'.format)}{edge}" if any(chosen) else "-"
    return texts


def _note(best: Sequence[Choice], over: str, left_out: Sequence[str]) -> str:
    """What the rows are means over, and what is in none of them.

    Args:
        best: One choice a case and method.
        over: The cases, and where they are.
        left_out: Texts, empty where nothing is.
    """
    gone = diverged_of_methods(best) or ["No cell is left out as diverged"]
    texts = [*filter(None, left_out), *gone, *same_result_lines(best)]
    aside = " ".join(f"{text.removesuffix('.')}." for text in texts)
    tested = tested_text(best, "target")
    return (
        f"Means over the {over}{f', {tested} each' if tested else ''}, each at the adapter size, strength "
        "and learning rate that validation chose; in parentheses 95 % intervals over data seeds, where "
        "values differ. Medians are over domains, of their means over seeds; the difference of two medians "
        f"is not the median of the differences. dB are at equal rate. {aside} Click on a heading to sort."
    )
