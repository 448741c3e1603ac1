"""Signals that ask a sweep to end, and the moments in which they are not heard."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, NoReturn

ASKED_TO_END = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What asks for an end besides Ctrl-C: clusters before they kill, a terminal that closes, and SLURM's
`--signal=B:USR1@SECONDS` before a time limit."""
_ASKED = threading.Event()
_ENTERED: list[None] = []
"""One for each `interruptible` that is entered: handlers do not tell, `hear_again` may have left them."""


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _ASKED.set()
    raise KeyboardInterrupt


def heed() -> None:
    """Interrupt if that was asked for and got lost; a loop that goes on for hours calls this in every round.

    Where a signal comes while a destructor runs, or Python that a library in C or Rust has called, what it
    raises may be printed as ignored, and the program goes on.

    Raises:
        KeyboardInterrupt: a signal has asked for the end.
    """
    if _ASKED.is_set():
        raise KeyboardInterrupt


@contextmanager
def heeding() -> Iterator[None]:
    """An error is an interruption once that was asked for.

    pydantic-core (2.50) makes one of what a signal raises in a serialiser in Python.
    """
    try:
        yield
    except Exception:
        heed()
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Each of `ASKED_TO_END` interrupts as Ctrl-C does; one that is ignored (by `nohup`) stays so."""
    wanted = (signal.SIGINT, *ASKED_TO_END)
    # Inside another one, what a library has swallowed is still to be heeded.
    outermost = not _ENTERED
    if outermost:
        forget()
    heard = [s for s in wanted if signal.getsignal(s) is not signal.SIG_IGN]
    _ENTERED.append(None)
    try:
        with _handled(dict.fromkeys(heard, _interrupt)):
            yield
    finally:
        _ENTERED.pop()
        if outermost:
            forget()


def forget() -> None:
    """Take what asked for an end so far as dealt with: `heed` says nothing of it any more."""
    _ASKED.clear()


def ask_to_end() -> None:
    """Interrupt this process, from any of its threads.

    As SIGTERM does; where nobody listens for that, as Ctrl-C: a notebook that runs a sweep outlives it.
    """
    listens = signal.getsignal(signal.SIGTERM) is _interrupt
    os.kill(os.getpid(), signal.SIGTERM if listens else signal.SIGINT)


def hear_again() -> None:
    """Interrupt at `ASKED_TO_END` although a library has taken one of them for itself meanwhile.

    Ray Tune (2.60) always takes SIGUSR1 while it runs, and ends as if all trials had: the sweep would be
    reported as complete with the cells it had so far.
    """
    if threading.current_thread() is threading.main_thread():
        for number in ASKED_TO_END:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)


def uninterrupted() -> AbstractContextManager[None]:
    """A few seconds in which a second signal does nothing: what is being closed gets closed."""
    return _handled(dict.fromkeys((signal.SIGINT, *ASKED_TO_END), signal.SIG_IGN))


@contextmanager
def _handled(wanted: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Handle signals so, in the main thread; elsewhere Python does not let anybody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
