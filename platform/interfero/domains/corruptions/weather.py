"""Weather: snow, frost on the lens, fog, and bright light."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interfero.domains.corruptions.blur import streaked, zoomed

FloatArray = npt.NDArray[np.float64]

_LUMA = (0.299, 0.587, 0.114)
_ICE = (0.92, 1.0, 1.06)
"""Red, green and blue of frost over its mean: it is bluish."""
_ICE_MEANS, _ICE_DEVIATION = (0.48, 0.81), 0.11
"""Of the published photographs of frost: means from 123 to 207, deviations about 28, of 255."""


def snow(
    x_HWC: FloatArray,
    setting: tuple[float, float, float, float, int, float, float],
    random: np.random.Generator,
) -> FloatArray:
    """Flakes that fall at an angle, twice over each other, before a scene that is whiter than it was.

    `setting` is the mean and deviation of the noise that flakes are cut from, how much they are enlarged,
    the level above which there is one, radius and sigma of their fall, and the scene's own share.
    """
    mean, deviation, factor, level, radius, sigma, own = setting
    flakes = zoomed(random.normal(mean, deviation, x_HWC.shape[:2])[..., None], factor)
    flakes = np.where(flakes < level, 0, flakes).clip(0, 1)
    flakes = streaked(flakes, radius, sigma, random.uniform(-135, -45))
    grey = (x_HWC @ np.array(_LUMA))[..., None]
    whiter = own * x_HWC + (1 - own) * np.maximum(x_HWC, grey * 1.5 + 0.5)
    return np.asarray(whiter + flakes + flakes[::-1, ::-1])


def frost(
    x_HWC: FloatArray, setting: tuple[float, float], random: np.random.Generator
) -> FloatArray:
    """Ice over a scene; `setting` is the weight of the scene and that of the ice.

    The published corruption lays parts of photographs over a scene. They cannot come along, so the ice is
    drawn, as bright as theirs: needles in four directions that cross on a cloud. Weights are the
    published ones.
    """
    height, width = x_HWC.shape[:2]
    texture = plasma(max(height, width), 1.7, random)[:height, :width, None]
    for degrees in random.uniform(0, 360, 4):
        seeds = (random.random((height, width, 1)) > 0.985).astype(float)
        needles = streaked(seeds, 14, 8, degrees)
        texture = np.maximum(texture, needles / max(float(needles.max()), 1e-9))
    texture = (texture - texture.mean()) / texture.std()
    ice = (random.uniform(*_ICE_MEANS) + _ICE_DEVIATION * texture) * np.array(_ICE)
    scene, layer = setting
    return np.asarray(scene * x_HWC + layer * ice.clip(0, 1))


def fog(x_HWC: FloatArray, setting: tuple[float, float], random: np.random.Generator) -> FloatArray:
    """A cloud before the scene; `setting` is its density and how fast its detail fades."""
    density, decay = setting
    height, width = x_HWC.shape[:2]
    cloud = plasma(max(height, width), decay, random)[:height, :width, None]
    brightest = x_HWC.max()
    return np.asarray((x_HWC + density * cloud) * brightest / (brightest + density))


def brightness(x_HWC: FloatArray, more: float, random: np.random.Generator) -> FloatArray:
    """So much is added to the value of HSV; hue and saturation stay."""
    value = x_HWC.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1)
    # Black has no hue.
    ratio = np.divide(brighter, value, where=value > 0, out=np.ones_like(value))
    return np.where(value > 0, x_HWC * ratio, brighter)


def plasma(side: int, decay: float, random: np.random.Generator) -> FloatArray:
    """A cloud from 0 to 1 by midpoint displacement on a torus (diamond-square).

    Args:
        side: In pixels; the next power of two is drawn.
        decay: The displacement of each scale is the square of this smaller than that of the one before.
        random: Draws the displacements.
    """
    heights, reach = np.zeros((1, 1)), 1.0

    def displaced(corners: FloatArray) -> FloatArray:
        return corners / 4 + random.uniform(-reach, reach, corners.shape)

    while len(heights) < side:
        right, below = np.roll(heights, -1, axis=1), np.roll(heights, -1, axis=0)
        centres = displaced(heights + right + below + np.roll(below, -1, axis=1))
        tops = displaced(heights + right + centres + np.roll(centres, 1, axis=0))
        sides = displaced(heights + below + centres + np.roll(centres, 1, axis=1))
        finer = np.empty((2 * len(heights), 2 * len(heights)))
        finer[::2, ::2], finer[1::2, 1::2] = heights, centres
        finer[::2, 1::2], finer[1::2, ::2] = tops, sides
        heights, reach = finer, reach / decay**2
    heights -= heights.min()
    return np.asarray(heights / heights.max())
