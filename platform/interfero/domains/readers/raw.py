"""What every reader gives: images as the numbers that a file holds, and which axis is which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from interfero.domains.pixel_mapping import PixelMapping
from interfero.errors import DomainError

LEFT_OUT = "further slice, frame or region left out (frames=N takes more)"
SCALED = "file that states a scale or offset, which is not applied: values are as stored"
MAX_BANDS = 32
"""An axis that nobody named and that is longer holds no bands."""


@dataclass(frozen=True)
class RawImage:
    """One image of a file, before its values are mapped."""

    values_HWB: npt.NDArray[Any]
    """(height, width, bands) of any numbers, upright: as a viewer of its field shows it."""
    place: str = ""
    """Which slice, frame or region of its file it is; empty where there is one."""
    missing_HW: npt.NDArray[np.bool_] | None = None
    """Pixels without a value."""
    low_is_white: bool = False
    """Whether the smallest value is shown white."""
    group: str | None = None
    """What splits keep whole, if the file knows better than its name: a patient."""
    orientation: int = 1
    """As the file states it, by EXIF's numbers; the values are upright."""


def turned(values_HWB: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Upright, by EXIF orientation: 5 to 8 are 2, 3, 4 and 1 behind a transposition, in their own order."""
    if orientation >= 5:
        values_HWB = values_HWB.transpose(1, 0, 2)
    rows = orientation in (3, 4, 7, 8)
    columns = orientation in (2, 3, 6, 7)
    return values_HWB[:: -1 if rows else 1, :: -1 if columns else 1]


def equal_to(
    values_HWB: npt.NDArray[Any], nodata: float | None, bands: tuple[int, ...] = ()
) -> npt.NDArray[np.bool_] | None:
    """(height, width) pixels that hold the value for "no value" in all of these bands; None for none.

    Args:
        values_HWB: The image.
        nodata: That value; None where the file states none.
        bands: Those that count, from 1; empty for all, and those that are not there count for nothing.
    """
    if nodata is None:
        return None
    there = [b - 1 for b in bands if b <= values_HWB.shape[2]]
    without: npt.NDArray[np.bool_] = (
        (values_HWB[:, :, there] if there else values_HWB) == nodata
    ).all(axis=2)
    return without if without.any() else None


def taken(total: int, mapping: PixelMapping, counts: Counter[str]) -> list[int]:
    """Which of a file's frames are taken: the middles of equal parts; those left out are counted."""
    count = min(total, mapping.num_frames)
    if total > count:
        counts[LEFT_OUT] += total - count
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def images_of(
    array: Any, axes: str, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """The images of an array whose axes are known, a few of them if it holds many.

    Args:
        array: Anything with a shape that NumPy can slice: in memory, mapped, or chunked.
        axes: A letter an axis: Y, X, C (bands) and others, over which images follow each other.
        label: The file's name, for errors.
        mapping: How many frames are taken.
        counts: Told of frames that are left out.
    """
    if len(axes) != len(array.shape):
        raise DomainError(
            f"{label} has the shape {tuple(array.shape)}, axes={axes} names {len(axes)} axes: write a "
            "letter for each, such as NYXC"
        )
    others = [i for i, axis in enumerate(axes) if axis not in "YXC"]
    places = list(product(*(range(array.shape[i]) for i in others)))
    kept = [axis for axis in axes if axis in "YXC"]
    order = [kept.index(axis) for axis in "YXC" if axis in kept]
    for chosen in taken(len(places), mapping, counts):
        at: list[Any] = [slice(None)] * len(axes)
        for axis, index in zip(others, places[chosen], strict=True):
            at[axis] = index
        values = np.transpose(np.asarray(array[tuple(at)]), order)
        place = ".".join(map(str, places[chosen])) if len(places) > 1 else ""
        yield RawImage(values if "C" in kept else values[:, :, None], place)


def guessed_axes(
    shape: tuple[int, ...], label: str, mapping: PixelMapping, counts: Counter[str]
) -> str:
    """Which axis of an array is which: as declared, else told by the sizes, with a line.

    Raises:
        DomainError: the sizes do not tell.
    """
    if mapping.axes:
        return mapping.axes
    if len(shape) == 2:
        return "YX"
    last, first = shape[-1] <= MAX_BANDS, shape[-3:][0] <= MAX_BANDS
    guess = {(True, False): "YXC", (False, True): "CYX"}.get((last, first))
    if len(shape) not in (3, 4) or guess is None:
        raise DomainError(
            f"{label} has the shape {shape}, which does not say what its axes are: declare it, such as "
            f"axes={'NYX' if len(shape) == 3 else 'NYXC'} (Y, X, C for bands, N for images)"
        )
    axes = guess if len(shape) == 3 else f"N{guess}"
    counts[f"array whose axes are taken for {axes} by their sizes (axes=... says otherwise)"] += 1
    return axes


def named_array(names: list[str], label: str, mapping: PixelMapping, what: str = "array") -> str:
    """The name of the array that is meant, of a file that may hold several.

    Raises:
        DomainError: there is none of the declared name, or several and none is declared.
    """
    if mapping.array:
        if mapping.array not in names:
            raise DomainError(
                f"{label} holds no {what} {mapping.array!r}, it has {', '.join(names) or 'none'}"
            )
        return mapping.array
    if len(names) != 1:
        raise DomainError(
            f"{label} holds {len(names)} {what}s ({', '.join(names[:8])}): say which is the picture with "
            f"array={names[0] if names else 'NAME'}"
        )
    return names[0]
