"""`interfero status`: how far a sweep is, from its folder alone; neither MLflow nor Ray is asked."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import tyro

from interfero.engine.options.rules import storage_of
from interfero.engine.spending import PackShare, step_seconds
from interfero.errors import ConfigError, nearest
from interfero.store.inventory import CHECKPOINTS, SweepState, sweeps_of
from interfero.store.keyed import KeyedStore
from interfero.store.locks import LEASE_S
from interfero.store.outcomes import Outcomes
from interfero.store.products import is_product_key
from interfero.store.sweep import SHARED_LEASE, SweepStore

SHOWN_FAILURES = 3
SHOWN_TRAININGS = 4


def status(
    name: tyro.conf.Positional[str], storage: str = "interfero-storage", every: float = 0.0
) -> None:
    """Say how far a sweep is, on any machine that sees its storage: cells, rate, failures, time left, hours.

    Args:
        name: Of the sweep.
        storage: Folder of sweeps, a path or file:///PATH, as `--storage` of a sweep.
        every: Look again every so many seconds until it runs no more; 0 looks once.
    """
    if not 0 <= every < float("inf"):
        raise ConfigError(f"--every must be 0 or more seconds, got {every}")
    store = SweepStore(storage_of(storage), name)
    if not store.exists:
        names = [s.name for s in sweeps_of(store.storage)]
        raise ConfigError(f"there is no sweep {name!r} in {store.storage}: {nearest(name, names)}")
    outcomes = Outcomes(store)
    with suppress(KeyboardInterrupt):
        while True:
            running = _is_running(store)
            lines = status_lines(store, running=running, outcomes=outcomes)
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
            if not (running and every):
                return
            time.sleep(every)


@dataclass
class _Seen:
    """What the records of a sweep come to."""

    keys: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    seconds: float = 0.0
    """Of training and evaluation, of the cells that this sweep computed itself."""
    ends: list[float] = field(default_factory=list)
    """When each of those ended; Unix time."""
    failures: list[str] = field(default_factory=list)


def status_lines(
    store: SweepStore, *, running: bool, now: float | None = None, outcomes: Outcomes | None = None
) -> Iterator[str]:
    """The state of a sweep, a line each.

    Args:
        store: Its folder.
        running: Whether a driver holds it.
        now: Unix time in seconds; None is the clock's.
        outcomes: Those of an earlier look, whose records are not read again.
    """
    settings, seen = store.settings(), _look(outcomes or Outcomes(store))
    planned, done = settings.get("num_cells"), seen.statuses.total()
    now = time.time() if now is None else now
    training = _in_training(store, now) if running else []
    # Learning rates may have been added to the plan.
    added = sum(key not in seen.keys and not is_product_key(key) for key, _ in training)
    total = None if planned is None else max(planned, done + added)
    state = _state(store, settings, running, seen.statuses["failed"])
    yield f"{settings.get('kind', '?')} sweep {store.name} in {store.storage}: {state}"
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(seen.statuses.items()))
    share = f" ({100 * done / total:.0f} %)" if total else ""
    taken = f"; {seen.taken_over} taken over from other sweeps" if seen.taken_over else ""
    yield f"  {done} of {total or '?'} cells ended{share}{kinds and f': {kinds}'}{taken}"
    if running:
        yield from (f"  {text}" for _, text in training[:SHOWN_TRAININGS])
        if len(training) > SHOWN_TRAININGS:
            yield f"  in training: {len(training) - SHOWN_TRAININGS} more"
        yield f"  {_pace(store, seen.ends, None if total is None else total - done, now)}"
    spent = seen.seconds + step_seconds(store.folder)
    yield f"  cost so far, of what ended: {PackShare.of_settings(settings).text([spent])}"
    yield from (f"  failed: {text}" for text in seen.failures[:SHOWN_FAILURES])


def _look(outcomes: Outcomes) -> _Seen:
    seen = _Seen()
    for outcome, ended in outcomes.look():
        seen.keys.add(outcome.key)
        seen.statuses[outcome.status] += 1
        if outcome.reused_from is not None:
            seen.taken_over += 1
            continue
        seen.seconds += outcome.seconds
        # A record is written when its cell has ended; `seconds` are of that cell without its pack.
        seen.ends.append(ended)
        if outcome.status == "failed":
            seen.failures.append(f"{outcome.key}: {outcome.reason}")
    return seen


def _state(store: SweepStore, settings: dict[str, Any], running: bool, num_failed: int) -> str:
    if running:
        return f"running ({store.holder()})"
    if SweepState(store, running).reported:
        return f"finished, but for {num_failed} failed cells" if num_failed else "finished"
    states = KeyedStore(store.folder / CHECKPOINTS, ".safetensors")
    kept = sum(not key.endswith(".before") for key in states.list_keys())
    inside = f" ({kept} cells go on from a checkpoint)" if kept else ""
    return f"interrupted{inside}; go on with --resume: {settings.get('command', '')}"


def _in_training(store: SweepStore, now: float) -> list[tuple[str, str]]:
    """What trains by key, and how far it was when its state was last written; the furthest first.

    The headers of the states are read, not their tensors, which are as large as the models.
    """
    import safetensors

    found: list[tuple[int, str, str]] = []
    states = KeyedStore(store.folder / CHECKPOINTS, ".safetensors")
    for key in states.list_keys():
        if key.endswith(".before") or key.startswith("trunk-"):
            continue
        # It may end, and its state go, while this is read.
        with suppress(OSError, KeyError, ValueError, safetensors.SafetensorError):
            path = states.path(key)
            age = now - path.stat().st_mtime
            with safetensors.safe_open(path, framework="np") as file:
                step = json.loads((file.metadata() or {})["interfero"])["info"]["step"]
            found.append((step, key, f"in training: {key} at step {step}, saved {_span(age)} ago"))
    found.sort(reverse=True)
    return [(key, text) for _, key, text in found]


def _pace(store: SweepStore, ends: list[float], left: int | None, now: float) -> str:
    """Cells an hour since the driver started, which took the lease then, and what that means for the rest."""
    began = store.lease_began
    # Machines of one storage differ by seconds.
    if now < max([began, *ends]) - LEASE_S:
        return "the clock was set back since the driver started: no rate"
    since = [end for end in ends if end >= began]
    ago = f"since the driver started {_span(now - began)} ago"
    if not since:
        return f"no cell has ended {ago}"
    rate = len(since) / max(now - began, 1e-9)
    rest = "" if left is None else f"; about {_span(left / rate)} left"
    return f"{3600 * rate:.3g} cells an hour {ago}, the last {_span(now - max(since))} ago{rest}"


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _is_running(store: SweepStore) -> bool:
    if os.access(store.folder, os.W_OK):
        return store.is_running
    # Who may not write cannot try the lease; its driver touches it three times in `LEASE_S`.
    with suppress(OSError):
        # Of a clock that was set back since, the age is negative: only the writer's next touch would tell.
        age = time.time() - (store.folder / SHARED_LEASE).stat().st_mtime
        return abs(age) < LEASE_S
    return False
