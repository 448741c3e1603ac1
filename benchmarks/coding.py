"""What exact symbols cost in coding and decoding: `python benchmarks/coding.py --before PATH`.

PATH is a checkout of the build before, with its environment in `.venv`. Each build codes and decodes the same
squares with the same codecs in a process of its own, one thread each, and the two take turns. Bundled codecs
code at the lambda asked for; autoregressive ones come with no weights, so they are coded untrained (few
symbols, the same work for each), small and at the size that papers use. The figures: CPU seconds now over
before, the median of the rounds' ratios, and bytes now over before, headers left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks._coding_child import Job
from benchmarks._report import Target, also, finish, run
from benchmarks.portability import crops
from interfero.codecs.catalogue import bundled_names
from interfero.errors import ConfigError

HERE = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("_coding_child.py")
HYPERPRIOR, AUTOREGRESSIVE = Target("<=", 1.25), Target("<=", 1.5)
RATE = Target("<=", 0.05)
UNTRAINED = ("mbt2018", "cheng2020-anchor")
SIZES = (16, 192)
"""Channels of the untrained codecs: as in tests, and as Cheng et al. 2020 have them."""


def jobs_of(rd_lambda: float) -> list[Job]:
    """Every codec that both builds have."""
    bundled = [Job(name, rd_lambda, None) for name in bundled_names()]
    return bundled + [Job(name, rd_lambda, size) for size in SIZES for name in UNTRAINED]


@contextmanager
def side(root: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A build's process, which codes all squares with the job whose number it is given."""
    paths = os.pathsep.join([str(root / "platform"), str(root)])
    command = [root / ".venv/bin/python", "-W", "ignore", CHILD, folder]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def turn(process: subprocess.Popen[str], job: int) -> dict[str, float]:
    """Seconds of CPU and bytes of one job.

    Raises:
        ConfigError: the process has ended.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{job}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise ConfigError(f"{process.args}: ended; what it said stands above")
    result: dict[str, float] = json.loads(line)
    return result


def in_turns(
    roots: Mapping[str, Path], folder: Path, jobs: Sequence[Job], rounds: int
) -> list[dict[str, list[dict[str, float]]]]:
    """What each side took, by job; the first round, uncounted, warms up."""
    results: list[dict[str, list[dict[str, float]]]] = [{s: [] for s in roots} for _ in jobs]
    with ExitStack() as stack:
        processes = {name: stack.enter_context(side(root, folder)) for name, root in roots.items()}
        for index in range(rounds + 1):
            for number, _ in enumerate(jobs):
                for name in list(roots) if index % 2 else reversed(roots):
                    taken = turn(processes[name], number)
                    if index:
                        results[number][name].append(taken)
    return results


def figures_of(jobs: Sequence[Job], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a job: medians of both sides, of their ratio, and what the rate moved by."""
    rows = []
    for job, sides in zip(jobs, results, strict=True):
        pairs = list(zip(sides["now"], sides["before"], strict=True))
        ratios = [now["cpu_s"] / before["cpu_s"] for now, before in pairs]
        seconds = {name: statistics.median(t["cpu_s"] for t in sides[name]) for name in sides}
        rate = 100 * (pairs[0][0]["bytes"] / pairs[0][1]["bytes"] - 1)
        rows.append(
            {"job": job.name, "autoregressive": job.num_channels is not None, "seconds": seconds,
             "ratio": statistics.median(ratios), "ratios": ratios, "rate_percent": rate}
        )  # fmt: skip
    return rows


def main(
    before: Path,
    domains: tuple[str, ...] = ("photos",),
    max_images: int = 4,
    side_pixels: int = 192,
    rd_lambda: float = 0.013,
    rounds: int = 5,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Code and decode by both builds.

    Args:
        before: A checkout of the build before, with its environment in `.venv`.
        domains: Where images come from: bundled names, or NAME=PATH.
        max_images: Squares in all. The large untrained codecs code the first only.
        side_pixels: Their side.
        rd_lambda: Of the bundled codecs.
        rounds: Turns of each build with each codec.
        json_path: Where to keep every figure.
    """
    roots = {"now": HERE, "before": before.resolve()}
    if not (roots["before"] / ".venv/bin/python").exists():
        raise ConfigError(f"{before} has no .venv/bin/python: make install there")
    jobs = jobs_of(rd_lambda)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", crops(domains, max_images, side_pixels)[1])
        (folder / "jobs.json").write_text(json.dumps([asdict(job) for job in jobs]))
        rows = figures_of(jobs, in_turns(roots, folder, jobs, rounds))
    Console(width=100).print(table_of(rows))
    report(rows, json_path)


def table_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row a codec."""
    table = Table("codec", "CPU s before", "now", "ratio", "rate moved by, %")
    for row in rows:
        seconds = (f"{row['seconds'][name]:.3f}" for name in ("before", "now"))
        table.add_row(row["job"], *seconds, f"{row['ratio']:.3f}", f"{row['rate_percent']:+.4f}")
    return table


def report(rows: Sequence[Mapping[str, Any]], json_path: Path | None) -> None:
    """The worst of each kind, and the last line."""
    worst = {
        kind: max(row["ratio"] for row in rows if row["autoregressive"] is kind)
        for kind in (False, True)
    }
    rate = max(abs(row["rate_percent"]) for row in rows if not row["autoregressive"])
    also("coding_autoregressive", worst[True], "of before", AUTOREGRESSIVE)
    also("rate_moved_by", rate, "%", RATE)
    ok = HYPERPRIOR.met(worst[False]) and AUTOREGRESSIVE.met(worst[True]) and RATE.met(rate)
    reason = "" if ok else "one of the three figures"
    figures = {"codecs": list(rows)}
    finish(
        "coding", worst[False], "of before", HYPERPRIOR, ok, figures, json_path, reason=reason
    )  # fmt: skip


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
