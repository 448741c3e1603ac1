"""`interfero pool`: warm workers that sweeps on this machine share."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from interfero.cli.options import run_group
from interfero.option_help import Said

NOT_RUNNING_EXIT = 1
INTERRUPTED_EXIT = 130


def pool() -> None:
    """Start, stop or show the pool of warm workers on this machine (see `interfero pool --help`)."""
    # Here only for the list of commands; `main` passes its arguments to `run_pool`.


def start_command(cpus: Said[int | None] = None, gpus: Said[int | None] = None) -> None:
    """Start a local Ray cluster whose workers have loaded everything before a sweep asks for it.

    Sweeps that are started on this machine afterwards join it by themselves, as long as they run the same
    code in the same environment; --no-pool and --address keep a sweep out of it. Its ports are bound to the
    loopback interface and ask for a token. It runs until `interfero pool stop`.

    Args:
        cpus: CPUs that all sweeps together may use, each a worker of about 400 MB; the default is all of this
            machine.
        gpus: GPUs that all sweeps together may use; the default is all of this machine.
    """
    from interfero.engine.interrupts import interruptible
    from interfero.engine.pool import START_S, check_counts, start_pool

    workers = check_counts(cpus, gpus)
    began = time.monotonic()
    sys.stdout.write(
        f"starting Ray and {workers} workers, in {START_S:.0f} s at most; Ctrl-C ends what was started\n"
    )
    sys.stdout.flush()
    try:
        with interruptible():
            started = start_pool(cpus, gpus)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: no process of the pool is left\n")
        sys.exit(INTERRUPTED_EXIT)
    sys.stdout.write(
        f"pool started in {time.monotonic() - began:.0f} s: {started.cpus:g} CPUs, {started.gpus:g} GPUs at "
        f"{started.address}, process {started.pid}\n"
        "sweeps on this machine join it; `interfero pool stop` ends it\n"
    )


def stop_command() -> None:
    """Stop the pool; a sweep that uses it stops as well and can be continued with --resume."""
    from interfero.engine.pool import pool_folder, stop_pool, using_sweeps

    sweeps = using_sweeps(pool_folder())
    stopped = stop_pool()
    sys.stdout.write(f"pool of process {stopped.pid} stopped\n")
    for name in sweeps.values():
        sys.stdout.write(f"sweep {name} used it: continue it with --resume\n")


def status_command() -> None:
    """Show the pool: its size, its warm workers, the sweeps that use it, and whether a sweep could join.

    Exits with 1 if no pool runs.
    """
    from interfero.engine.pool import pool_folder, read_pool, why_not

    found = read_pool()
    if found is None:
        sys.stdout.write("no pool runs; `interfero pool start` starts one\n")
        sys.exit(NOT_RUNNING_EXIT)
    reason = why_not(found)
    if not found.is_alive:
        sys.stdout.write(f"the pool has crashed: {reason}\n")
        sys.exit(NOT_RUNNING_EXIT)
    sys.stdout.write(
        f"pool of process {found.pid}: {found.cpus:g} CPUs, {found.gpus:g} GPUs at {found.address}\n"
    )
    for line in _users(found.code):
        sys.stdout.write(f"{line}\n")
    said = "sweeps join it" if reason is None else f"a sweep of this shell does not join: {reason}"
    sys.stdout.write(f"{said} ({pool_folder()})\n")


def _users(code: str) -> Iterator[str]:
    from interfero.engine.pool import pool_folder, using_sweeps, warm_workers

    loaded = list(warm_workers(pool_folder()).values())
    yield f"{loaded.count(code)} workers with its code, {len(loaded) - loaded.count(code)} being replaced"
    sweeps = using_sweeps(pool_folder())
    yield from (f"used by sweep {name} (process {pid})" for pid, name in sweeps.items())
    if not sweeps:
        yield "no sweep uses it"


def run_pool(arguments: Sequence[str]) -> None:
    """Run `interfero pool ...`; exits with 2 on a user's error."""
    commands = {"start": start_command, "stop": stop_command, "status": status_command}
    run_group("pool", commands, arguments, "Keep warm workers that sweeps on this machine share.")
