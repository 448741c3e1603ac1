"""Training states as safetensors: parameters, optimiser moments and the step, never pickle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from interfero.errors import StorageError
from interfero.storage import load_tensors, save_tensors


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
    save_tensors(path, tensors, {"info": dict(info), "optimizers": described})


def load_state(
    path: Path, parameters: Mapping[str, Tensor], optimizers: Iterable[Optimizer]
) -> dict[str, Any]:
    """Restore in place what `save_state` wrote; returns its info.

    Raises:
        StorageError: the file is damaged or belongs to another set of parameters.
    """
    tensors, metadata = load_tensors(path)
    names = {n.removeprefix("parameter.") for n in tensors if n.startswith("parameter.")}
    if names != set(parameters):
        raise StorageError(
            f"{path} belongs to other parameters (for example "
            f"{sorted(names ^ set(parameters))[0]!r}): delete it to start again"
        )
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(tensors[f"parameter.{name}"])
    for optimizer, described in zip(optimizers, metadata["optimizers"], strict=False):
        present = optimizer.state_dict()["param_groups"]
        groups = [{**p, **g} for p, g in zip(present, described["param_groups"], strict=True)]
        moments = {
            int(index): {k: _restore(v, tensors) for k, v in state.items()}
            for index, state in described["state"].items()
        }
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    info: dict[str, Any] = metadata["info"]
    return info


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
        return torch.empty_strided(value.shape, strides, dtype=value.dtype).copy_(value)
    if "list" in described:
        return [_restore(v, tensors) for v in described["list"]]
    return described["value"]
