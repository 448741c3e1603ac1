"""What one process sees of Ray: `python -m interfero.engine.ray_probe FOLDER [ADDRESS]`.

The last line it prints is a JSON object; `error` in it says why Ray does not work. `interfero doctor`
starts it, because Ray prints, waits and aborts as it likes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_nodes

from interfero import versions
from interfero.engine.code import NUMBER_LIBRARIES, library_versions

NODE_S = 60
"""A node's first worker process takes seconds to start; a busy machine longer."""
STATE_S = 10


def _look(names: tuple[str, ...], path: str, version_of: Callable[[str], str]) -> dict[str, Any]:
    """Runs on a node; needs nothing installed there but the standard library."""
    import importlib.metadata
    import os

    found = {}
    for name in names:
        try:
            found[name] = version_of(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return {"versions": found, "sees_storage": os.path.exists(path)}  # noqa: PTH110


def probe(folder: Path, address: str | None) -> dict[str, Any]:
    """Ray's version, resources and nodes, what each node has, and whether the State API answers."""
    ray.init(
        # Left out, Ray would join whatever cluster was last started on this machine.
        address=address or "local",
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        with _marker(folder) as path:
            nodes = _nodes(path)
        return {
            "ray": ray.__version__,
            "resources": ray.cluster_resources(),  # type: ignore[no-untyped-call]
            "versions": library_versions(),
            "nodes": nodes,
            "state_api": None if address is None else _state_api_trouble(),
        }
    finally:
        ray.shutdown()


@contextmanager
def _marker(folder: Path) -> Iterator[str]:
    """A new file for every node to see; where none can be written, which is no matter of Ray, the folder."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".doctor.")
    except OSError:
        yield str(folder)
        return
    os.close(handle)
    try:
        yield name
    finally:
        Path(name).unlink()


def _nodes(path: str) -> dict[str, Any]:
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    # The node may lack this project, or have another version of it: code travels with the question.
    ray.cloudpickle.register_pickle_by_value(versions)  # type: ignore[no-untyped-call]
    version_of = versions.library_version.__wrapped__
    asked = {}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            asked[name] = look.options(scheduling_strategy=there).remote(
                NUMBER_LIBRARIES, path, version_of
            )
    answers = ray.get(list(asked.values()), timeout=NODE_S)
    return dict(zip(asked, answers, strict=True))


def _state_api_trouble() -> str | None:
    try:
        list_nodes(timeout=STATE_S)
    except Exception as error:
        return _first_line(error)
    return None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def main() -> None:
    """Print what `probe` finds."""
    folder, *address = sys.argv[1:]
    try:
        seen = probe(Path(folder), address[0] if address else None)
    except Exception as error:
        seen = {"error": _first_line(error)}
    sys.stdout.write(f"\n{json.dumps(seen)}\n")


if __name__ == "__main__":
    main()
