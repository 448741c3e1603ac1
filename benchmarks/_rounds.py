"""Sides of a comparison that take turns, so that a busy machine troubles all of them alike.

Each side is a process of its own: what one sets up, such as how memory is kept, neither helps nor
harms another.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Act = Callable[[], object]


@dataclass(frozen=True)
class Turn:
    """What one turn took."""

    wall_s: float
    cpu_s: float
    """CPU time of the process: what other programs do to the clock is not in it."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    make: Callable[..., Act]
    """Sets it up, in its own process, and returns what a turn is; a function of a module."""
    arguments: tuple[Any, ...] = ()


def alternate(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Turn]]:
    """Let the sides act in turns, every second round backwards; a first round is not counted.

    Args:
        sides: By name.
        rounds: Turns of each side.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    with ExitStack() as stack:
        started = {name: stack.enter_context(_started(side)) for name, side in sides.items()}
        for index in range(-1, rounds):
            names = list(started)
            for name in names if index % 2 else reversed(names):
                turn = started[name]()
                if index >= 0:
                    turns[name].append(turn)
    return turns


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times longer the first side took: the median over rounds."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def wall(turns: Sequence[Turn]) -> list[float]:
    """Seconds on the clock, by round."""
    return [turn.wall_s for turn in turns]


def cpu(turns: Sequence[Turn]) -> list[float]:
    """Seconds of CPU, by round."""
    return [turn.cpu_s for turn in turns]


@contextmanager
def _started(side: Side) -> Iterator[Callable[[], Turn]]:
    """A side's process, as a function that lets it take a turn."""
    # Not forked: a child would inherit the memory and the threads of this process.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, side))
    process.start()
    there.close()

    def act() -> Turn:
        here.send(True)
        turn: Turn = here.recv()
        return turn

    try:
        here.recv()
        yield act
    finally:
        here.close()
        process.join(timeout=10)
        if process.is_alive():
            process.terminate()


def _serve(pipe: Connection, side: Side) -> None:
    act = side.make(*side.arguments)
    pipe.send(True)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        on_clock, on_cpu = time.perf_counter(), time.process_time()
        act()
        pipe.send(Turn(time.perf_counter() - on_clock, time.process_time() - on_cpu))
