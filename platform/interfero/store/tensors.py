"""Tensors in safetensors files with one JSON object, never pickle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from interfero.errors import StorageError
from interfero.store.files import write_atomic
from interfero.store.keys import new_digest

_METADATA = "interfero"
STATE_HASH = "state_hash"
"""Key of the metadata for the hash of all tensors."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file whose metadata is one JSON object, atomically."""
    write_atomic(path, tensor_bytes(tensors, metadata))


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """The content of such a file."""
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = {_METADATA: json.dumps(dict(metadata), sort_keys=True, allow_nan=False)}
    return safetensors.torch.save(whole, text)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file and its metadata.

    Raises:
        StorageError: the file is missing or damaged, or was not written by this project.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[_METADATA])
            if not isinstance(metadata, dict):
                raise ValueError(f"its metadata is no JSON object but {type(metadata).__name__}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise StorageError(f"there is no file {path}: check the path") from error
    except (OSError, RuntimeError, KeyError, ValueError, safetensors.SafetensorError) as error:
        # torch, which maps the file for safetensors, says RuntimeError of one that has just gone.
        raise StorageError(
            f"{path} is not a whole interfero safetensors file ({error!r}): fetch or train it again"
        ) from error
    return tensors, metadata


def save_hashed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write such a file with the hash of its tensors, for `load_hashed`."""
    save_tensors(path, tensors, {**metadata, STATE_HASH: state_hash(tensors.items())})


def load_hashed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read such a file; files from before there was a hash are read as they are.

    Raises:
        StorageError: as `load_tensors`, or a bit of a tensor has changed; the format would not notice.
    """
    tensors, metadata = load_tensors(path)
    if STATE_HASH in metadata and metadata[STATE_HASH] != state_hash(tensors.items()):
        raise StorageError(
            f"{path} is damaged: its tensors do not have the hash it names; delete it, and it is made again"
        )
    return tensors, metadata


def state_hash(named: Iterable[tuple[str, Tensor]]) -> str:
    """Content hash of named tensors: names, dtypes, shapes and bytes."""
    digest = new_digest()
    for name, tensor in sorted(named):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
        digest.update(data.flatten().view(torch.uint8).numpy().tobytes() if data.numel() else b"")
    return digest.hexdigest()
