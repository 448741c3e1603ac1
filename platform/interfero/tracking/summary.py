"""A cell's record as operations on its run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from interfero.records import CellRecord
from interfero.tracking.names import CURVE_TAG, ERROR_TAG, REUSED_TAG, STOPPED_TAG
from interfero.tracking.operations import LogBatch, LogFile, MetricPoint, Status

BATCH = 900
"""Metrics in a request: MLflow takes 1,000 metrics, parameters and tags together."""
TEXT_LIMIT = 5000
"""Characters in a tag, on every server that MLflow supports."""


END_STATUS: dict[str, Status] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""How a run ends, by its record's status."""


def is_settled(run_status: str, record_status: str, *, was_stopped: bool) -> bool:
    """Whether a run already says what a record says; a failed cell may be tried again.

    Args:
        run_status: The run's.
        record_status: The record's.
        was_stopped: Whether a search stopped the cell: an interrupted sweep's run is KILLED as well.
    """
    if run_status == "KILLED":
        return was_stopped and record_status == "stopped"
    return run_status == "FINISHED" or (run_status == "FAILED" and record_status == "failed")


def record_metrics(record: CellRecord, logged_step: int) -> list[MetricPoint]:
    """The part of the curve that was not logged while it ran, then the final metrics."""
    end_ms = end_time_ms(record)
    last = max((step for step, _ in record.curve), default=0)
    span_ms = 1000 * record.seconds if record.started_at else 0.0
    curve = [
        # Steps take about equal times; the exact ones are not worth a number a point.
        (step, metrics, end_ms - round(span_ms * (1 - step / max(last, 1))))
        for step, metrics in record.curve
        if step > logged_step
    ]
    final = record.stopped_at or int(record.params.get("num_steps", last))
    ends = [(name, value, end_ms, final) for name, value in record.metrics.items()]
    return train_metrics(curve) + ends


def record_tags(record: CellRecord) -> dict[str, str]:
    """What a record says that is not a number."""
    tags = {}
    if record.curve:
        tags[CURVE_TAG] = str(max(step for step, _ in record.curve))
    if record.reused_from is not None:
        tags[REUSED_TAG] = record.reused_from
    if record.stopped_at is not None:
        tags[STOPPED_TAG] = str(record.stopped_at)
    if record.status == "failed":
        tags[ERROR_TAG] = cut(record.error or "failed without a message")
    return tags


def train_metrics(curve: Sequence[tuple[int, Mapping[str, float], int]]) -> list[MetricPoint]:
    """Points of a learning curve, from (step, metrics, Unix time in milliseconds)."""
    return [
        (name if name.startswith("train/") else f"train/{name}", float(value), time_ms, step)
        for step, metrics, time_ms in curve
        for name, value in metrics.items()
    ]


def batches(
    key: str | None,
    metrics: Sequence[MetricPoint],
    tags: Mapping[str, str],
    params: Mapping[str, str] | None = None,
) -> list[LogBatch]:
    """Batches for as few requests as MLflow allows; tags and parameters come with the last one."""
    starts = range(0, len(metrics), BATCH)
    requests = [LogBatch(key=key, metrics=tuple(metrics[i : i + BATCH])) for i in starts]
    last = LogBatch(
        key=key,
        metrics=requests.pop().metrics if requests else (),
        tags=dict(tags),
        params=dict(params or {}),
    )
    return [*requests, last] if last.metrics or last.tags or last.params else []


def file_copy(key: str | None, path: Path, folder: str) -> LogFile:
    """Copy a file, found again whatever the working folder is by then."""
    return LogFile(key=key, path=str(path.absolute()), folder=folder)


def cut(text: str) -> str:
    """A text that fits in a tag."""
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def end_time_ms(record: CellRecord) -> int:
    """When a cell ended, however late that is told."""
    return to_ms(record.started_at + record.seconds) if record.started_at else now_ms()


def to_ms(seconds: float) -> int:
    """Seconds in MLflow's unit of time."""
    return round(1000 * seconds)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return to_ms(time.time())


class Clock:
    """Unix time that does not go back while a driver runs, whatever is done to the machine's clock.

    A run would end before it began, and MLflow shows a negative duration.
    """

    def __init__(self, not_before_ms: int) -> None:
        self._told_ms = float(not_before_ms)
        self._told_at = time.monotonic()

    def now_ms(self) -> int:
        """In milliseconds; the machine's own time unless that is behind what was told before."""
        at = time.monotonic()
        self._told_ms = max(float(now_ms()), self._told_ms + 1000 * (at - self._told_at))
        self._told_at = at
        return round(self._told_ms)
