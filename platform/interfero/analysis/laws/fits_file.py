"""`scaling_fits.json`: every law that was tried, which one stands, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interfero.analysis.axes import AXES
from interfero.analysis.laws.observations import reference
from interfero.analysis.laws.resampling import LEVEL
from interfero.analysis.laws.scaling import Candidate, Refusal, Scaling
from interfero.analysis.laws.words import claim
from interfero.store.files import write_json

FITS_FILE = "scaling_fits.json"
FORMAT = 1


def write_scaling_fits(results: Sequence[Scaling | Refusal], folder: Path) -> list[Path]:
    """Write `scaling_fits.json` of what `fit_scaling` found.

    Raises:
        StorageError: the folder is not writable.
    """
    path = folder / FITS_FILE
    write_json(path, fits_value(results))
    return [path]


def fits_value(results: Sequence[Scaling | Refusal]) -> dict[str, Any]:
    """What the file holds, as plain values."""
    return {
        "format": FORMAT,
        "interval_level": LEVEL,
        "fits": [_fit(r) for r in results if isinstance(r, Scaling)],
        "refused": [_refused(r) for r in results if isinstance(r, Refusal)],
    }


def _head(result: Scaling | Refusal) -> dict[str, Any]:
    subject = result.subject
    return {
        "method": subject.method,
        "codec": subject.codec,
        "strength": subject.strength,
        "response": result.response.name,
        "metric": result.response.metric,
    }


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {**_head(refusal), "reason": refusal.reason, "constant_percent": refusal.constant}


def _fit(scaling: Scaling) -> dict[str, Any]:
    data = scaling.data
    return {
        **_head(scaling),
        "law": scaling.chosen.law.name,
        "beats_null": scaling.beats_null,
        "space": scaling.space,
        "num_settings": len(data.domains),
        "num_seeds": len(data.seeds),
        "domains": list(data.domain_names),
        "axes": {
            name: {
                "title": AXES[name].title,
                "levels": list(data.levels(name)),
                "reference": reference(data, name),
            }
            for name in data.axes
        },
        "parameters": {
            p.name: {"value": p.value, "low": p.low, "high": p.high, "these_domains": list(p.here)}
            for p in scaling.parameters()
        },
        "holds": {"across": "across domains", "here": "for these domains"}.get(
            claim(scaling) or ""
        ),
        "intervals_cover": scaling.covers,
        "residual_scale": scaling.fit.scale,
        "seed_sd": scaling.seed_sd,
        "candidates": [_candidate(c) for c in scaling.tried],
        "by_distance": [_candidate(c) for c in scaling.by_distance],
        "new_domains_by": list(scaling.for_new_domains.law.axes),
        "unit": "100 log(loss after / loss before), of gain the other sign",
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "law": candidate.law.name,
        "axes": list(candidate.law.axes),
        "aicc": candidate.aicc,
        "held_out_rms": candidate.held_out,
        "left_out_domains_rms": candidate.left_out_domains,
        "left_out_shape_rms": candidate.left_out_shape,
        "note": candidate.note,
    }
