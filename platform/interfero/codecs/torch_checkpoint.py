"""Weights out of PyTorch files: checkpoints of training scripts, and plain state dicts.

Such a file may come from anywhere. It is read by torch's `weights_only` unpickler, which runs no code of the
file, and nothing of it takes more memory than the file has bytes.
"""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interfero.errors import CodecError

SUFFIXES = (".pth", ".tar", ".pt", ".ckpt")
"""Endings of the names of PyTorch files."""
STATES = ("state_dict", "model_state_dict", "network", "model", "net")
"""Entries that hold a codec's weights, in the order of preference: CompressAI's examples, CompressAI-Trainer
(Catalyst), older checkpoints of CompressAI."""
LAMBDAS = ("lmbda", "lambda", "rd_lambda")
SETTINGS = ("args", "hparams", "hyper_parameters", "config")
"""Entries that may hold a training's settings, lambda among them."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.bool)
_OLD_NAMES = (
    # The parameters of entropy bottlenecks in CompressAI 1.1 and before, and in 1.2.0 to 1.2.6.
    (re.compile(r"(^|\.)_(matrices|biases|factors)\.(\d+)$"), r"\1\2.\3"),
    (re.compile(r"(^|\.)_matrix(\d+)$"), r"\1matrices.\2"),
    (re.compile(r"(^|\.)_bias(\d+)$"), r"\1biases.\2"),
    (re.compile(r"(^|\.)_factor(\d+)$"), r"\1factors.\2"),
    (re.compile(r"\.downsample\."), ".skip."),
)
_KEEP_WEIGHTS = (
    "torch.save({'state_dict': torch.load('OLD', weights_only=False)['state_dict']}, 'weights.pth')"
)


@dataclass(frozen=True)
class TorchCheckpoint:
    """What a PyTorch file says of a codec."""

    state: dict[str, Tensor]
    """Parameters and buffers by the names of CompressAI 1.2.8, without a wrapper's prefix."""
    rd_lambda: float | None
    """Weight of the distortion (0-255 scale) that the training's settings name; None where they do not."""
    notes: tuple[str, ...]
    """What was taken and what was left aside."""


def is_torch_file(path: Path) -> bool:
    """Whether a file was written by `torch.save`, by its first bytes, or at least bears such a name."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    # A safetensors file begins with the size of its header, which may be any eight bytes.
    return start[8:] != b"{" and (start.startswith((b"PK", b"\x80")) or path.suffix in SUFFIXES)


def name_of(path: Path) -> str:
    """A file's name without the endings of PyTorch files: `best` of `best.pth.tar`."""
    name = path.name
    while Path(name).suffix in SUFFIXES:
        name = Path(name).stem
    return name


def current_name(name: str) -> str:
    """What CompressAI 1.2.8 calls a parameter or buffer that another version named."""
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return name


def read_checkpoint(path: Path) -> TorchCheckpoint:
    """Read the weights of one codec out of a PyTorch file.

    Raises:
        CodecError: the file is missing, cut short or no PyTorch file, holds more than tensors and plain
            values, no codec or several, or tensors that are larger than it, or not finite.
    """
    content = read_torch_file(path)
    if not isinstance(content, Mapping):
        raise CodecError(
            f"{path} holds a {type(content).__name__} where a state dict is needed: save the model's "
            "`state_dict()`"
        )
    state, notes = _weights(path, content)
    check_bounded(path, state)
    renamed = {current_name(name): value.detach() for name, value in state.items()}
    if len(renamed) != len(state):
        raise CodecError(
            f"{path} holds parameters under their old names and their new ones: keep one"
        )
    return TorchCheckpoint(renamed, _stated_lambda(content), tuple(notes))


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote: tensors and plain values, by the unpickler that runs no code.

    Raises:
        CodecError: the file is missing, cut short or no PyTorch file, or holds more than weights.
    """
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                # torch.save stores; what unpacks to more than the file would fill the memory.
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise CodecError(
                        f"{path} unpacks to more than its {size} bytes: torch.save packs nothing"
                    )
                # torch writes checksums and does not compare them.
                damaged = archive.testzip()
            if damaged is not None:
                raise CodecError(
                    f"{path} is damaged: {damaged} has another checksum; copy it again"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except CodecError:
        raise
    except OSError as error:
        raise CodecError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # Bytes that were meant to be a pickle raise whatever their opcodes run into.
        raise CodecError(_refusal(path, str(error))) from error


def _refusal(path: Path, said: str) -> str:
    """Why torch did not read a file, in a line."""
    found = re.search(r"GLOBAL (\S+) was not|(?:class|function) (\S+)", said)
    if "weights_only" in said and found:
        return (
            f"{path} holds more than weights ({found[1] or found[2]}), and reading that could run code: "
            f"where you trust the file, keep its weights only: {_KEEP_WEIGHTS}"
        )
    first = next((line.strip() for line in said.splitlines() if line.strip()), "no reason given")
    return f"{path} is no whole PyTorch checkpoint ({first[:200]}): copy or save it again"


def _weights(path: Path, content: Mapping[Any, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict of the one codec in a file, without its prefix."""
    places = {"": content} | {k: v for k, v in content.items() if isinstance(v, Mapping)}
    named = {place: _tensors(value) for place, value in places.items()}
    prefixes = {place: _prefixes(tensors) for place, tensors in named.items()}
    holding = [place for place in named if prefixes[place]]
    if not holding:
        entries = ", ".join(sorted(map(str, content))[:5]) or "none"
        raise CodecError(
            f"{path} holds no image codec of CompressAI: no tensor is called g_a...; its entries are "
            f"{entries}"
        )
    known = [place for place in ("", *STATES) if place in holding]
    if not known and len(holding) > 1:
        raise CodecError(
            f"{path} holds several codecs ({', '.join(holding)}): keep one, as 'state_dict'"
        )
    place = (known or holding)[0]
    if len(prefixes[place]) > 1:
        raise CodecError(
            f"{path} holds several codecs ({', '.join(f'{p}g_a' for p in sorted(prefixes[place]))}): "
            "keep one"
        )
    (prefix,) = prefixes[place]
    state = {n.removeprefix(prefix): t for n, t in named[place].items() if n.startswith(prefix)}
    notes = [f"weights from its entry {place!r}"] if place else []
    notes += [f"prefix {prefix!r} taken off"] if prefix else []
    left = [
        *(n for n in named[place] if not n.startswith(prefix)),
        *(h for h in holding if h != place),
    ]
    notes += (
        [f"left aside: {', '.join(sorted(map(str, left))[:3])} ({len(left)} in all)"]
        if left
        else []
    )
    return state, notes


def _tensors(value: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _prefixes(names: Mapping[str, Tensor]) -> set[str]:
    """What stands before `g_a.` in some names: of wrappers such as DataParallel (`module.`)."""
    found = (re.match(r"((?:.*?\.)?)g_a\.", name) for name in names)
    return {match[1] for match in found if match}


def check_bounded(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not plain, claim more than the file holds, or are not finite."""
    size, total, seen = path.stat().st_size, 0, set[int]()
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.dtype not in _DTYPES:
            raise CodecError(
                f"{name!r} of {path} is a tensor of {tensor.dtype} ({tensor.layout}, {tensor.device}): "
                "save the model after `model.float().cpu()`"
            )
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes() or total > size:
            raise CodecError(
                f"{name!r} of {path} claims more than the file's {size} bytes: it is damaged"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CodecError(
                f"{name!r} of {path} holds NaN or infinity: the training had diverged; take an earlier "
                "checkpoint"
            )


def _stated_lambda(content: Mapping[Any, Any]) -> float | None:
    places = [content, *(content.get(name) for name in SETTINGS)]
    for place in (place for place in places if isinstance(place, Mapping)):
        for name in LAMBDAS:
            value = place.get(name)
            if isinstance(value, int | float) and 0 < value < math.inf and value is not True:
                return float(value)
    return None
