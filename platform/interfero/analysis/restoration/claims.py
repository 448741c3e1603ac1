"""The claims about learning from compressed images, each with what the cells of a study say.

They are those of distributed learning and inference with compressed images (arXiv:2004.10497). A claim
about a difference is judged at the lowest rate of each codec, where most is lost: `seen` where its 95 %
interval lies above zero, `refuted` where it lies below, else `undecided`. Intervals stand by themselves,
uncorrected for how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.claims import Claim, Verdict
from interfero.analysis.restoration.losses import SHARE, Difference, Summary

REFUTED_BY = "an interval below zero at the lowest rate"
ABOUT = {
    "lost information": "Compression takes away information that a model needs: OO does better than CC",
    "covariate shift": "Training on compressed images mismatches a deployment on originals: CC does better "
    "than CO",
    "tested compressed": "A model trained on originals loses on compressed images: OO does better than OC",
    "restoration gains": "Restoring the training images gains: RO does better than CO",
    "restored over mixed": "Restoring gains more than mixing originals in: RO does better than MO",
    "adversary adds": "An adversary restores better than regression alone",
}
"""The claim that each difference above zero is."""


def claims_of(summary: Summary) -> list[Claim]:
    """Every claim that some differences are about, by domain, codec and restorer."""
    claims: list[Claim] = []
    for name, claim in ABOUT.items():
        for place, own in _by_place(summary.differences, name).items():
            claims.append(Claim(claim, place, _listed(own), _verdict(own[0]), REFUTED_BY))
    for place, own in _by_place(summary.differences, "whole drop").items():
        if len(own) > 1:
            claims.append(_falls_with_rate(place, own))
    for place, own in _by_place(summary.differences, SHARE).items():
        known = [d for d in own if d.value is not None]
        claims.append(
            Claim(
                "How much of the drop is recovered",
                place,
                _listed(own),
                _verdict(known[0]) if known else "not measured",
                "an interval below zero at the lowest rate at which there is a drop",
            )
        )
    return claims


def claim_rows(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """The same as a table."""
    header = ["claim", "domain, codec", "measured, by bpp asked", "verdict", "would be refuted by"]
    return header, [
        [c.claim, c.method, c.measured, c.verdict, c.refuted_by] for c in claims_of(summary)
    ]


def _by_place(differences: Sequence[Difference], name: str) -> dict[str, list[Difference]]:
    """Those of one name, by domain, codec and restorer; rates rising."""
    found: dict[str, list[Difference]] = {}
    own = (d for d in differences if d.name == name)
    for d in sorted(own, key=lambda d: (d.line.rate_bpp, d.line)):
        line = d.line
        more = [p for p in (line.restoration, line.restoration_split) if p != "none"]
        who = [line.configuration] if name == SHARE else []
        place = f"{line.domain}, {line.codec}"
        label = " ".join([*who, *more])
        found.setdefault(f"{place}, {label}" if label else place, []).append(d)
    return dict(sorted(found.items()))


def _listed(own: Sequence[Difference]) -> str:
    """`0.3: +0.105 (+0.044 to +0.166); 0.5: refused`."""
    parts = []
    for d in own:
        value = "refused" if d.value is None else d.form.format(d.value)
        parts.append(f"{d.line.rate_bpp:g}: {value}{f' ({d.ends})' if d.ends else ''}")
    return "; ".join(parts)


def _verdict(d: Difference) -> Verdict:
    if d.low is None or d.high is None:
        return "undecided" if d.value is not None else "not measured"
    if d.low > 0:
        return "seen"
    return "refuted" if d.high < 0 else "undecided"


def _falls_with_rate(place: str, own: Sequence[Difference]) -> Claim:
    """Whether the drop at the highest rate is surely smaller than at the lowest, or surely larger."""
    first, last = own[0], own[-1]
    verdict: Verdict = "undecided"
    if None in (first.low, first.high, last.low, last.high):
        verdict = "undecided" if None not in (first.value, last.value) else "not measured"
    elif (last.high or 0.0) < (first.low or 0.0):
        verdict = "seen"
    elif (last.low or 0.0) > (first.high or 0.0):
        verdict = "refuted"
    return Claim(
        "The drop depends on the rate: OO less CO is smaller at the highest rate than at the lowest",
        place,
        _listed(own),
        verdict,
        "intervals that do not meet, the higher rate's above the lower's",
    )
