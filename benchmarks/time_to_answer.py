"""Time to the same answer, against the usual searches: `python benchmarks/time_to_answer.py --folder FOLDER`.

The question of `sweeps/adapter_capacity.py` on three domains: which learning rate, of each method's own grid,
gains most on validation images after 60, after 250 and after 1,000 steps? The sides, each with all cores, are
`interfero`, the sweep command (halving, trunks that all numbers of steps share, packs); `loop`, one process a
cell, the full grid, a training for each number of steps (`_training_script.py`); `asha`, Ray Tune's
ASHAScheduler (`_asha.py`); `hyperband`, Optuna's HyperbandPruner (`_hyperband.py`). Others run if asked for:
`asha_third` and `hyperband_third` stop nothing before a third of the steps, instead of a ninth, and lose
less; the processes of `library_loop` train by interfero's own functions.

All sides train the same cells: codec, images, crops, noise, schedule, precision, one thread a training. Every
training that reaches its last step is evaluated with real bitstreams. The searches train by interfero's own
functions, in warm processes. A side is a command or several, timed from start to exit.

A choice is judged by what the full grid (of `loop`) gained at the chosen learning rate: *regret* is the share
of the full grid's best validation gain that the choice loses, in percent. At most 1 % is the same answer. Two
sides answer alike where no fewer of our choices than of theirs are the same answer; against the loop, all.

FOLDER keeps the figures of each side and seed as it ends, and later commands run what is missing: sides can
be measured one at a time. The price of what will run is printed first; `--price-only` ends there.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks._answers import (
    TOLERANCE_PERCENT,
    ArmRun,
    Question,
    Trial,
    choices,
    equal_regret,
    keep,
    kept,
    num_same,
    regrets,
    run_file,
)
from benchmarks._asked import Asked
from benchmarks._price import own_steps, show_prices
from benchmarks._report import Target, also, describe_machine, finish, run
from benchmarks._spending import spending
from benchmarks._training_script import DRAWN
from benchmarks._trial import trial_of
from benchmarks.startup import HERE
from benchmarks.sweep_throughput import run_command, run_loop
from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.plan import AdaptationPlan, make_plan
from interfero.engine.adaptation.precision import choose_precision
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options
from interfero.errors import ConfigError
from interfero.store.sweep import SweepStore
from sweeps.adapter_capacity import SWEEP

Arm = Literal[
    "interfero", "loop", "asha", "hyperband", "asha_third", "hyperband_third", "library_loop"
]
OURS, FULL = "interfero", "loop"
LOOP, SEARCH = Target(">=", 4.0), Target(">=", 2.0)
TARGETS = {"loop": LOOP, "asha": SEARCH, "hyperband": SEARCH}
"""How many times longer than interfero each other side takes."""
FURTHER = {"asha_third": SEARCH, "hyperband_third": SEARCH, "library_loop": LOOP}
"""The same of sides that nothing is missed without."""


class TimeToAnswer(Asked):
    """What is asked of each data seed by itself, and which sides answer; ratios are medians over seeds."""

    folder: Path
    """Where the figures of finished sides are kept; sides that are there are not run again."""
    arms: tuple[Arm, ...] = ("interfero", "loop", "asha", "hyperband")
    """Sides to run, where their figures are not kept yet."""
    price_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what the sides would take, and run none."""


class Task(NamedTuple):
    """What all sides are asked about one data seed."""

    arguments: list[str]
    """Of the sweep command."""
    plan: AdaptationPlan
    """With the cells of the whole grid."""
    settings: dict[str, Any]
    """What has to be equal for figures to be compared."""


def task_of(command: TimeToAnswer, seed: int) -> Task:
    """The sweep of one data seed, as a user would ask for it, and its cells.

    Raises:
        ConfigError: a method that the plain loop cannot train.
    """
    for name in command.methods:
        entry = METHOD_TABLE.get(name)
        if entry is not None and (entry.trains_on != "target" or entry.strength_unit):
            raise ConfigError(
                f"--methods {name}: the sides compare methods that train on the target domain alone "
                "and have no strength, such as finetune, lora and cawf"
            )
    # A pool's workers would be warm before the clock starts.
    arguments = [*command.arguments([seed]), "--no-pool"]
    options = parse_options(SWEEP.options, arguments, SWEEP.question).settled()
    assert isinstance(options, AdaptationOptions)
    code = SWEEP.study().code()
    plan = make_plan(load(options), code, choose_precision(command.precision, "cpu"))
    unlike = {"folder", "arms", "data_seeds", "price_only", "json_path"}
    return Task(arguments, plan, {**command.model_dump(mode="json", exclude=unlike), "code": code})


def run_interfero(task: Task, place: Path) -> list[Trial]:
    """The sweep command."""
    where = ["--storage", str(place / "storage"), "--name", "sweep"]
    run_command([str(HERE / "sweeps" / "adapter_capacity.py"), *task.arguments, *where], place)
    cells = {cell.key: cell for cell in task.plan.cells}
    return [
        trial_of(cells[r.key], own_steps(task.plan, cells[r.key]), r.metrics)
        for r in SweepStore(place / "storage", "sweep").each_record()
        if r.status == "finished"
    ]


def run_plain(module: str) -> Callable[[Task, Path], list[Trial]]:
    """A plain loop over a script."""

    def loop(task: Task, place: Path) -> list[Trial]:
        found = run_loop(list(task.plan.cells), DRAWN, place, module)
        pairs = zip(task.plan.cells, found, strict=True)
        return [trial_of(cell, cell.loop.num_steps, metrics) for cell, metrics in pairs]

    return loop


def run_search(module: str, first_rung: str) -> Callable[[Task, Path], list[Trial]]:
    """A search of another library, over the cells of the grid."""

    def search(task: Task, place: Path) -> list[Trial]:
        cells = place / "cells.json"
        cells.write_text(json.dumps([cell.model_dump_json() for cell in task.plan.cells]))
        run_command(["-m", module, str(cells), str(place), first_rung], place)
        return [Trial.model_validate(t) for t in json.loads((place / "trials.json").read_text())]

    return search


RUNNERS: Mapping[str, Callable[[Task, Path], list[Trial]]] = {
    "interfero": run_interfero,
    "loop": run_plain("benchmarks._training_script"),
    "asha": run_search("benchmarks._asha", "ninth"),
    "hyperband": run_search("benchmarks._hyperband", "ninth"),
    "asha_third": run_search("benchmarks._asha", "third"),
    "hyperband_third": run_search("benchmarks._hyperband", "third"),
    "library_loop": run_plain("benchmarks._trial"),
}


def measure(arm: str, seed: int, task: Task) -> ArmRun:
    """Let a side answer."""
    with TemporaryDirectory(prefix=f"interfero-{arm}-") as place:
        with spending() as spent:
            trials = RUNNERS[arm](task, Path(place))
        return ArmRun(
            arm=arm, data_seed=seed, settings=task.settings, wall_s=spent.wall_s,
            cpu_s=spent.cpu_s, trials=tuple(trials), machine=describe_machine(),
        )  # fmt: skip


Found = dict[tuple[str, int], ArmRun]


def recall(
    command: TimeToAnswer, settings: Mapping[int, Mapping[str, Any]]
) -> tuple[Found, list[tuple[str, int]]]:
    """The sides that have answered, and those that are still to be run; `settings` by seed."""
    found: Found = {}
    missing: list[tuple[str, int]] = []
    for seed, asked in settings.items():
        for arm in RUNNERS:
            one = kept(command.folder, arm, seed, asked)
            if one is not None:
                found[arm, seed] = one
            elif arm in command.arms:
                missing.append((arm, seed))
    return found, missing


def judge(found: Found, seeds: Sequence[int]) -> dict[str, dict[int, dict[Question, float]]]:
    """Regrets by side, seed and question, for the seeds whose full grid is there."""
    judged: dict[str, dict[int, dict[Question, float]]] = {}
    for (arm, seed), one in found.items():
        full = found.get((FULL, seed))
        if full is not None and seed in seeds:
            judged.setdefault(arm, {})[seed] = regrets(choices(one.trials), full.trials)
    return judged


def ratio(found: Found, arm: str, seeds: Sequence[int]) -> float | None:
    """How many times longer a side took than interfero: the median over seeds; None without both."""
    both = [s for s in seeds if (arm, s) in found and (OURS, s) in found]
    taken = [found[arm, s].wall_s / found[OURS, s].wall_s for s in both]
    return statistics.median(taken) if taken else None


def print_sides(
    found: Found, judged: Mapping[str, dict[int, dict[Question, float]]], console: Console
) -> None:
    """A row for each side and seed."""
    table = Table(
        "side", "seed", "wall s", "CPU s", "steps", "same answers", "mean regret %", "worst",
        caption=f"same answers: choices that lose at most {TOLERANCE_PERCENT:g} % of the full grid's gain",
    )  # fmt: skip
    for (arm, seed), one in found.items():
        lost = list(judged.get(arm, {}).get(seed, {}).values())
        shown = (
            (f"{num_same(lost)} of {len(lost)}", f"{statistics.mean(lost):.2f}", f"{max(lost):.1f}")
            if lost
            else ("-", "-", "-")
        )
        table.add_row(
            arm, str(seed), f"{one.wall_s:.0f}", f"{one.cpu_s:.0f}", str(one.num_steps), *shown
        )
    console.print(table)


def print_choices(
    found: Found, judged: Mapping[str, dict[int, dict[Question, float]]], console: Console
) -> None:
    """A row for each question and seed: each side's learning rate, its own gains, and its regret."""
    arms = list(dict.fromkeys(arm for arm, _ in found))
    table = Table(
        "domain", "method", "steps", "seed", *arms,
        caption="learning rate: gain on validation and on test images as the side measured it, in percent "
        "(regret in percent)",
    )  # fmt: skip
    chosen = {key: choices(one.trials) for key, one in found.items()}
    rows = dict.fromkeys((question, seed) for (_, seed), of in chosen.items() for question in of)
    for question, seed in rows:
        texts = []
        for arm in arms:
            trial = chosen.get((arm, seed), {}).get(question)
            regret = judged.get(arm, {}).get(seed, {}).get(question)
            lost = "" if regret is None else f" ({regret:.1f})"
            texts.append("-" if trial is None else f"{_gains(trial)}{lost}")
        table.add_row(question.domain, question.method, str(question.num_steps), str(seed), *texts)
    console.print(table)


def _gains(trial: Trial) -> str:
    gains = (trial.gain_percent, trial.test_gain_percent)
    return f"{trial.learning_rate:g}: " + " ".join("-" if g is None else f"{g:.2f}" for g in gains)


def report(command: TimeToAnswer, found: Found, console: Console) -> None:
    """Print the tables and the targets."""
    judged = judge(found, command.data_seeds)
    print_choices(found, judged, console)
    print_sides(found, judged, console)
    values = {arm: ratio(found, arm, command.data_seeds) for arm in TARGETS | FURTHER}
    problems = []
    for arm, target in (TARGETS | FURTHER).items():
        value = values[arm]
        if value is None:
            problems += [f"{arm} or interfero has not been run"] if arm in TARGETS else []
            continue
        unlike = unequal(arm, judged, found)
        if arm != FULL:
            also(f"time_to_answer_{arm}", value, "x", target, reason=unlike)
        if not target.met(value):
            problems.append(f"{arm} {value:.3g} of {target.limit:g}")
        if unlike:
            problems.append(unlike)
    figures = {
        "runs": [one.model_dump(mode="json") for one in found.values()],
        "ratios": values,
        "regrets": {
            arm: {s: [[*q, r] for q, r in of.items()] for s, of in seeds.items()}
            for arm, seeds in judged.items()
        },
    }
    finish(
        "time_to_answer", values[FULL], "x", TARGETS[FULL], not problems, figures, command.json_path,
        reason="; ".join(problems),
    )  # fmt: skip


def unequal(arm: str, judged: Mapping[str, dict[int, dict[Question, float]]], found: Found) -> str:
    """Why a side's time is not compared at equal regret; empty where it is."""
    lost = {side: _all(judged, side, found, arm) for side in (OURS, arm)}
    if not lost[OURS]:
        return f"no full grid to judge {arm} by: run {FULL}"
    if equal_regret(lost[OURS], lost[arm]):
        return ""
    same = " and ".join(f"{num_same(r)} of {len(r)} ({side})" for side, r in lost.items())
    return f"fewer of the full grid's answers than {arm}: {same}"


def _all(
    judged: Mapping[str, dict[int, dict[Question, float]]], side: str, found: Found, other: str
) -> list[float]:
    """A side's regrets over the seeds that it and the other side have answered."""
    seeds = judged.get(side, {})
    return [
        r
        for s, of in seeds.items()
        if (other, s) in found and (OURS, s) in found
        for r in of.values()
    ]


def main() -> None:
    """Command line."""
    command = tyro.cli(TimeToAnswer, description=__doc__)
    console = Console(width=max(120, Console().width))
    tasks = {seed: task_of(command, seed) for seed in command.data_seeds}
    found, missing = recall(command, {seed: task.settings for seed, task in tasks.items()})
    if missing:
        show_prices(missing, tasks[command.data_seeds[0]].plan, command.folder, console)
    if command.price_only:
        return
    for arm, seed in missing:
        found[arm, seed] = measure(arm, seed, tasks[seed])
        keep(command.folder, found[arm, seed])
        console.print(
            f"{arm}, seed {seed}: {found[arm, seed].wall_s:.1f} s, kept in "
            f"{run_file(command.folder, arm, seed)}",
            highlight=False,
        )
    report(command, found, console)


if __name__ == "__main__":
    run(main)
