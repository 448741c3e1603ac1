"""How a sweep ends: what the parent run holds, and the last lines."""

from __future__ import annotations

import gc
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from interfero.engine.builds import builds_line
from interfero.engine.damage import made_again_line
from interfero.engine.interrupts import forget, heed, heeding, uninterrupted
from interfero.engine.spending import PackShare, step_seconds
from interfero.errors import ConfigError, InterferoError

if TYPE_CHECKING:
    # Imported before options are read, for the exit codes: this may load neither MLflow nor torch.
    from interfero.engine.options.base import SweepOptions
    from interfero.engine.sweep_run import SweepRun
    from interfero.store.sweep import SweepStore
    from interfero.tracking.registry import AdapterEntry
    from interfero.tracking.tracker import Tracker

FAILED_EXIT = 1
INTERRUPTED_EXIT = 130
REGISTERED = "in the model registry: "
"""How a line begins that says what was registered."""
MAX_REASON = 300
"""Characters of a failure on the terminal."""
INTERRUPTED_WAIT_S = 3.0
"""How long an interrupted sweep tries a tracking server that is away; --resume delivers the rest."""


class StoppedError(Exception):
    """A sweep that had begun cannot go on; what is finished is kept."""


@dataclass(frozen=True)
class Ending:
    """What came out of a sweep, written and ready to be logged and printed."""

    answer: Sequence[str]
    """At most three sentences, which the terminal shows; the report has all else."""
    report: Path
    note: str
    """Markdown for the parent run's page."""
    files: Sequence[Path]
    """For the parent run."""
    sure: Sequence[str] = ()
    """How sure the answer is."""
    surer: Sequence[str] = ()
    """What would make the answer surer."""
    failed: Sequence[str] = ()
    """A line for each cell that failed, of which the terminal shows the first."""
    first_lines: Sequence[str] = ()
    """Printed above the answer."""
    folders: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """More files for the parent run, by folder."""
    cell_tags: Sequence[Mapping[str, Mapping[str, str]]] = ()
    """Tags of cells' runs, by key."""
    series: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Metrics of the parent run that MLflow draws as lines: (step, value)."""
    models: Sequence[AdapterEntry] = ()
    """For the model registry."""
    retried: bool = True
    """Whether --resume tries failed cells again."""


def conclude(
    console: Console, options: SweepOptions, run: SweepRun, end: Callable[[], Ending], command: str
) -> int:
    """Log and print what came out; returns the exit code.

    Args:
        console: Where to print.
        options: Of the sweep.
        run: What was heard.
        end: Writes tables, figures and the report.
        command: What started the sweep.
    """
    too_many = run.num_failed > options.max_failed
    ending = end()
    run.tracker.note(ending.note)
    run.tracker.parent_artifacts(list(dict.fromkeys(ending.files)))
    for folder, files in ending.folders.items():
        run.tracker.parent_artifacts(files, folder)
    for by_cell in ending.cell_tags:
        run.tracker.cell_tags(by_cell)
    run.tracker.parent_series(ending.series)
    run.tracker.parent_progress(run.standing)
    registered = run.tracker.register(ending.models)
    run.tracker.close("FAILED" if too_many else "FINISHED")
    lines = [*ending.first_lines, *ending.answer, *ending.sure, *_surer_lines(ending.surer)]
    lines += [*_registered_lines(registered), cost_line(options, run)]
    lines += filter(None, (made_again_line(run.store, run.damaged), builds_line(run.store)))
    lines += _where_lines(run, ending.report)
    if run.num_failed:
        limit = f", --max-failed is {options.max_failed}" if too_many else ""
        lines += _failed_lines(run.num_failed, limit, ending, command)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return FAILED_EXIT if too_many else 0


def ended_well(
    drive: Callable[[], int], tracker: Tracker, store: SweepStore, console: Console, command: str
) -> int:
    """Drive a sweep; however that ends, its parent run says so.

    Raises:
        ConfigError: it could not begin.
        StoppedError: it had begun and cannot go on.
    """
    try:
        with heeding():
            heed()
            return drive()
    except KeyboardInterrupt:
        # Not here: while it is handled its frames live on, and with them a write to SQLite that it fell into.
        pass
    except ConfigError:
        tracker.close("FAILED")
        raise
    except InterferoError as error:
        tracker.close("FAILED")
        raise StoppedError(f"{error}\ngo on with: {resume_command(command)}") from error
    except BaseException:
        with suppress(InterferoError):
            tracker.close("FAILED")
        raise
    with uninterrupted():
        gc.collect()
        code = interrupted(console, tracker, store, command)
    # The next sweep of this process is not asked to end.
    forget()
    return code


def interrupted(console: Console, tracker: Tracker, store: SweepStore, command: str) -> int:
    """Say what is kept and how to go on; returns the exit code."""
    if tracker.successor is not None:
        _say(
            console,
            f"\n{tracker.successor} drives sweep {store.name} now: this process did not renew its lease "
            "in time, and leaves the runs in MLflow to that one; wait for it or stop it",
        )
        return INTERRUPTED_EXIT
    tracker.close("KILLED", wait_s=INTERRUPTED_WAIT_S)
    # Records of 100,000 cells would be read for minutes, and who asked for the end may wait for seconds.
    finished = tracker.num_finished
    _say(
        console,
        f"\ninterrupted: {finished} finished cells are kept in {store.folder}",
        f"go on with: {resume_command(command)}",
    )
    return INTERRUPTED_EXIT


def interrupted_outside(console: Console, store: SweepStore, command: str) -> int:
    """Say how to go on with a sweep whose runs are closed, or not open yet; returns the exit code."""
    _say(
        console,
        f"\ninterrupted: what sweep {store.name} has is kept in {store.folder}",
        f"go on with: {resume_command(command)}",
    )
    return INTERRUPTED_EXIT


def _say(console: Console, *lines: str) -> None:
    with suppress(OSError):  # A terminal that has closed shows nothing any more.
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def command_line(script: str, arguments: Sequence[str], name: str, *, named: bool) -> str:
    """What to type to start this sweep again, its name included."""
    every = list(arguments) if named else [*arguments, "--name", name]
    return shlex.join([_python(), script, *every])


def resume_command(command: str) -> str:
    """What to type to go on with a sweep that `command` started."""
    return command if "--resume" in shlex.split(command) else f"{command} --resume"


def cost_line(options: SweepOptions, run: SweepRun) -> str:
    """What the sweep has spent, earlier drivers included; nothing of what it took over."""
    seconds = run.spent.seconds + step_seconds(run.store.folder)
    return f"cost: {PackShare.of(options).text([seconds])}"


def _surer_lines(reasons: Sequence[str]) -> list[str]:
    if not reasons:
        return []
    return [f"what would make this surer: {'; '.join(reasons)} (the report has the command)"]


def _registered_lines(lines: Sequence[str]) -> list[str]:
    """One line of what is registered, and one of what is not: a sweep of many domains has many adapters."""
    good = [line for line in lines if line.startswith(REGISTERED)]
    others = [line for line in lines if not line.startswith(REGISTERED)]
    more = f", and {len(good) - 1} more" if len(good) > 1 else ""
    return [f"{line}{more}" for line in good[:1]] + others[:1]


def _where_lines(run: SweepRun, report: Path) -> list[str]:
    """Where the results are, and whether the tracking server has them."""
    return [
        *_tracking_lines(run.tracker),
        f"report, one file for a browser: {report}",
        f"records, adapters and figures: {run.store.folder}",
        f"see them in MLflow: {_ui_command(run.tracker.uri)}",
    ]


def _failed_lines(count: int, limit: str, ending: Ending, command: str) -> list[str]:
    """How many cells failed, the first reason, and how to try them again."""
    cells = f"{count} cell{'' if count == 1 else 's'} failed{limit}"
    if not ending.retried:
        cells += "; a sampler does not ask for them again"
    first = next(iter(ending.failed), "")
    lines = [f"{cells}; the first: {first[:MAX_REASON]}" if first else cells]
    return lines + ([f"try them again with: {resume_command(command)}"] if ending.retried else [])


def _tracking_lines(tracker: Tracker) -> list[str]:
    """What the tracking server lacks, and what to do about it; nothing where it has everything."""
    lines = []
    if tracker.trouble:
        lines.append(f"tracking is behind: {tracker.trouble}; --resume delivers the rest")
    if tracker.num_refused:
        lines.append(
            f"the tracking server refused {tracker.num_refused} writes, MLflow lacks them and the records "
            f"have them; {tracker.refused_path} says why: mend that, then start another --name, "
            "which takes the finished cells over and writes all of them anew"
        )
    return lines


def _ui_command(uri: str) -> str:
    """What to type, or where to look, for a masked address."""
    if uri.startswith("http"):
        return uri
    command = shlex.join([_python(), "-m", "mlflow", "ui", "--backend-store-uri"])
    # An address whose password is left out leads nowhere; the sweep had it from the environment.
    return f'{command} "$MLFLOW_TRACKING_URI"' if "***" in uri else f"{command} {shlex.quote(uri)}"


def _python() -> str:
    """The running interpreter as one types it."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable):
        return "python"
    with suppress(ValueError):
        return str(Path(sys.executable).relative_to(Path.cwd()))
    return sys.executable
