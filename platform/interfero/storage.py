"""Files that are either whole or absent, and states without pickle."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from interfero.errors import StorageError

_METADATA = "interfero"
T = TypeVar("T")

PATIENCE_S = 60.0
"""How long results wait for a disk that is full or away: somebody may be mending it."""
_RETRY_S = (0.5, 5.0)
"""Pause after a first failure, and the longest; each is twice the one before."""
_patience: ContextVar[float] = ContextVar("patience", default=0.0)

logger = logging.getLogger(__name__)


@contextmanager
def patience(seconds: float = PATIENCE_S) -> Iterator[None]:
    """Inside, what cannot be written is tried again for so many seconds before it is an error.

    For results, which cost hours: checkpoints do without, because training goes on without them.
    """
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


def patiently(attempt: Callable[[], T], place: Path) -> T:
    """What an attempt to write comes to, tried again inside `patience`.

    Raises:
        OSError: the last attempt's.
    """
    give_up, (pause, longest) = time.monotonic() + _patience.get(), _RETRY_S
    while True:
        try:
            return attempt()
        except OSError as error:
            if time.monotonic() + pause > give_up:
                raise
            logger.warning("%s cannot be written (%s): tried again", place, error.strerror)
        time.sleep(pause)
        pause = min(longest, 2 * pause)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that a reader sees whole or not at all, whatever dies in between.

    Raises:
        StorageError: the disk is full or the place is not writable, and stays so as long as `patience`.
    """
    try:
        patiently(lambda: _write_once(path, data), path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error.strerror}): free the disk or choose another "
            "--storage, then continue with --resume"
        ) from error


def _write_once(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; results are shared like any other file.
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def inside(folder: Path, name: str) -> Path:
    """The file that a record names below a folder; a record may come from anywhere.

    Raises:
        StorageError: the name is absolute, or leads out of the folder (links are followed).
    """
    path, parts = folder / name, Path(name).parts
    whole = parts and ".." not in parts and not Path(name).is_absolute()
    if not whole or not path.resolve().is_relative_to(folder.resolve()):
        raise StorageError(
            f"{name!r} must be the path of a file below {folder}: the record that names it was "
            "damaged or is not this project's; delete the record and continue with --resume"
        )
    return path


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN is refused, because readers differ on it."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text.encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read as JSON ({error})") from error


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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, RuntimeError, KeyError, ValueError, safetensors.SafetensorError) as error:
        # torch, which maps the file for safetensors, says RuntimeError of one that has just gone.
        raise StorageError(
            f"{path} is not a whole interfero safetensors file ({error!r}): fetch or train it again"
        ) from error
    return tensors, metadata
