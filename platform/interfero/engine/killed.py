"""A pack whose process was killed, for memory most often: it goes on in halves, once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interfero.engine.node import Node
from interfero.engine.packs import Pack

PARTS = "parts"
"""Of a trial's configuration, once its process was killed: what it does instead of its pack, in order."""
REMEDY = (
    "run fewer packs at once (--max-concurrent) or use a machine with more memory and go on with --resume, "
    "or start another sweep with a smaller --batch-size or --crop-size"
)
_FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)
"""How Tune heads each failure in a trial's file of errors (Ray 2.60)."""
_BY_RAY = "low on memory"
"""Ray's memory monitor says it of a worker that it killed."""
_DIED = "worker process has died"
"""Ray says it of an actor whose process is gone and whose machine is not: the kernel's OOM killer leaves no
other trace, and neither does any SIGKILL."""


def reason_of_kill(errors: str) -> str | None:
    """Why a trial's process was killed last; None where it was not: an exception, or a lost machine.

    Args:
        errors: The trial's file of errors.
    """
    last = _FAILURE.split(errors)[-1]
    if _BY_RAY in last:
        return "Ray killed its process because the machine ran low on memory"
    if _DIED in last:
        return "its process was killed, most likely for memory"
    return None


def halves(pack: Pack) -> list[Pack]:
    """A pack as two, the first no smaller; a pack of one node as it is."""
    middle = (len(pack.nodes) + 1) // 2
    parts = [pack.nodes[:middle], pack.nodes[middle:]]
    return [pack.model_copy(update={"nodes": nodes}) for nodes in parts if nodes]


def after_kill(left: Sequence[Pack], *, again: bool) -> tuple[list[Pack], tuple[Node, ...]]:
    """What a trial goes on with, and what it gives up.

    Args:
        left: What it has not done, the part that it was doing first.
        again: Whether its process was killed before.
    """
    if not left:
        return [], ()
    first, *others = left
    if again:
        return others, first.nodes
    return [*halves(first), *others], ()
