"""Progress of a sweep on the terminal: cells done, running and failed, time left, best so far."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from interfero.records import CellRecord

LOG_EVERY_SECONDS = 30.0


class SweepProgress:
    """One line that is redrawn on a terminal, and a line now and then in a log file."""

    def __init__(self, console: Console) -> None:
        """Show progress on a console."""
        self.console = console
        self.total = 0
        self._before = 0
        self.done = self.failed = self.stopped = self.running = 0
        self.steps = self.steps_done = self.steps_failed = 0
        self.best: dict[str, CellRecord] = {}
        self._started = time.monotonic()
        self._logged = self._started
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(self.line(), total=None)

    def __enter__(self) -> SweepProgress:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        with suppress(OSError):  # A terminal that has closed takes no last line.
            self._bar.stop()

    def expect(self, total: int) -> None:
        """Start counting time: so many cells in all, those done already included."""
        self.total = total
        self._before = self.done
        self._started = self._logged = time.monotonic()
        self._draw()

    def set_running(self, count: int) -> None:
        """How many cells, and steps behind cells, workers have now."""
        self.running = count
        self._draw()

    def add(self, record: CellRecord, *, replaces: bool = False) -> None:
        """One more cell ended; or one that had failed was tried again, and its record is replaced."""
        self.done += not replaces
        self.failed += (record.status == "failed") - replaces
        self.stopped += record.status == "stopped"
        gain = record.metrics.get("val/rd_gain_percent") if record.status == "finished" else None
        domain = str(record.params["domain"])
        best = self.best.get(domain)
        if gain is not None and (best is None or gain > best.metrics["val/rd_gain_percent"]):
            self.best[domain] = record
        self._draw()

    def add_step(self, record: CellRecord) -> None:
        """One more step behind cells ended."""
        self.steps_done += 1
        self.steps_failed += record.status == "failed"
        self._draw()

    def line(self) -> str:
        """The state in one line."""
        parts = [f"{self.done}/{self.total} cells", f"{self.running} running"]
        if self.steps:
            parts.insert(1, f"{self.steps_done}/{self.steps} steps")
        if self.failed + self.steps_failed:
            parts.append(f"{self.failed + self.steps_failed} failed")
        if self.stopped:
            parts.append(f"{self.stopped} stopped early")
        trained = self.done - self._before + self.steps_done
        if trained:
            # Those in training are half done: packs end together, and seldom.
            begun = trained + self.running / 2
            waiting = self.total - self.done + self.steps - self.steps_done - self.running / 2
            left = (time.monotonic() - self._started) / begun * max(0.0, waiting)
            parts.append(f"about {left / 60:.0f} min left")
        if self.best:
            top = max(self.best.values(), key=lambda r: r.metrics["val/rd_gain_percent"])
            gain = top.metrics["val/rd_gain_percent"]
            parts.append(
                f"best val gain {gain:+.1f} % ({top.params['method']} on {top.params['domain']})"
            )
        return ", ".join(parts)

    def _draw(self) -> None:
        self._bar.update(
            self._task, completed=self.done, total=self.total or None, description=self.line()
        )
        now = time.monotonic()
        if not self.console.is_terminal and (
            now - self._logged > LOG_EVERY_SECONDS or 0 < self.total == self.done
        ):
            self._logged = now
            self.console.print(f"[{now - self._started:5.0f} s] {self.line()}", highlight=False)
