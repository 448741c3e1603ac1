"""Training states as safetensors: parameters, optimiser moments and the step, never pickle."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from interfero.errors import StorageError
from interfero.store.keys import text_key
from interfero.store.tensors import load_tensors, save_tensors, state_hash

logger = logging.getLogger(__name__)

MAX_EXTENT = 64
"""Memory of a tensor over its numbers: more than members of a pack that share a stack have."""
FOLDER = "checkpoints"
"""Folder of a sweep that holds the states of cells in training."""


_TRUNK = re.compile(r"trunk-[^.]+\.(\d+)\.safetensors")


def trunk_name(trunk: str, step: int) -> str:
    """Names the state of a trunk after a step."""
    return f"trunk-{trunk}.{step}"


class Checkpoints:
    """States of trainings under way, by key: the newest of each, and the one before it."""

    def __init__(self, sweep_folder: Path, below: str = FOLDER) -> None:
        """Name the folder, `below` that of a sweep; it is made with the first state."""
        self.folder = sweep_folder / below

    def write(
        self,
        key: str,
        parameters: Mapping[str, Tensor],
        optimizers: Iterable[Optimizer],
        info: Mapping[str, Any],
    ) -> None:
        """Write a state (see `save_state`); the newest so far becomes the one before.

        Raises:
            StorageError: the disk is full, say; the states that were there are still there.
        """
        newest, before = self._files(key)
        try:
            if newest.exists():
                newest.replace(before)
        except OSError as error:
            raise StorageError(f"{newest} cannot be renamed ({error.strerror})") from error
        save_state(newest, parameters, optimizers, {**info, "key": key})

    def newest(self, key: str) -> Path | None:
        """The newest whole state of a key; damaged ones are removed, with a warning."""
        for path in self._files(key):
            if not path.exists():
                continue
            try:
                info = _read_whole(path)[1]["info"]
                # States of source trainings of earlier versions have no key.
                if info.get("key", key) != key:
                    raise StorageError(f"{path} is the state of {info.get('key')}")
            except StorageError as error:
                logger.warning("a checkpoint is left out: %s", error)
                path.unlink(missing_ok=True)
            else:
                return path
        return None

    def delete(self, key: str) -> None:
        """Remove what is kept of a training that has ended."""
        # Dotted: what a process had not finished writing when it was killed.
        for path in (*self._files(key), *self.folder.glob(f".{key}.*")):
            path.unlink(missing_ok=True)

    def trunk_steps(self, trunk: str) -> list[int]:
        """Steps after which a trunk's states were kept, rising."""
        found = (_TRUNK.fullmatch(p.name) for p in self.folder.glob(f"trunk-{trunk}.*"))
        return sorted(int(match.group(1)) for match in found if match)

    def delete_trunks(self) -> None:
        """Remove the states of all trunks: no training will go on from them."""
        for path in self.folder.glob("trunk-*"):
            path.unlink(missing_ok=True)

    def _files(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.safetensors", self.folder / f"{key}.before.safetensors"


def save_state(
    path: Path,
    parameters: Mapping[str, Tensor],
    optimizers: Iterable[Optimizer],
    info: Mapping[str, Any],
) -> None:
    """Write what a loop needs to go on as if never interrupted."""
    tensors = {f"parameter.{name}": value for name, value in parameters.items()}
    described = []
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        groups = [{k: v for k, v in g.items() if _is_plain(v)} for g in state["param_groups"]]
        moments = {
            str(index): {
                k: _flatten(v, f"optimizer.{i}.{index}.{k}", tensors) for k, v in s.items()
            }
            for index, s in state["state"].items()
        }
        described.append({"param_groups": groups, "state": moments})
    content: dict[str, Any] = {"info": dict(info), "optimizers": described}
    save_tensors(path, tensors, {**content, "content_hash": _content_hash(tensors, content)})


def load_state(
    path: Path, parameters: Mapping[str, Tensor], optimizers: Iterable[Optimizer]
) -> dict[str, Any]:
    """Restore in place what `save_state` wrote; returns its info.

    Raises:
        StorageError: the file is damaged or belongs to another set of parameters; nothing has been
            restored then.
    """
    tensors, metadata = _read_whole(path)
    mark = "parameter."
    kept = {n.removeprefix(mark): t for n, t in tensors.items() if n.startswith(mark)}
    wrong = kept.keys() ^ parameters.keys() or {
        n for n, value in parameters.items() if value.shape != kept[n].shape
    }
    if wrong:
        raise StorageError(
            f"{path} belongs to other parameters (for example {min(wrong)!r}): delete it to start "
            "again"
        )
    restored = []
    for optimizer, described in zip(optimizers, metadata["optimizers"], strict=False):
        present = optimizer.state_dict()["param_groups"]
        groups = [{**p, **g} for p, g in zip(present, described["param_groups"], strict=True)]
        moments = {
            int(index): {k: _restore(v, tensors) for k, v in values.items()}
            for index, values in described["state"].items()
        }
        restored.append((optimizer, {"state": moments, "param_groups": groups}))
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(kept[name])
    for optimizer, state in restored:
        optimizer.load_state_dict(state)
    info: dict[str, Any] = metadata["info"]
    return info


def check_state(path: Path) -> None:
    """Read a state and hash it.

    Raises:
        StorageError: it is damaged.
    """
    _read_whole(path)


def _read_whole(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state's tensors and metadata.

    Raises:
        StorageError: a byte of it has changed; the format itself would not notice.
    """
    tensors, metadata = load_tensors(path)
    told = metadata.pop("content_hash", None)
    # States of source trainings may be older than the hash.
    if told is not None and told != _content_hash(tensors, metadata):
        raise StorageError(f"{path} is damaged: its content does not have the hash it names")
    return tensors, metadata


def _content_hash(tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> str:
    text = state_hash(tensors.items()) + json.dumps(content, sort_keys=True)
    return text_key(text)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Put the tensors of a nested optimiser state aside, and describe the rest as JSON."""
    if isinstance(value, Tensor):
        tensors[name] = value
        # Files are contiguous, but a product of transposed matrices differs in its last bits.
        return {"tensor": name, "stride": list(value.stride())}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]}
    if _is_plain(value):
        return {"value": value}
    raise StorageError(f"optimiser state {name!r} is a {type(value).__name__}: it cannot be kept")


def _restore(described: Any, tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in described:
        value = tensors[described["tensor"]]
        strides = described.get("stride", value.stride())
        extent = sum((n - 1) * s for n, s in zip(value.shape, strides, strict=True))
        if extent > MAX_EXTENT * value.numel():
            raise StorageError(
                f"{described['tensor']!r} with the strides {strides} would take {extent} numbers, it has "
                f"{value.numel()}: the state is damaged"
            )
        return torch.empty_strided(value.shape, strides, dtype=value.dtype).copy_(value)
    if "list" in described:
        return [_restore(v, tensors) for v in described["list"]]
    return described["value"]
