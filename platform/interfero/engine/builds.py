"""Which builds of this code have driven a sweep, and whether another build may go on with it."""

from __future__ import annotations

import importlib.metadata
import time
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

from interfero.config import Config
from interfero.errors import ConfigError, StorageError
from interfero.versions import library_version

if TYPE_CHECKING:
    from interfero.store.sweep import SweepStore

BUILDS = "builds"
"""Of a sweep's settings: the builds that drove it, the first one first."""
UNKNOWN = "of an unknown version"
"""What is known of a build that drove a sweep before builds were kept."""
_VERSION_OF = "version of "
"""How the settings of a sweep name a library that decides its numbers."""


class Build(Config):
    """What drove a sweep from some moment on."""

    since: float
    """Unix time in seconds."""
    interfero: str
    """Version of this package."""
    code: str
    """Hash of the training code."""

    @classmethod
    def current(cls, code: str) -> Build:
        """This process's."""
        return cls(since=time.time(), interfero=library_version("interfero"), code=code)

    @property
    def text(self) -> str:
        """How messages name it."""
        return f"interfero {self.interfero} (training code {self.code})"

    def is_like(self, other: Build) -> bool:
        """Whether both are the same code."""
        return (self.interfero, self.code) == (other.interfero, other.code)


def builds_of(settings: dict[str, Any]) -> list[Build]:
    """The builds that drove a sweep; the first one's version may be unknown."""
    first = Build(since=0.0, interfero=UNKNOWN, code=settings["loop_hash"])
    return [Build.model_validate(build) for build in settings.get(BUILDS, ())] or [first]


def with_build(settings: dict[str, Any], build: Build) -> dict[str, Any]:
    """Settings with a build that drives the sweep from now on."""
    known = builds_of(settings)
    if known[-1].is_like(build):
        return settings
    return settings | {BUILDS: [each.model_dump() for each in (*known, build)]}


def check_build(store: SweepStore, code: str, *, accept_code: bool) -> str | None:
    """Whether a sweep may be resumed by this build; what to say if another build began it.

    Another version of a library is refused, always: a cell's key names it, so no finished cell would be
    found, and one table would hold numbers of both. Other training code is refused unless it is accepted.
    Another version of interfero whose training code is the same goes on: it is named.

    Args:
        store: Of a sweep that is there.
        code: Hash of this training code.
        accept_code: Whether the user says that the code makes the same numbers.

    Raises:
        ConfigError: names both versions and the remedy.
    """
    settings = store.settings()
    _check_libraries(store.name, settings)
    now, first, last = Build.current(code), builds_of(settings)[0], builds_of(settings)[-1]
    if code != settings["loop_hash"] and not accept_code:
        raise ConfigError(
            f"the training code has changed since sweep {store.name!r} was started by {first.text}; this is "
            f"{now.text}: its cells would not be comparable; go back to the old code, start another --name, "
            "or say --accept-code-change if both make the same numbers"
        )
    if last.is_like(now) or (last.code == code and last.interfero == UNKNOWN):
        return None
    if last.code == code:
        return (
            f"sweep {store.name!r} was driven by {last.text}; this is {now.text}: the training code is the "
            "same, so its cells stay comparable"
        )
    return (
        f"cells so far were made by {last.text}, those to come are made by {now.text}: the last lines "
        "count the cells of each"
    )


def builds_line(store: SweepStore) -> str | None:
    """How many cells each build made, where builds of different training code drove the sweep.

    A record tells when its cell started, and the settings when a build began. None too where the settings
    cannot be read any more: the sweep's results are told all the same.
    """
    try:
        builds = builds_of(store.settings())
    except StorageError:
        return None
    if len({build.code for build in builds}) < 2:
        return None
    begins = [build.since for build in builds]
    heading = "cells of several builds of the training code"
    if begins != sorted(begins):
        each = ", ".join(build.text for build in builds)
        return f"{heading}: {each}; the clock was set back between them, so their cells cannot be counted"
    made = Counter(
        max(0, bisect_right(begins, record.started_at) - 1)
        for record in store.each_record()
        if record.reused_from is None and record.started_at
    )
    parts = [f"{made[i]} cells by {build.text}" for i, build in enumerate(builds)]
    return f"{heading}: {', '.join(parts)}"


def _check_libraries(name: str, settings: dict[str, Any]) -> None:
    differing = []
    for field, before in settings["content"].items():
        if field.startswith(_VERSION_OF):
            library = field.removeprefix(_VERSION_OF)
            now = _installed(library)
            if now != before:
                differing.append((library, before, now))
    if not differing:
        return
    then = " and ".join(f"{library} {before}" for library, before, _ in differing)
    here = " and ".join(f"{library} {now}" for library, _, now in differing)
    pins = " ".join(f"{library}=={before}" for library, before, _ in differing)
    raise ConfigError(
        f"sweep {name!r} was started with {then}, and here is {here}: its table would hold numbers of both; "
        f"install {pins} and resume, or start another --name, which trains its cells with {here}"
    )


def _installed(library: str) -> str:
    try:
        return library_version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
