"""Candidate laws: how forgetting or gain may depend on images, steps, parameters, lambda and distance.

In every law, `A` is an amplitude, one a domain unless the law has a domain distance among its axes, and
`u = log(x / reference)`, where the reference is the geometric mean of an axis.

    constant        A                                       the null model
    logarithmic     A + sum b_i u_i
    power           A * exp(sum b_i u_i)                    that is A * prod (x_i / reference_i)^b_i
    shifted_power   c + A * exp(sum b_i u_i)                arXiv:2401.05605 (forgetting), arXiv:2502.06042
    saturating      A / (1 + exp(k - u_1)) * exp(sum b_i u_i), i > 1: A x / (x + K), a gain that levels off
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_EXPONENT = 6.0
"""Larger exponents than any such law has had; the bound keeps a fit of noise finite."""


@dataclass(frozen=True)
class Design:
    """Where a law is evaluated."""

    u: FloatArray
    """(points, axes of the law): log of the axes over their references."""
    z: FloatArray
    """(points, amplitudes): which amplitude a point has."""

    def rows(self, keep: npt.NDArray[np.bool_]) -> Design:
        """Some of the points."""
        return Design(self.u[keep], self.z[keep])


@dataclass(frozen=True)
class Law(ABC):
    """A form over given axes; its parameters are the amplitudes, then those of the shape."""

    axes: tuple[str, ...] = ()
    name: ClassVar[str]

    @property
    @abstractmethod
    def shape_names(self) -> tuple[str, ...]:
        """Parameters after the amplitudes: exponents carry their axis."""

    @abstractmethod
    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """`values`, and (points, parameters) their derivatives: what they have in common is computed once."""

    def values(self, params: FloatArray, design: Design) -> FloatArray:
        """(points,) predicted percent."""
        return self.both(params, design)[0]

    @abstractmethod
    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """Where a fit may begin."""

    def bounds(self, num_amplitudes: int, design: Design) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest parameters."""
        high = [np.inf] * num_amplitudes + [self._bound(n, design) for n in self.shape_names]
        return -np.array(high), np.array(high)

    def _bound(self, name: str, design: Design) -> float:
        if name == "log_half":
            return float(np.abs(design.u[:, 0]).max()) + 4
        return MAX_EXPONENT if name.startswith("exponent") else np.inf


@dataclass(frozen=True)
class Constant(Law):
    """The null model: nothing but the domain matters."""

    name: ClassVar[str] = "constant"

    @property
    def shape_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """The amplitudes; the design has the derivatives."""
        return np.asarray(design.z @ params), design.z

    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """Least squares."""
        return [_solve(design.z, y)]


@dataclass(frozen=True)
class Logarithmic(Law):
    """Linear in the logarithms."""

    name: ClassVar[str] = "logarithmic"

    @property
    def shape_names(self) -> tuple[str, ...]:
        """A slope an axis, in percent per e-fold."""
        return tuple(f"slope:{axis}" for axis in self.axes)

    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """`A + sum b_i u_i`; the design and the axes have the derivatives."""
        matrix = _columns(design.z, design.u)
        return np.asarray(matrix @ params), matrix

    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """Least squares."""
        return [_solve(_columns(design.z, design.u), y)]


@dataclass(frozen=True)
class Power(Law):
    """A product of powers."""

    name: ClassVar[str] = "power"

    @property
    def shape_names(self) -> tuple[str, ...]:
        """An exponent an axis."""
        return tuple(f"exponent:{axis}" for axis in self.axes)

    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """`A exp(sum b_i u_i)`; by amplitudes, then by exponents."""
        count = design.z.shape[1]
        growth = _exp(design.u @ params[count:])
        values = np.asarray((design.z @ params[:count]) * growth)
        return values, _columns(design.z * growth[:, None], values[:, None] * design.u)

    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """A straight line through logarithms if there are any, and a nearly constant one."""
        flat = np.append(_solve(design.z, y), np.full(design.u.shape[1], 0.1))
        return [s for s in (_log_start(y, design), flat) if s is not None]


@dataclass(frozen=True)
class ShiftedPower(Law):
    """A product of powers, and what is lost or won whatever the axes are."""

    name: ClassVar[str] = "shifted_power"

    @property
    def shape_names(self) -> tuple[str, ...]:
        """The exponents, then the shift in percent."""
        return (*(f"exponent:{axis}" for axis in self.axes), "shift")

    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """`c + A exp(sum b_i u_i)`; by amplitudes, exponents, shift."""
        values, inner = Power(self.axes).both(params[:-1], design)
        return np.asarray(params[-1] + values), _columns(inner, np.ones((len(inner), 1)))

    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """Growing from a floor, and falling from or rising to a level."""
        room = 0.3 * float(np.ptp(y)) + 1e-9
        found = []
        for shift, sign in ((float(y.min()) - room, 1), (float(y.max()) + room, -1)):
            start = _log_start(sign * (y - shift), design)
            if start is not None:
                start[: design.z.shape[1]] *= sign
                found.append(np.append(start, shift))
        return found


@dataclass(frozen=True)
class Saturating(Law):
    """Levels off along its first axis; powers of the others."""

    name: ClassVar[str] = "saturating"

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Log of where half is reached, over the reference; then the other axes' exponents."""
        return ("log_half", *(f"exponent:{axis}" for axis in self.axes[1:]))

    def both(self, params: FloatArray, design: Design) -> tuple[FloatArray, FloatArray]:
        """`A x / (x + K)` times powers; by amplitudes, half point, exponents."""
        count = design.z.shape[1]
        amplitudes, half, others = params[:count], params[count], params[count + 1 :]
        growth = _exp(design.u[:, 1:] @ others)
        inner, share = (design.z @ amplitudes) * growth, 1 / (1 + _exp(half - design.u[:, 0]))
        by_amplitude = design.z * (share * growth)[:, None]
        by_half = (-inner * share * (1 - share))[:, None]
        values = np.asarray(inner * share)
        return values, _columns(by_amplitude, by_half, values[:, None] * design.u[:, 1:])

    def starts(self, y: FloatArray, design: Design) -> list[FloatArray]:
        """Half of it reached at the reference, or long before."""
        zeros = np.zeros(design.u.shape[1] - 1)
        level = _solve(design.z, y)
        return [np.concatenate([scale * level, [half], zeros]) for scale, half in ((2, 0), (1, -3))]


def _exp(values: FloatArray) -> FloatArray:
    """Finite wherever a fit may wander: no law of percent reaches either end."""
    # Not by `clip`, which takes longer than the powers.
    return np.asarray(np.exp(np.minimum(np.maximum(values, -50), 50)))


def _columns(*parts: FloatArray) -> FloatArray:
    return np.concatenate(parts, axis=1)


def _solve(matrix: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(matrix, y, rcond=None)[0])


def _log_start(y: FloatArray, design: Design) -> FloatArray | None:
    """Power law through the logarithms of `y`; None where it has none."""
    sign = 1 if y.sum() > 0 else -1
    if not (sign * y > 0).all():
        return None
    found = _solve(np.column_stack([design.z, design.u]), np.log(sign * y))
    count = design.z.shape[1]
    found[:count] = sign * np.exp(found[:count])
    found[count:] = found[count:].clip(-MAX_EXPONENT / 2, MAX_EXPONENT / 2)
    return found


def candidates(axes: tuple[str, ...], saturates: tuple[str, ...]) -> list[Law]:
    """The null model first, then each axis alone, then all together.

    Args:
        axes: Axes that vary.
        saturates: Axes along which a response may level off.
    """
    found: list[Law] = [Constant()]
    if len(axes) > 1:
        found += [Power((axis,)) for axis in axes]
    if axes:
        found += [Logarithmic(axes), Power(axes), ShiftedPower(axes)]
        for first in axes:
            if first in saturates:
                found.append(Saturating((first, *(a for a in axes if a != first))))
    return found


def with_distance(law: Law, distance: str) -> Law:
    """The same form with a domain distance among its axes, in place of the domains' amplitudes."""
    return Power((distance,)) if isinstance(law, Constant) else type(law)((*law.axes, distance))
