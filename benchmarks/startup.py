"""What a command costs that trains nothing: `python benchmarks/startup.py --before PATH`.

PATH is a checkout of a build before, with its environment in `.venv`. Both builds run the same commands in
turns, each a process of its own: CPU seconds (user and system, of all its processes) and peak memory. What
counts is the median of the rounds' ratios, and of several commands the worst.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks._report import Target, also, finish, run
from interfero.errors import ConfigError

HERE = Path(__file__).resolve().parents[1]
HELP, CODING = Target("<=", 0.1), Target("<=", 1 / 3)
PICTURE, STREAM, OUT = "picture.png", "picture.ifr", "out"
SIDE = 256


@dataclass(frozen=True)
class Command:
    """What is typed behind `python`, and the claim about it, if there is one."""

    arguments: tuple[str, ...]
    target: Target | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Cost:
    """What one process took, and those it started and waited for."""

    cpu_s: float
    peak_mib: float


def commands(root: Path) -> dict[str, Command]:
    """Every command that is measured, by name."""
    cli = ("-m", "interfero.cli")
    found = {
        "interfero --help": Command((*cli, "--help"), HELP),
        "interfero encode --sorce": Command((*cli, "encode", "--sorce", "x"), HELP, 2),
        "encode a picture": Command((*cli, "encode", PICTURE, f"{OUT}.ifr"), CODING),
        "decode a picture": Command((*cli, "decode", STREAM, f"{OUT}.png"), CODING),
        "interfero codecs": Command((*cli, "codecs")),
        "interfero domains": Command((*cli, "domains")),
    }
    for path in sorted((root / "sweeps").glob("*.py")):
        script = f"sweeps/{path.name}"
        found[f"{script} --help"] = Command((script, "--help"), HELP)
        found[f"{script} --num-step"] = Command((script, "--num-step", "3"), HELP, 2)
    return found


def measure(root: Path, command: Command, folder: Path) -> Cost:
    """Run a command of a checkout.

    Raises:
        ConfigError: it ends otherwise than it should.
    """
    script, *others = command.arguments
    first = str(root / script) if script.endswith(".py") else script
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [root / ".venv/bin/python", first, *others],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        # Not `wait`: this also gives what the process and its children used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != command.exit_code:
            output.seek(0)
            said = output.read().decode(errors="replace")[-500:]
            raise ConfigError(
                f"{root}: {command.arguments} exits with {process.returncode}: {said}"
            )
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turns(
    chosen: Mapping[str, Command], roots: Mapping[str, Path], rounds: int
) -> dict[str, dict[str, list[Cost]]]:
    """Costs by command and side; sides take turns, the first of them too."""
    costs: dict[str, dict[str, list[Cost]]] = {n: {s: [] for s in roots} for n in chosen}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ramp = np.arange(SIDE, dtype=np.uint8)
        pixels = np.stack([*np.meshgrid(ramp, ramp), np.add.outer(ramp, ramp)], axis=-1)
        Image.fromarray(pixels).save(folder / PICTURE)
        cli = ("-m", "interfero.cli")
        measure(roots["before"], Command((*cli, "encode", PICTURE, STREAM)), folder)
        for index in range(rounds):
            for name, command in chosen.items():
                for side in list(roots) if index % 2 else reversed(roots):
                    costs[name][side].append(measure(roots[side], command, folder))
    return costs


def checked_root(root: Path) -> Path:
    """A checkout that can run.

    Raises:
        ConfigError: its environment is not there.
    """
    if not (root / ".venv/bin/python").exists():
        raise ConfigError(f"{root} has no .venv/bin/python: make install there")
    return root.resolve()


def ratio(costs: Mapping[str, Sequence[Cost]], what: str) -> float:
    """Now over before, the median of rounds."""
    pairs = zip(costs["now"], costs["before"], strict=True)
    return statistics.median(getattr(n, what) / getattr(b, what) for n, b in pairs)


def main(
    before: Path,
    rounds: int = 5,
    only: tuple[str, ...] = (),
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure every command of both builds.

    Args:
        before: A checkout of the build before, with its environment in `.venv`.
        rounds: Runs of each command and build.
        only: Commands whose names contain one of these words; all if left out.
        json_path: Where to keep every figure.
    """
    roots = {"now": checked_root(HERE), "before": checked_root(before)}
    here, there = commands(roots["now"]), commands(roots["before"])
    if missing := here.keys() - there.keys():
        print(f"not measured, since the build before lacks them: {', '.join(sorted(missing))}")
    chosen = {
        n: here[n] for n in here if n in there and (not only or any(word in n for word in only))
    }
    costs = in_turns(chosen, roots, rounds)
    cpu = {name: ratio(costs[name], "cpu_s") for name in chosen}
    memory = {name: ratio(costs[name], "peak_mib") for name in chosen}
    print_table(costs, cpu, memory)
    worst: dict[tuple[str, Target], float] = {}
    for name, command in chosen.items():
        for what, ratios in (("cpu", cpu), ("memory", memory)):
            if command.target is not None:
                key = f"{'start' if command.target is HELP else 'coding'}_{what}", command.target
                worst[key] = max(worst.get(key, 0.0), ratios[name])
    if not worst:
        raise ConfigError(
            f"--only {only} names no command of both builds with a target: {', '.join(here)}"
        )
    for (title, target), value in list(worst.items())[1:]:
        also(title, value, "of before", target)
    (title, target), value = next(iter(worst.items()))
    figures = {
        name: {
            side: [vars(cost) for cost in values] for side, values in costs[name].items()
        } | {"cpu_ratio": cpu[name], "memory_ratio": memory[name]}
        for name in chosen
    }  # fmt: skip
    finish(title, value, "of before", target, target.met(value), figures, json_path)


def print_table(
    costs: Mapping[str, Mapping[str, Sequence[Cost]]],
    cpu: Mapping[str, float],
    memory: Mapping[str, float],
) -> None:
    """Medians of each command."""
    table = Table("command", "CPU s before", "now", "ratio", "MiB before", "now", "ratio")
    for name, sides in costs.items():
        row = []
        for what, ratios, digits in (("cpu_s", cpu, 2), ("peak_mib", memory, 0)):
            for side in ("before", "now"):
                row.append(f"{statistics.median(getattr(c, what) for c in sides[side]):.{digits}f}")
            row.append(f"{ratios[name]:.3f}")
        table.add_row(name, *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
