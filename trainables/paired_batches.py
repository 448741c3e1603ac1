"""Batches of crops at one place in several pictures of a scene: image and labels, or before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.engine.restoration.configs import Augmentation
from interfero.randomness import Role, numpy_generator

SCALES = (0.75, 4 / 3)
ZOOMS = (0.5, 2.0)
CONTRAST, BRIGHTNESS = 0.2, 0.1
"""Largest changes by `jitter`: relative, and of the range."""
COLOUR_CONTRAST, COLOUR_BRIGHTNESS, SATURATION, HUE = 0.4, 0.2, 0.4, 0.1
"""Largest changes by `colour`: hue in turns, the others relative, brightness of the range."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


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


@dataclass(frozen=True)
class _Draw:
    """What is drawn for one crop."""

    wanted: int
    """Side of the part of a scene that becomes the crop."""
    top: int
    left: int
    flips: tuple[bool, ...]
    """Left to right, upside down, over the diagonal."""
    contrast: float
    brightness: float
    colours: tuple[float, ...]
    """Contrast, brightness, saturation and hue, in [-1, 1] of their largest changes."""

    @classmethod
    def of(
        cls, shape: tuple[int, ...], size: int, augmentations: Sequence[Augmentation],
        random: np.random.Generator,
    ) -> _Draw:  # fmt: skip
        """All draws, asked for or not: an augmentation changes nothing but itself."""
        share = random.random()
        flips = random.integers(2, size=3)
        contrast = 1 + random.uniform(-CONTRAST, CONTRAST)
        brightness = random.uniform(-BRIGHTNESS, BRIGHTNESS)
        wanted = size
        if "scale" in augmentations:
            wanted = round(size / (SCALES[0] * (SCALES[1] / SCALES[0]) ** share))
        if "zoom" in augmentations:
            # A part that left the picture would teach nothing there.
            room = max(size, min(shape[:2]))
            wanted = min(room, round(size / (ZOOMS[0] * (ZOOMS[1] / ZOOMS[0]) ** share)))
        top, left = (int(random.integers(max(0, side - wanted) + 1)) for side in shape[:2])
        colours = tuple(random.uniform(-1, 1, size=4))
        turned = (bool({"mirror", "turn"} & set(augmentations)), *[("turn" in augmentations)] * 2)
        asked = tuple(bool(a and b) for a, b in zip(turned, flips, strict=True))
        return cls(wanted, top, left, asked, contrast, brightness, colours)


def _draw(
    scene: Scene, size: int, augmentations: Sequence[Augmentation], random: np.random.Generator
) -> tuple[list[Crop], UInt8Array | None]:
    drawn = _Draw.of(scene.pictures[0].shape, size, augmentations, random)
    filtered = "zoom" in augmentations
    crops = [
        _cut(p, size, drawn, filtered=filtered).astype(np.float32) / np.float32(255)
        for p in scene.pictures
    ]
    if "jitter" in augmentations:
        contrast, brightness = drawn.contrast, drawn.brightness
        crops = [
            ((c - 0.5) * contrast + 0.5 + brightness).clip(0, 1).astype(np.float32) for c in crops
        ]
    if "colour" in augmentations:
        crops = [recoloured(c, drawn.colours) for c in crops]
    labels = None if scene.labels_HW is None else _cut(scene.labels_HW, size, drawn)
    return crops, labels


def _cut(pixels: UInt8Array, size: int, drawn: _Draw, *, filtered: bool = False) -> UInt8Array:
    """A picture's or a label map's part, (size, size, ...)."""
    wanted = drawn.wanted
    part = pixels[drawn.top : drawn.top + wanted, drawn.left : drawn.left + wanted]
    missing = [(0, wanted - side) for side in part.shape[:2]]
    if any(after for _, after in missing):
        if part.ndim == 2:
            part = np.pad(part, missing, constant_values=VOID)
        else:
            part = np.pad(part, [*missing, (0, 0)], mode="symmetric")
    if wanted != size and filtered:
        image = Image.fromarray(np.ascontiguousarray(part))
        part = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    elif wanted != size:
        places = np.minimum((np.arange(size) + 0.5) * wanted // size, wanted - 1).astype(np.int64)
        part = part[places][:, places]
    mirror, upside_down, diagonal = drawn.flips
    part = part[:, ::-1] if mirror else part
    part = part[::-1] if upside_down else part
    return part.swapaxes(0, 1) if diagonal else part


def recoloured(picture: Crop, drawn: Sequence[float]) -> Crop:
    """Contrast, brightness, saturation and hue changed, in this order.

    Args:
        picture: (height, width, 3) in [0, 1].
        drawn: How much of their largest changes, each in [-1, 1].
    """
    contrast, brightness, saturation, hue = drawn
    picture = (picture - 0.5) * np.float32(1 + COLOUR_CONTRAST * contrast) + np.float32(
        0.5 + COLOUR_BRIGHTNESS * brightness
    )
    # Turning colours around the grey axis keeps grey grey, and costs one product per pixel.
    angle = 2 * np.pi * HUE * hue
    cosine, sine = np.cos(angle), np.sin(angle) / np.sqrt(3)
    turn = (1 - cosine) / 3 + cosine * np.eye(3)
    turn += sine * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    change: Crop = np.eye(3, dtype=np.float32) * np.float32(1 + SATURATION * saturation)
    change += np.outer(np.ones(3, np.float32), _LUMA) * np.float32(-SATURATION * saturation)
    whole = (turn.astype(np.float32) @ change).T
    changed: Crop = (picture @ whole).clip(0, 1)
    return changed
