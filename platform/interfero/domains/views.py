"""Labelled domains under other tasks: the same images, with labels that are made of their own."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

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


def origin_of(view: LabelledDomain, names: Container[str]) -> tuple[str, str]:
    """Which domain a view is of, and by which task.

    Args:
        view: What a function of `VIEWS` gave.
        names: The domains it may be of.

    Raises:
        KeyError: it is of none of them.
    """
    for task, suffix in _SUFFIXES.items():
        own = view.name.removesuffix(suffix)
        if own + suffix == view.name and own in names and (task != OWN) == bool(view.images_of):
            return own, task
    raise KeyError(view.name)
