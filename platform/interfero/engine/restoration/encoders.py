"""Files of encoder weights: read, fitted into an encoder, and used with the normalisation they were made for.

A file says by its metadata how pictures must be shifted and scaled; the network applies it, so that every
caller hands over pictures in [0, 1].
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from interfero.codecs.torch_checkpoint import check_bounded, is_torch_file, read_torch_file
from interfero.errors import CodecError, ConfigError

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """What pictures in [0, 1] are shifted and scaled by before an encoder: (x - mean) / spread."""

    mean: Triple
    spread: Triple


DRAWN = Normalisation((0.45,) * 3, (0.25,) * 3)
"""For weights that are drawn: about the mean and deviation of photographs."""
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What most published weights were trained with, torchvision's among them."""


@dataclass(frozen=True)
class EncoderWeights:
    """The content of a file of weights."""

    path: Path
    tensors: Mapping[str, Tensor]
    normalisation: Normalisation | None
    """None where the file does not say."""


def timm_name(encoder: str) -> str:
    """What timm calls an encoder of segmentation-models-pytorch; the name itself where timm has none."""
    return encoder.removeprefix("tu-").removeprefix("timm-")


class Normalised(nn.Module):
    """A network behind the shift and scale that its weights were made for: it takes pictures in [0, 1]."""

    mean: Tensor
    spread: Tensor

    def __init__(self, network: nn.Module, norm: Normalisation) -> None:
        """Buffers of the model: a saved one needs no other file to be used rightly."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(norm.mean).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(norm.spread).view(1, 3, 1, 1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """B, 3, H, W in [0, 1] to what the network makes of it."""
        output: Tensor = self.network((images_BCHW - self.mean) / self.spread)
        return output


def read_encoder(path: Path) -> EncoderWeights:
    """Read a file of weights: safetensors, or what `torch.save` wrote, by the unpickler that runs no code.

    Raises:
        ConfigError: it cannot be read, or its tensors are not finite.
    """
    try:
        tensors, about = _read_torch(path) if is_torch_file(path) else _read_safetensors(path)
        check_bounded(path, tensors)
    except CodecError as error:
        raise ConfigError(f"--encoder-weights: {error}") from error
    except (OSError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"--encoder-weights {path} must be a safetensors or PyTorch file of an encoder's weights "
            f"({str(error)[:200]})"
        ) from error
    return EncoderWeights(path, tensors, _stated(path, about))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about = json.loads(metadata.get("interfero", "{}"))
    if not isinstance(about, dict):
        raise ValueError(f"its metadata is no JSON object but {type(about).__name__}")
    return tensors, {k: json.loads(metadata[k]) for k in ("mean", "std") if k in metadata} | about


def _read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = read_torch_file(path)
    places = [content, *content.values()] if isinstance(content, Mapping) else []
    found = [
        {k: v for k, v in place.items() if isinstance(k, str) and isinstance(v, Tensor)}
        for place in places
        if isinstance(place, Mapping)
    ]
    tensors = max(found, key=len, default={})
    if not tensors:
        raise CodecError(f"{path} holds no state dict: save the encoder's `state_dict()`")
    return {name: tensor.detach() for name, tensor in tensors.items()}, {}


def _stated(path: Path, about: Mapping[str, Any]) -> Normalisation | None:
    if not {"mean", "std"} & about.keys():
        return None
    try:
        (m0, m1, m2), (s0, s1, s2) = about["mean"], about["std"]
        norm = Normalisation((float(m0), float(m1), float(m2)), (float(s0), float(s1), float(s2)))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"--encoder-weights {path}: its metadata must have `mean` and `std` of three numbers each"
        ) from error
    if min(norm.spread) <= 0:
        raise ConfigError(f"--encoder-weights {path}: `std` must be above 0, got {norm.spread}")
    return norm


def normalisation_of(encoder: str, weights: EncoderWeights | None) -> Normalisation:
    """What an encoder's pictures are shifted and scaled by.

    The file's own where it states one; else what timm states for weights of that network; else ImageNet's.
    """
    if weights is None:
        return DRAWN
    if weights.normalisation is not None:
        return weights.normalisation
    import timm

    stated = timm.get_pretrained_cfg(timm_name(encoder)) if _in_timm(encoder) else None
    if stated is None or len(stated.mean) != 3:
        return IMAGENET
    (m0, m1, m2), (s0, s1, s2) = stated.mean, stated.std
    return Normalisation((m0, m1, m2), (s0, s1, s2))


def _in_timm(encoder: str) -> bool:
    import timm

    return bool(timm.is_model(timm_name(encoder)))


def fill_encoder(encoder: nn.Module, weights: EncoderWeights, name: str) -> None:
    """Copy a file's weights into an encoder that has the same layout; what else the file has is left aside.

    Args:
        encoder: Of segmentation-models-pytorch.
        weights: The file's. Prefixes such as `module.` or `encoder.` do not matter, nor does a classifier.
        name: As `--encoder` names it.

    Raises:
        ConfigError: names the first tensor that is missing or has another shape.
    """
    own = encoder.state_dict()
    ours = "model." if all(key.startswith("model.") for key in own) else ""
    wanted = {key.removeprefix(ours): value for key, value in own.items()}
    theirs = _prefix(weights.tensors, wanted)
    given = {key: weights.tensors.get(theirs + key) for key in wanted}
    problems = []
    for key, value in given.items():
        needed = wanted[key].shape
        # Older files do not count batches, and nothing here depends on their number.
        if value is None and not key.endswith("num_batches_tracked"):
            problems.append(f"{theirs + key!r} is missing")
        elif value is not None and value.shape != needed:
            problems.append(f"{theirs + key!r} is {_size(value.shape)} and must be {_size(needed)}")
    if problems:
        more = f" and {len(problems) - 1} more of {len(own)}" if len(problems) > 1 else ""
        raise ConfigError(
            f"--encoder-weights {weights.path} does not fit --encoder {name}: {problems[0]}{more}; name the "
            "encoder that the file is of, or save that encoder's `state_dict()`"
        )
    with torch.no_grad():
        for key, value in given.items():
            if value is not None:
                wanted[key].copy_(value)


def _prefix(given: Iterable[str], wanted: Collection[str]) -> str:
    """What stands before most of the wanted names in a file."""
    found: Counter[str] = Counter()
    for name in given:
        starts = [0, *(i + 1 for i, letter in enumerate(name) if letter == ".")]
        found.update(name[:start] for start in starts if name[start:] in wanted)
    return max(sorted(found), key=lambda prefix: found[prefix], default="")


def _size(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a number"
