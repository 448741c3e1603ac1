"""Errors a user can act on: each message names the value, the rule and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InterferoError(Exception):
    """Base of every error that the caller can correct; commands print it and exit with code 2."""


class ConfigError(InterferoError):
    """A setting, or a combination of settings, that cannot be run."""


class DomainError(InterferoError):
    """A folder, Parquet file or image that cannot serve as a domain."""


class UndeclaredError(DomainError):
    """Pixels whose meaning a domain may declare; a command that takes no declaration needs other words."""

    def __init__(self, text: str, elsewhere: str = "") -> None:
        """Keep both texts.

        Args:
            text: Names the declaration.
            elsewhere: The same for other commands.
        """
        super().__init__(text)
        self.elsewhere = elsewhere


class CodecError(InterferoError):
    """A codec that cannot be found, loaded or adapted."""


class BitstreamError(InterferoError):
    """A coded image that is damaged, or that needs another codec or adapter."""


class DecoderLostError(BitstreamError):
    """A decoder that did not answer in time or was killed from outside: it says nothing of its stream."""


class AdapterError(InterferoError):
    """An adapter file that is damaged or belongs to another source codec."""


class StorageError(InterferoError):
    """A place that results cannot be written to or read from."""


class GroupError(InterferoError):
    """Error that ends a training in all of its processes: if one process meets it, all of them stop."""


class PoolError(InterferoError):
    """A pool of warm workers that does not start, is not there, or has ended."""


class TrackingError(InterferoError):
    """A tracking server that does not answer."""


def expect(
    value: object, kinds: type | tuple[type, ...], name: str, remedy: str,
    error: type[InterferoError] = ConfigError,
) -> None:  # fmt: skip
    """Refuse an argument of another type.

    Args:
        value: What was given.
        kinds: Types that it may be of.
        name: What the argument is called.
        remedy: What to write instead.
        error: Which error it is.

    Raises:
        InterferoError: `error`, which names the value, its type and the remedy.
    """
    if isinstance(value, kinds):
        return
    wanted = " or ".join(k.__name__ for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
    shown = repr(value)
    shown = shown if len(shown) <= 60 and "\n" not in shown else "a value"
    raise error(f"{name} must be {wanted}, got {shown} of type {type(value).__name__}: {remedy}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence that ends an unknown-name error: the nearest name, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names) or 'none'}"
