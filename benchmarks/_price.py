"""What the sides of `benchmarks/time_to_answer.py` would take, from a few steps of each method."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rich.console import Console

from benchmarks._answers import Question
from benchmarks._training_script import DRAWN
from benchmarks._trial import question_of, rungs_of
from benchmarks.sweep_throughput import CORES, run_loop
from interfero.engine.adaptation.halving import outlook
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.adaptation.rungs import REDUCTION
from interfero.store.files import read_json, write_json

START_S = 25.0
"""Of a sweep or a search: imports, Ray, the first and the last files."""
PROBE_STEPS = 30


def own_steps(plan: AdaptationPlan, cell: Cell) -> int:
    """Steps that a cell of a sweep trains itself: a shorter one has done the rest."""
    return cell.loop.num_steps - plan.work(cell).taken_up


class Price(NamedTuple):
    """What a side does, at least and at most."""

    trainings: tuple[int, int]
    seconds: tuple[float, float]


def probe(folder: Path, plan: AdaptationPlan) -> dict[str, float]:
    """Seconds of a step by method, of an evaluation and of a process's start; measured once a folder."""
    first: dict[str, Cell] = {}
    for cell in plan.cells:
        few = cell.loop.model_copy(update={"num_steps": PROBE_STEPS})
        first.setdefault(cell.hyperparameters.method, cell.model_copy(update={"loop": few}))
    path = folder / "prices.json"
    known: dict[str, float] = read_json(path) if path.exists() else {}
    if first.keys() <= known.keys():
        return known
    with TemporaryDirectory(prefix="interfero-price-") as place:
        began = time.perf_counter()
        found = run_loop(list(first.values()), DRAWN, Path(place))
        seconds = (time.perf_counter() - began) / math.ceil(len(found) / CORES)
    whole = [sum(v for n, v in f.items() if n.startswith("seconds/")) for f in found]
    evaluated = [f["seconds/evaluation"] + f["seconds/source"] for f in found]
    prices = {
        **{m: f["seconds/training"] / PROBE_STEPS for m, f in zip(first, found, strict=True)},
        "evaluation": statistics.mean(evaluated),
        "start": max(0.0, seconds - statistics.mean(whole))
        + statistics.mean(f["seconds/start"] for f in found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, prices)
    return prices


def price(arm: str, plan: AdaptationPlan, prices: Mapping[str, float]) -> Price:
    """An estimate: steps, evaluations and starts, spread over the cores."""
    cells = plan.cells

    def seconds(steps: Sequence[tuple[Cell, int]], evaluated: int, starts: int = 0) -> float:
        trained = sum(prices[cell.hyperparameters.method] * n for cell, n in steps)
        return (trained + evaluated * prices["evaluation"] + starts * prices["start"]) / CORES

    if arm == "interfero":
        left = outlook(cells, {cell.key for cell in cells}, lambda _: None).expected
        took = START_S + seconds([(c, own_steps(plan, c)) for c in left], len(left))
        return Price((len(left), len(left)), (took, took))
    every = [(cell, cell.loop.num_steps) for cell in cells]
    if not arm.startswith(("asha", "hyperband")):
        took = seconds(every, len(cells), len(cells))
        return Price((len(cells), len(cells)), (took, took))
    most = START_S + seconds(every, len(cells))
    steps, evaluated = fewest(cells, "third" if arm.endswith("third") else "ninth")
    return Price((evaluated, len(cells)), (START_S + seconds(steps, evaluated), most))


def fewest(cells: Sequence[Cell], first_rung: str) -> tuple[list[tuple[Cell, int]], int]:
    """What successive halving trains if it promotes one in three of each rung: steps, and whole trainings."""
    by_question: dict[Question, list[Cell]] = {}
    for cell in cells:
        by_question.setdefault(question_of(cell), []).append(cell)
    steps, evaluated = [], 0
    for question, competing in by_question.items():
        left, done = len(competing), 0
        for rung in rungs_of(question.num_steps, first_rung):
            steps.append((competing[0], left * (rung - done)))
            left, done = math.ceil(left / REDUCTION), rung
        steps.append((competing[0], left * (question.num_steps - done)))
        evaluated += left
    return steps, evaluated


def show_prices(
    missing: Sequence[tuple[str, int]], plan: AdaptationPlan, folder: Path, console: Console
) -> None:
    """What the sides that will run take, about."""
    prices = probe(folder, plan)
    texts = (f"{name} {value:.2f} s" for name, value in prices.items())
    console.print(f"measured: {', '.join(texts)}", highlight=False)
    for arm, seed in missing:
        estimate = price(arm, plan, prices)
        minutes = " to ".join(dict.fromkeys(f"{s / 60:.1f}" for s in estimate.seconds))
        trainings = " to ".join(dict.fromkeys(map(str, estimate.trainings)))
        console.print(
            f"{arm}, seed {seed}: about {minutes} min, {trainings} whole trainings", highlight=False
        )
