"""The answer of a learning sweep: the largest loss, its parts, what a remedy recovers, what comes next."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.capacity_table import counted
from interfero.analysis.grouping import grouped
from interfero.analysis.next_command import Next, again, smoke_reasons
from interfero.analysis.next_step import seed_changes, tried_again
from interfero.analysis.restoration.losses import (
    ADAPTED_GAINS,
    REMEDIES,
    SHARE,
    SHARE_COMPRESSED,
    Difference,
    Summary,
)
from interfero.records import CellRecord

DROP, DROP_COMPRESSED = "whole drop", "tested compressed"
_WHAT = {
    DROP: "trained on compressed images and tested on originals",
    DROP_COMPRESSED: "trained on originals and tested on compressed images",
}
_SHARE_OF = {DROP: SHARE, DROP_COMPRESSED: SHARE_COMPRESSED}
_PARTS = ("lost information", "covariate shift")


def largest_drop(summary: Summary) -> Difference | None:
    """The most that compression costs: OO - CO where a sweep has it, else OO - OC; None without either."""
    known = [d for d in summary.differences if d.value is not None]
    drops = [d for d in known if d.name == DROP] or [d for d in known if d.name == DROP_COMPRESSED]
    return max(drops, key=lambda d: d.value or 0.0, default=None)


def headline(summary: Summary) -> list[str]:
    """At most three sentences, of one codec and rate: the largest drop, its parts, what a remedy recovers."""
    drop = largest_drop(summary)
    if drop is None:
        return summary.sentences[:1]
    here = [d for d in summary.differences if _place(d) == _place(drop)]
    lines = [_drop_line(drop, summary), _parts_line(here), _remedy_line(drop, here)]
    return [line for line in lines if line]


def _place(d: Difference) -> tuple[str, str, float]:
    return d.line.domain, d.line.codec, d.line.rate_bpp


def _drop_line(drop: Difference, summary: Summary) -> str:
    """What a model loses where it loses most, and how many places that is the largest of."""
    places = len({_place(d) for d in summary.differences if d.name == drop.name})
    most = f", the largest loss of {places} combinations of domain, codec and rate" * (places > 1)
    reached = "" if drop.bpp is None else f" (reached {drop.bpp:.3f})"
    value = drop.value or 0.0
    changed = f"loses {value:.3f} of" if value >= 0 else f"gains {-value:.3f} of"
    return (
        f"A model that is {_WHAT[drop.name]} {changed} {summary.title} against originals on both sides, on "
        f"{drop.line.domain} with {drop.line.codec} at {drop.line.rate_bpp:g} bpp{reached}{most} "
        f"({_sample(drop)})."
    )


def _parts_line(here: Sequence[Difference]) -> str:
    """`Lost information is +0.100 of it (...), covariate shift +0.200 (...)`; empty where CC was not run."""
    parts = {d.name: d for d in here if d.name in _PARTS and d.value is not None}
    if not parts:
        return ""
    each = [
        f"{name} {d.form.format(d.value)} ({_interval(d)})"
        for name, d in sorted(parts.items())[::-1]
    ]
    if len(parts) < len(_PARTS):
        return f"A part of what compression costs: {each[0]}."
    return f"Its parts: {' and '.join(each)}."


def _remedy_line(drop: Difference, here: Sequence[Difference]) -> str:
    """The remedy that wins back the largest share, or why no share can be told."""
    shares = [d for d in here if d.name == _SHARE_OF[drop.name]]
    known = [d for d in shares if d.value is not None]
    if known:
        best = max(known, key=lambda d: d.value or 0.0)
        of = f", the best of {len(shares)} remedies," * (len(shares) > 1)
        lost = "this loss"
        if best.line.configuration == "OT":
            lost = f"what the source codec loses at the same rate ({best.bpp:.3f} bpp)"
        return (
            f"{best.line.label}{of} recovers {best.form.format(best.value)} of {lost} "
            f"({_sample(best)})."
        )
    if shares:
        return f"What a remedy recovers of it cannot be told: {shares[0].refusal}."
    return ""


def _interval(d: Difference) -> str:
    return f"95 % interval {d.ends}" if d.ends else "one seed, no interval"


def _sample(d: Difference) -> str:
    """`95 % interval +0.10 to +0.20; n = 3 init seeds, 12 images; 3 models on each side`."""
    drawn = d.drawn
    models = [f"{counted(drawn.models, 'model')} on each side"] if drawn.by == "init" else []
    illustration = [] if d.ends else ["an illustration"]
    return "; ".join([_interval(d), drawn.text, *models, *illustration])


def surer(records: Sequence[CellRecord], summary: Summary, *commands: str) -> Next | None:
    """More seeds, the remedies that nobody tried, the cells that failed; None where nothing is missing.

    Args:
        records: All cells.
        summary: Of them.
        commands: What started each sweep; of several, none is the command that a reader should repeat.
    """
    known = [command for command in commands if command]
    command = known[0] if len(known) == 1 else ""
    data_seeds = {r.params["data_seed"] for r in records}
    changes, reasons = seed_changes(records, "data" if len(data_seeds) > 1 else "init")
    drop = largest_drop(summary)
    if drop is not None and drop.low is not None and drop.low > 0:
        tried = {str(r.params["configuration"]) for r in records}
        more = _untried(drop.name, tried)
        if more:
            changes["--configurations"] = [*sorted(tried), *more]
            reasons.append(f"no remedy was tried: {' and '.join(more)} say what it recovers")
    wanted = _rates_to_add(summary)
    if wanted:
        rates = {r.params["rate_bpp"] for r in records}
        asked = {float(rate) for rate in rates if not isinstance(rate, str)}
        changes["--rates"] = [f"{rate:g}" for rate in sorted(asked | wanted)]
        reasons.append(
            "adapted codecs are compared at equal rate, and the source codec has no point beyond theirs"
        )
    failed = sum(r.status == "failed" for r in records)
    if failed:
        what = f"{counted(failed, 'cell')} failed"
        reasons.append(tried_again(what, command, changed=bool(changes)) if command else what)
    if not reasons:
        return None
    reasons += smoke_reasons(command)
    if command:
        return Next(tuple(reasons), again(command, changes))
    options = " ".join(f"{option} {' '.join(values)}" for option, values in changes.items())
    if options:
        reasons.append(f"the command of these cells is not known: repeat theirs with {options}")
    return Next(tuple(reasons), "")


def _rates_to_add(summary: Summary) -> set[float]:
    """Of adapted codecs that are compared at no rate: the highest always lies beyond the source codec's."""
    gains = (d for d in summary.differences if d.name == ADAPTED_GAINS)
    by_line = grouped(gains, lambda d: (d.line.domain, d.line.codec, d.line.label))
    never = (own for own in by_line.values() if all(d.value is None for d in own))
    return {d.wanted_bpp for own in never for d in own if d.wanted_bpp is not None}


def _untried(drop: str, tried: set[str]) -> list[str]:
    """The cheapest remedies against a drop; none where one was tried."""
    if any(REMEDIES.get(configuration) == _SHARE_OF[drop] for configuration in tried):
        return []
    return ["MO", "RO"] if drop == DROP else ["FC"]
