"""Laws with their intervals, and what was refused, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interfero.analysis.capacity_table import counted
from interfero.analysis.laws.scaling import Parameter, Refusal, Scaling, form_name
from interfero.analysis.laws.view import law_text, plain_name

MAX_LAWS = 3
"""In sentences; more are in the table."""
_COUNTED = {
    "across domains": "{} across domains",
    "for these domains": "{} for these domains only",
    "not determined": "{} with parameters that the seeds do not determine",
    "no law": "{} where none beats a constant for each domain",
    "constant": "{} where every cell has the same value",
    "refused": "{} refused",
}
"""What can come of a combination, and how it is counted."""


@dataclass(frozen=True)
class LawRow:
    """One line of the table of laws."""

    subject: str
    response: str
    law: str
    """Its name, or that there is none."""
    holds: str
    """Where it does, if anywhere."""
    detail: str
    """Exponents with their intervals, or why there is none."""
    evidence: str
    """AICc below the null model's, and the held-out error of both."""


def law_rows(results: Sequence[Scaling | Refusal]) -> list[LawRow]:
    """Fits first come as they are sorted; refusals stand in their places."""
    rows = []
    for result in results:
        law, detail, evidence = "none", "", ""
        if isinstance(result, Refusal):
            detail = result.reason
        else:
            law = result.form if result.beats_null else "none beats the mean"
            detail, evidence = law_text(result), _evidence(result)
        start = result.subject.text, result.response.title, law, holds_text(result)
        rows.append(LawRow(*start, detail, evidence))
    return rows


def _evidence(scaling: Scaling) -> str:
    """What speaks for the chosen law, or how near the best of the others came."""
    null, best = scaling.null, scaling.chosen
    if not scaling.beats_null:
        others = [c for c in scaling.tried[1:] if c.aicc is not None]
        best = min(others, key=lambda c: c.aicc or 0.0, default=null)
    if best is null or null.aicc is None or best.aicc is None:
        return "nothing else could be fitted"
    who = "" if scaling.beats_null else f"{form_name(best)}: "
    text = f"{who}AICc {best.aicc - null.aicc:+.1f} against the mean"
    if best.extrapolation is not None and null.extrapolation is not None:
        text += f"; held out {best.extrapolation:.3g}, the mean {null.extrapolation:.3g}"
        text += " (log)" if scaling.space == "log" else " log points"
    return text


def law_lines(results: Sequence[Scaling | Refusal]) -> list[str]:
    """The first laws in sentences, and how many hold, how many do not, and how many were refused.

    One whose parameters are not determined is no law, however well it fits. The table has every one.
    """
    fits = [r for r in results if isinstance(r, Scaling) and r.beats_null]
    lines = [_law_line(fit) for fit in fits if claim(fit) == "across"]
    lines += [_here_line(fit) for fit in fits if claim(fit) == "here"]
    return [*lines[:MAX_LAWS], _count_line(results)] if results else []


def holds_text(result: Scaling | Refusal) -> str:
    """Where a law holds, if anywhere: `across domains`, `for these orders`, `not determined`, `no law`."""
    return _holds(result).replace("domain", _noun(result))


def _noun(result: Scaling | Refusal) -> str:
    return result.data.drawn_one if isinstance(result, Scaling) else "domain"


def _holds(result: Scaling | Refusal) -> str:
    """What came of it, a key of `_COUNTED`."""
    if isinstance(result, Refusal):
        return "refused" if result.constant is None else "constant"
    if not result.beats_null:
        return "no law"
    holds = {"across": "across domains", "here": "for these domains", None: "not determined"}
    return holds[claim(result)]


def _count_line(results: Sequence[Scaling | Refusal]) -> str:
    """`Laws for 15 combinations of method and response: 2 hold across domains, ...`."""
    kinds = sorted((list(_COUNTED).index(_holds(r)), _noun(r)) for r in results)
    texts = list(_COUNTED.values())
    counts = Counter(texts[kind].replace("domain", noun) for kind, noun in kinds)
    parts = [text.format(number) for text, number in counts.items()]
    reasons = dict.fromkeys(
        r.reason for r in results if isinstance(r, Refusal) and r.constant is None
    )
    why = f" ({'; '.join(list(reasons)[:2])})" if reasons else ""
    return f"Laws for {counted(len(results), 'combination')} of method and response: {', '.join(parts)}{why}."


def claim(scaling: Scaling) -> Literal["across", "here"] | None:
    """What may be said of a law: that it holds across domains, or for these domains only, or nothing.

    An exponent or a slope must leave out 0: with domains as draws and corrected for the axes that were tried,
    or over seeds and source images. Where a saturating law reaches half must lie within what was measured.
    """
    shapes = [p for p in scaling.shape if p.name != "shift"]

    def says(parameter: Parameter, low: float, high: float, signed: bool) -> bool:
        if parameter.name == "log_half":
            along = scaling.design.u[:, 0]
            return bool(along.min() < low and high < along.max())
        return signed

    if scaling.across_domains and any(says(p, p.low, p.high, p.signed) for p in shapes):
        return "across"
    here = any(says(p, *p.here, p.here[0] * p.here[1] > 0) for p in shapes)
    return "here" if here else None


def _law_line(scaling: Scaling) -> str:
    parts = [
        f"{plain_name(p.name)} {p.value:.2f} ({p.low:.2f} to {p.high:.2f})" for p in scaling.shape
    ]
    what = _what(scaling)
    return (
        f"{what[0].upper()}{what[1:]} follows a {scaling.form} law: {', '.join(parts)} (95 % intervals "
        f"over {scaling.covers})."
    )


def _here_line(scaling: Scaling) -> str:
    """The same without a claim about others, and what keeps it from one."""
    names, which = scaling.data.domain_names, scaling.data.drawn
    parts = [
        f"{plain_name(p.name)} {p.value:.2f} ({p.here[0]:.2f} to {p.here[1]:.2f})"
        for p in scaling.shape
    ]
    drawn = ", ".join(f"{p.low:.2f} to {p.high:.2f}" for p in scaling.shape)
    others = f"with {which} as draws {drawn}"
    if not scaling.across_domains:
        others = f"{len(names)} {which} do not speak for others"
        others = others if len(names) > 1 else "one speaks for no other"
    these = f"these {which}" if len(names) > 1 else f"this {scaling.data.drawn_one}"
    return (
        f"For {these} ({', '.join(names)}), {_what(scaling)} follows a {scaling.form} "
        f"law: {', '.join(parts)} (95 % intervals over {scaling.covers_here}; {others})."
    )


def _what(scaling: Scaling) -> str:
    what, _, way = scaling.response.title.removesuffix(" (%)").partition(", ")
    return f"{way} {what} of {scaling.subject.text}".lstrip()
