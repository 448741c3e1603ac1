"""Ray for one sweep: begun while the sweep is still being planned, and ended with it, whatever ends it.

A sweep with `--address` or RAY_ADDRESS joins that cluster. Any other joins a pool (`interfero pool`), if one
runs that it can use, and otherwise starts Ray for itself.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from interfero.engine.code_version import CodeVersion, on_cluster, shipped_code
from interfero.engine.interrupts import ask_to_end, forget, interruptible, uninterrupted
from interfero.engine.options.base import SweepOptions
from interfero.engine.pool import Pool, pool_folder, read_pool, used_by, why_not
from interfero.engine.ray_processes import cpus_to_offer, few_processes
from interfero.engine.resources import packs_at_once
from interfero.errors import ConfigError, PoolError
from interfero.redaction import without_secrets

LOOK_EVERY_S = 1.0
CONNECT_S = 4.0
END_S = 60.0
"""Ray's own start ends within 30 seconds, one way or the other, unless a user gives it longer."""
WAIT_VARIABLE = "RAY_raylet_start_wait_time_s"
"""Seconds that Ray looks for its own processes (2.60): its 30 seconds in Python begin another such look each
time that one ends, so that a longer one is what counts."""


_TOO_LATE = (
    "the pool is not used: Ray was imported in this process before, with settings of its own"
)


class _BusyError(ConfigError):
    """Ray's processes did not start in time."""


class RaySession:
    """Ray's processes of one sweep, or its place on those of others."""

    def __init__(self, options: SweepOptions, name: str) -> None:
        """Decide whose they are; nothing is started.

        Args:
            options: Of the sweep.
            name: Of the sweep.
        """
        self._options, self._name = options, name
        self.pool: Pool | None = None
        """That the sweep has joined."""
        self.note: str | None = None
        """What to say of a pool that is there."""
        self._begun = False
        self._threads: list[threading.Thread] = []
        self._answered, self._over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._ours = False

    @property
    def code(self) -> CodeVersion | None:
        """What a worker must run too, where it may have loaded something else."""
        needed = on_cluster(self._options) or self.pool is not None
        return CodeVersion.current() if needed else None

    def begin(self) -> None:
        """Start or join in a thread: Ray's processes start while this one imports what it needs.

        A cluster is joined when it is needed: its workers get the code that this process has imported by
        then.
        """
        if self._begun or on_cluster(self._options):
            return
        self._begun = True
        found = read_pool() if self._options.pool else None
        from interfero.engine import ray_environment

        if found is not None:
            joins = ray_environment.can_join_pool()
            self.pool, self.note = _usable(found) if joins else (None, _TOO_LATE)
        ray_environment.prepare(
            self.pool,
            groups=self._options.workers_per_trial > 1,
            cpus=cpus_to_offer(self._options) or os.cpu_count() or 1,
        )
        # isort: split
        import ray

        if ray.is_initialized():
            # Whoever started or joined it in this process decided where packs train.
            here = ray.get_runtime_context().gcs_address
            self.pool = self.pool if self.pool is not None and self.pool.address == here else None
            self.note = None
            return
        self._ours = True
        self._start_thread()

    def _start_thread(self) -> None:
        self._answered.clear()
        self._error = None
        self._threads.append(threading.Thread(target=self._hold, name="ray", daemon=True))
        self._threads[-1].start()

    @contextmanager
    def ready(self) -> Iterator[int]:
        """Wait until Ray answers; gives the number of packs at once.

        Raises:
            ConfigError: no cluster at the address, or a trial asks for more than this machine has.
            PoolError: the pool does not answer, or ends meanwhile.
        """
        self.begin()
        import ray

        if self._threads:
            self._answered.wait()
            if isinstance(self._error, _BusyError):
                # This process was busy with imports meanwhile, and is not any more.
                self._start_thread()
                self._answered.wait()
        elif not ray.is_initialized():
            self._ours = True
            self._start()
        if self._error is not None:
            raise self._error
        try:
            # Ray's driver takes SIGTERM for itself when it starts in the main thread.
            with interruptible(), self._watched():
                yield packs_at_once(self._options, ray.cluster_resources())  # type: ignore[no-untyped-call]
        finally:
            self.end()

    def end(self) -> None:
        """Let go of Ray; no actor of the sweep outlives it."""
        if not self._ours:
            return
        self._ours = False
        import ray

        with uninterrupted():
            if self._threads:
                self._answered.wait(END_S)
            ray.shutdown()
            self._over.set()
            for thread in self._threads:
                thread.join(END_S)

    def _hold(self) -> None:
        """Start Ray, and stay: Linux ends its processes with the thread that started them.

        Those of a start that failed, too: Ray (2.60) ends this process a minute after one of them is gone.
        """
        self._start()
        self._answered.set()
        self._over.wait()

    def _start(self) -> None:
        try:
            _start_ray(self._options, self.pool)
        except BaseException as error:  # Raised where the main thread waits.
            self._error = error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Inside, the end of a pool ends the sweep, which would wait for it."""
        if self.pool is None:
            yield
            return
        ended, over = threading.Event(), threading.Event()
        watch = threading.Thread(target=_watch, args=(self.pool, ended, over), daemon=True)
        with used_by(self._name, pool_folder()):
            watch.start()
            try:
                yield
            except KeyboardInterrupt:
                if not ended.is_set():
                    raise
            finally:
                over.set()
            if ended.is_set():
                # Nobody asked the sweep to end: it failed.
                forget()
                raise PoolError(
                    f"the pool that this sweep used has ended (process {self.pool.pid}); finished cells "
                    "are kept"
                )


def _watch(pool: Pool, ended: threading.Event, over: threading.Event) -> None:
    """Interrupt the main thread when the pool has ended, unless the sweep is over before."""
    while not over.wait(LOOK_EVERY_S):
        if not pool.is_alive:
            ended.set()
            ask_to_end()
            return


@contextmanager
def ray_for(options: SweepOptions, name: str = "", *, early: bool = False) -> Iterator[RaySession]:
    """Ray's session, which ends with this block.

    Args:
        options: Of the sweep.
        name: Of the sweep.
        early: Begin at once, before it is known whether anything is to be trained.
    """
    session = RaySession(options, name)
    try:
        if early:
            session.begin()
        yield session
    finally:
        session.end()


def _usable(found: Pool) -> tuple[Pool | None, str]:
    """The pool if a sweep can join it, and what to say of it."""
    reason = why_not(found)
    if reason is None:
        return found, f"joining the pool of process {found.pid} (`interfero pool status`)"
    return None, f"the pool is not used, Ray starts for this sweep alone: {reason}"


def _start_ray(options: SweepOptions, pool: Pool | None) -> None:
    import ray

    cluster = on_cluster(options)
    own = pool is None and not cluster
    address = options.address if cluster else "local" if pool is None else pool.address
    try:
        if pool is not None:
            # Ray itself would try for minutes.
            host, _, port = pool.address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        processes = few_processes() if own else nullcontext()
        with processes, shipped_code() if cluster else nullcontext() as runtime_env:
            ray.init(
                # Left out, Ray would join whatever cluster was last started on this machine.
                address=address,
                num_cpus=cpus_to_offer(options) if own else None,
                include_dashboard=False if own else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=runtime_env,
                _skip_env_hook=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        said = without_secrets(str(error).splitlines()[0][:300])
        if pool is not None:
            raise PoolError(
                f"the pool of process {pool.pid} must answer at {pool.address}, and does not: {said}; "
                "`interfero pool stop` ends it, --no-pool does without"
            ) from error
        where = (
            "on this machine"
            if options.address is None
            else f"at {without_secrets(options.address)}"
        )
        raise ConfigError(
            f"--address must name a Ray cluster that answers, or be left out; Ray {where} does not "
            f"start: {said}"
        ) from error
    except Exception as error:
        # A bare Exception is what Ray raises where its processes need more than its 30 seconds (2.60).
        if type(error) is not Exception:
            raise
        said = without_secrets(str(error).splitlines()[0][:300])
        raise _BusyError(
            f"Ray's own processes must start in time, and did not: {said} This machine may be too busy: end "
            f"other programs, or give them longer ({WAIT_VARIABLE}=300 in the environment), and run the "
            "sweep again, with --resume if it had begun"
        ) from error
