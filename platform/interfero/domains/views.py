"""Labelled domains under other tasks: the same images, with labels that are made of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from interfero.domains import dominant, edges
from interfero.domains.labelled import LabelledDomain

OWN = "own"
"""The task of a domain's own labels."""
VIEWS: Mapping[str, Callable[[LabelledDomain], LabelledDomain]] = {
    OWN: lambda domain: domain,
    "dominant": dominant.dominant,
    "edges": edges.edges,
}
"""A domain as each of `--tasks` has it."""
_SUFFIXES = {OWN: "", "dominant": dominant.SUFFIX, "edges": edges.SUFFIX}


def origin_of(view: LabelledDomain, names: Iterable[str]) -> tuple[str, str]:
    """Which domain a view is of, and by which task.

    Args:
        view: What a function of `VIEWS` gave.
        names: The domains it may be of.

    Raises:
        KeyError: it is of none of them.
    """
    tasks = [task for task in VIEWS if (task != OWN) == bool(view.images_of)]
    known = set(names)
    for task in tasks:
        own = view.name.removesuffix(_SUFFIXES[task])
        if own in known and view.name == own + _SUFFIXES[task]:
            return own, task
    raise KeyError(view.name)
