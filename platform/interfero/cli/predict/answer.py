"""`interfero predict`: what a domain would gain and forget, from a map of cells that were run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.axes import AXES, DISTANCES
from interfero.analysis.choices import CONTROL
from interfero.analysis.laws.observations import RESPONSES, Observations, observations
from interfero.analysis.laws.prediction import (
    NoPrediction,
    Prediction,
    left_out_coverage,
    predict,
)
from interfero.analysis.laws.resampling import LEVEL
from interfero.analysis.laws.scaling import Candidate, Refusal, Scaling, fit_observations
from interfero.analysis.records import read_records
from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.domain_distance import Description, describe, distance_between
from interfero.codecs.source_statistics import FILE, SourceStatistics
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain
from interfero.domains.names import spec_of
from interfero.errors import ConfigError, InterferoError, nearest
from interfero.records import CellRecord

MAP_FILE = Path(__file__).parents[2] / "analysis" / "map" / "cells.parquet"
"""The map that comes with the project."""


@dataclass(frozen=True)
class Question:
    """What a user asks."""

    domain: str
    num_images: int
    method: str
    cells: Path | None = None
    rd_lambda: float | None = None
    adapter_size: int | None = None
    num_steps: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class _Setting:
    """The question with what it left open filled in from the map."""

    place: dict[str, float]
    """Values of law axes."""
    text: str
    """What was asked and what was assumed."""


def answer(question: Question) -> str:
    """A line a response, and what a reader has to know about them.

    Raises:
        ConfigError: the map lacks the method, cannot be read as one codec's, or answers nothing.
        DomainError: the domain cannot be loaded.
        StorageError: the map cannot be read.
    """
    if question.num_images < 1:
        raise ConfigError(f"--num-images must be 1 or more, got {question.num_images}")
    path = map_path(question.cells)
    cells = _cells_of(read_records(path), question)
    setting = _setting(cells, question)
    domain = load_domain(spec_of(question.domain))
    inside = _name_in_map(cells, domain)
    place = dict(setting.place)
    notes: list[str] = []
    if inside is None:
        statistics = _statistics(path)
        measured, problem = _distances(cells, question, domain, place["rd_lambda"], statistics)
        place |= measured
        notes += [problem] if problem else []
    lines: list[str] = []
    outside: dict[str, None] = {}
    answered = False
    for response in RESPONSES.values():
        for data in observations(cells, response).values():
            text, beyond, known = _line(data, place, inside)
            lines.append(f"  {response.title:<26}{text}")
            outside |= dict.fromkeys(beyond)
            answered |= known
    if not answered:
        raise ConfigError(f"{path} answers nothing about {question.method}:\n" + "\n".join(lines))
    where = f"{domain.name}, {'in the map' if inside else 'new to the map'}"
    notes += [f"extrapolates: {line}" for line in outside]
    return "\n".join(
        [
            f"{question.method} on {where}; {setting.text}",
            *lines,
            *(f"  {note}" for note in notes),
            f"  in parentheses: {LEVEL:.0%} interval for what one new cell will measure",
            f"  map: {_map_text(path)}, {_extent(cells)}",
            "",
        ]
    )


def map_path(given: Path | None) -> Path:
    """What was given, or the map that comes with the project.

    Raises:
        ConfigError: there is none.
    """
    if given is not None:
        return given
    if not MAP_FILE.is_file():
        raise ConfigError("this installation has no map of its own: give --cells FILE of a sweep")
    return MAP_FILE


def _map_text(path: Path) -> str:
    return "the one that comes with interfero" if path == MAP_FILE else str(path)


def _cells_of(records: Sequence[CellRecord], question: Question) -> list[CellRecord]:
    """Finished cells of one method, codec and strength."""
    finished = [r for r in records if r.status == "finished"]
    methods = {str(r.params["method"]) for r in finished} - {CONTROL}
    if question.method not in methods:
        raise ConfigError(
            f"the map has no method {question.method!r}: {nearest(question.method, methods)}"
        )
    cells = [r for r in finished if r.params["method"] == question.method]
    codecs = sorted({str(r.params["codec"]) for r in cells})
    wanted = question.source
    if len(codecs) == 1 and wanted in set(bundled_names()) - set(codecs):
        raise ConfigError(f"--source {wanted}: the map is of {codecs[0]!r}; leave --source out")
    if len(codecs) > 1 and wanted not in codecs:
        raise ConfigError(f"the map has several source codecs: add --source {'|'.join(codecs)}")
    if len(codecs) > 1:
        cells = [r for r in cells if r.params["codec"] == wanted]
    strengths = sorted({float(r.params.get("strength", 0)) for r in cells})
    if len(strengths) > 1:
        # One law is of one strength; the smallest is the method nearest to plain fine-tuning.
        cells = [r for r in cells if float(r.params.get("strength", 0)) == strengths[0]]
    return cells


def _setting(cells: Sequence[CellRecord], question: Question) -> _Setting:
    rd_lambda, steps = question.rd_lambda, question.num_steps
    if rd_lambda is None:
        rd_lambda = _middle(cells, "rd_lambda")
    if steps is None:
        steps = int(_middle(cells, "num_steps"))
    if not 0 < rd_lambda < math.inf or steps < 1:
        raise ConfigError(f"--lambda and --num-steps must be positive, got {rd_lambda:g}, {steps}")
    sizes = sorted({int(c.params["adapter_size"]) for c in cells})
    size = question.adapter_size
    if size is None:
        size = int(_middle(cells, "adapter_size"))
    if size not in sizes:
        raise ConfigError(f"--adapter-size {size} is not in the map: {', '.join(map(str, sizes))}")
    fractions = [
        c.metrics["adapter_fraction"]
        for c in cells
        if c.params["adapter_size"] == size and "adapter_fraction" in c.metrics
    ]
    place = {"num_images": float(question.num_images), "num_steps": float(steps)}
    place["rd_lambda"] = rd_lambda
    if fractions:
        place["adapter_fraction"] = statistics.fmean(fractions)
    strength = float(cells[0].params.get("strength", 0))
    parts = [f"{question.num_images} images", f"lambda {rd_lambda:g}", f"{steps} steps"]
    parts += [f"adapter size {size}"] if size else []
    parts += [f"strength {strength:g}"] if strength else []
    return _Setting(place, ", ".join(parts))


def _middle(cells: Sequence[CellRecord], name: str) -> float:
    """The lower median of a param's values."""
    return float(statistics.median_low(sorted({float(c.params[name]) for c in cells})))


def _name_in_map(cells: Sequence[CellRecord], domain: Domain) -> str | None:
    """The map's name of a domain with the same images and splits."""
    for cell in cells:
        if cell.provenance.get("domain_hash") == domain.fingerprint:
            return str(cell.params["domain"])
    return None


def _distances(
    cells: Sequence[CellRecord], question: Question, domain: Domain, rd_lambda: float,
    statistics: SourceStatistics | None,
) -> tuple[dict[str, float], str]:  # fmt: skip
    """Distances of a new domain by law axis, or why they could not be measured."""
    first = cells[0]
    if all(AXES[name].value(first) is None for name in DISTANCES):
        return {}, ""
    named = question.source or str(first.params["codec"])
    try:
        here = available_lambdas(named)
        known = sorted({float(c.params["rd_lambda"]) for c in cells} & set(here))
        value = min(known or here, key=lambda v: abs(v - rd_lambda))
        codec = load_codec(named, value)
        of_lambda = next((c for c in cells if float(c.params["rd_lambda"]) == value), first)
        there = _source(of_lambda, codec, statistics)
    except InterferoError as error:
        return {}, _unknown(str(error))
    found = distance_between(describe(codec, domain), there)
    probe = CellRecord(key="new", params={}, status="finished", metrics=found.metrics)
    values = {name: AXES[name].value(probe) for name in DISTANCES}
    return {name: v for name, v in values.items() if v is not None and v > 0}, ""


def _statistics(path: Path) -> SourceStatistics | None:
    """What a map keeps of its source domain, if it does.

    Raises:
        StorageError: the file is damaged.
    """
    beside = (path if path.is_dir() else path.parent) / FILE
    return SourceStatistics.load(beside) if beside.is_file() else None


def _source(cell: CellRecord, codec: Codec, statistics: SourceStatistics | None) -> Description:
    """The source domain of a cell as its codec sees it: as the map keeps it, else from its images.

    Raises:
        InterferoError: neither is at hand, or another than the map was made with.
    """
    told = cell.provenance
    if (
        statistics is not None
        and statistics.domain_hash == told.get("source_domain_hash")
        and codec.weights_hash == told.get("codec_hash")
        and codec.weights_hash in statistics.by_codec
    ):
        return statistics.by_codec[codec.weights_hash]
    source = load_domain(told.get("source_domain", ""))
    problem = _another(cell, codec, source)
    if problem:
        raise ConfigError(problem)
    return describe(codec, source)


def _unknown(reason: str) -> str:
    return (
        "its distance from the source domain is unknown, and so is whether the map has any as far: "
        f"{reason}"
    )


def _another(cell: CellRecord, codec: Codec, source: Domain) -> str:
    """What is not what the map was made with, though it has its name; empty if nothing is."""
    told = cell.provenance
    for name, wanted, found in (
        (f"codec {codec.name}", told.get("codec_hash"), codec.weights_hash),
        (f"source domain {source.name}", told.get("source_domain_hash"), source.fingerprint),
    ):
        if wanted is not None and wanted != found:
            return f"{name} here is not the one that the map was made with"
    return ""


def _line(
    data: Observations, place: dict[str, float], inside: str | None
) -> tuple[str, tuple[str, ...], bool]:
    """The answer in words, why it extrapolates, and whether it is one."""
    result = fit_observations(data)
    if isinstance(result, Refusal):
        if result.constant is not None:
            return f"{result.constant:+.2f} %: every cell of the map has it", (), True
        return f"no prediction: {result.reason}", (), False
    if inside in data.domains:
        place = place | _own_distances(data, str(inside))
    known = inside if inside in data.domains else None
    found = predict(result, place, known)
    if isinstance(found, NoPrediction):
        return f"no prediction: {found.reason}", (), False
    by = result.chosen if known else result.candidate_for(place)
    text = f"{_interval(found)}, {_law(result, by)}"
    return text if known else f"{text}; {_left_out(result, by)}", found.outside, True


def _own_distances(data: Observations, domain: str) -> dict[str, float]:
    point = data.domains.index(domain)
    return {name: float(data.column(name)[point]) for name in data.distances}


def _interval(found: Prediction) -> str:
    return f"{found.value:+.2f} % ({found.low:+.2f} to {found.high:+.2f})"


def _law(scaling: Scaling, by: Candidate) -> str:
    if by is not scaling.null:
        return f"{by.law.name.replace('_', ' ')} law"
    if scaling.beats_null:
        return "the map's mean: its law errs more on domains left out"
    return "the map's mean: no law beats it"


def _left_out(scaling: Scaling, by: Candidate) -> str:
    """How well domains of the map are predicted when each is left out whole."""
    coverage = left_out_coverage(scaling.data)
    if coverage is None:
        num = len(scaling.data.domain_names)
        return f"not tried on domains left out whole: {num} are too few"
    held = f"{coverage.held} of {coverage.cells} cells lay in such intervals"
    error = f"off by {scaling.error_text(by)}"
    if by is not scaling.null:
        error += f", a constant by {scaling.error_text(scaling.null)}"
    return f"of {coverage.domains} domains, each left out whole, {held}, {error}"


def _extent(cells: Sequence[CellRecord]) -> str:
    domains = sorted({str(c.params["domain"]) for c in cells})
    seeds = len({c.params["data_seed"] for c in cells})
    return f"{len(cells)} cells, {seeds} data seeds, {len(domains)} domains ({', '.join(domains)})"
