"""Batches of crops at one place in several pictures of a scene: image and labels, or before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.engine.restoration.configs import Augmentation
from interfero.randomness import Role, numpy_generator

SCALES = (0.75, 4 / 3)
CONTRAST, BRIGHTNESS = 0.2, 0.1
"""Largest changes by `jitter`: relative, and of the range."""


@dataclass(frozen=True)
class Scene:
    """Pictures of one scene, pixel by pixel."""

    pictures: tuple[UInt8Array, ...]
    """(height, width, 3) each."""
    labels_HW: UInt8Array | None = None


@dataclass(frozen=True)
class SceneBatch:
    """Crops of scenes."""

    pictures: tuple[Tensor, ...]
    """(batch, 3, crop, crop) float32 in [0, 1] each."""
    labels_BHW: Tensor | None
    """(batch, crop, crop) int64."""

    def to(self, device: torch.device) -> SceneBatch:
        """The same there."""
        moved = tuple(
            picture.to(device, memory_format=torch.channels_last) for picture in self.pictures
        )
        return SceneBatch(moved, None if self.labels_BHW is None else self.labels_BHW.to(device))


def draw_scenes(
    scenes: Sequence[Scene], *, seed: int, step: int, batch_size: int, crop_size: int, label: str,
    augmentations: Sequence[Augmentation] = (), first_index: int = 0,
) -> SceneBatch:  # fmt: skip
    """One batch, a function of (seed, step, sample index, label) alone.

    Every scene is equally likely. Scenes smaller than a crop are extended: pictures by reflection,
    labels by `VOID`.
    """
    drawn = []
    for i in range(batch_size):
        random = numpy_generator(seed, step, Role.CROP, first_index + i, label)
        scene = scenes[int(random.integers(len(scenes)))]
        drawn.append(_draw(scene, crop_size, augmentations, random))
    pictures = tuple(
        torch.from_numpy(np.stack([crops[k] for crops, _ in drawn]).transpose(0, 3, 1, 2).copy())
        for k in range(len(drawn[0][0]))
    )
    maps = [labels for _, labels in drawn if labels is not None]
    labels_BHW = torch.from_numpy(np.stack(maps).astype(np.int64)) if maps else None
    return SceneBatch(pictures, labels_BHW)


Crop = npt.NDArray[np.float32]


def _draw(
    scene: Scene, size: int, augmentations: Sequence[Augmentation], random: np.random.Generator
) -> tuple[list[Crop], UInt8Array | None]:
    # All draws, asked for or not: an augmentation changes nothing but itself.
    factor = SCALES[0] * (SCALES[1] / SCALES[0]) ** random.random()
    flips = random.integers(2, size=3)
    contrast = 1 + random.uniform(-CONTRAST, CONTRAST)
    brightness = random.uniform(-BRIGHTNESS, BRIGHTNESS)
    wanted = round(size / factor) if "scale" in augmentations else size
    height, width = scene.pictures[0].shape[:2]
    top = int(random.integers(max(0, height - wanted) + 1))
    left = int(random.integers(max(0, width - wanted) + 1))
    places = np.minimum((np.arange(size) + 0.5) * wanted // size, wanted - 1).astype(np.int64)

    def cut(pixels: UInt8Array, fill: str) -> UInt8Array:
        part = pixels[top : top + wanted, left : left + wanted]
        missing = [(0, wanted - side) for side in part.shape[:2]]
        if any(after for _, after in missing):
            pads = missing + [(0, 0)] * (part.ndim - 2)
            if fill == "void":
                part = np.pad(part, pads, constant_values=VOID)
            else:
                part = np.pad(part, pads, mode="symmetric")
        if wanted != size:
            part = part[places][:, places]
        if {"mirror", "turn"} & set(augmentations) and flips[0]:
            part = part[:, ::-1]
        if "turn" in augmentations:
            part = part[::-1] if flips[1] else part
            part = part.swapaxes(0, 1) if flips[2] else part
        return part

    crops = [cut(p, "reflect").astype(np.float32) / np.float32(255) for p in scene.pictures]
    if "jitter" in augmentations:
        crops = [
            ((c - 0.5) * contrast + 0.5 + brightness).clip(0, 1).astype(np.float32) for c in crops
        ]
    labels = None if scene.labels_HW is None else cut(scene.labels_HW, "void")
    return crops, labels
