"""How far apart two sets of numbers are: histograms in bits, Gaussians in standard deviations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def jensen_shannon_bits(counts_a: FloatArray, counts_b: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence of histograms, in bits: 0 is equal, 1 is disjoint.

    Args:
        counts_a: (..., bins), not negative; the last axis is one histogram.
        counts_b: The same shape.

    Returns:
        (...) one divergence a histogram.

    Raises:
        ValueError: shapes differ, or a histogram is empty.
    """
    if counts_a.shape != counts_b.shape:
        raise ValueError(f"histograms differ in shape: {counts_a.shape} and {counts_b.shape}")
    totals = counts_a.sum(axis=-1, keepdims=True), counts_b.sum(axis=-1, keepdims=True)
    if not all((total > 0).all() for total in totals):
        raise ValueError("a histogram without counts has no divergence")
    a, b = counts_a / totals[0], counts_b / totals[1]
    mixed = (a + b) / 2
    divergence = _entropy_bits(mixed) - (_entropy_bits(a) + _entropy_bits(b)) / 2
    # Rounding takes equal histograms a little below zero.
    return np.maximum(divergence, 0.0)


def frechet_distance(
    mean_a: FloatArray, covariance_a: FloatArray, mean_b: FloatArray, covariance_b: FloatArray
) -> float:
    """Frechet distance of two Gaussians (Dowson and Landau, 1982), in the unit of the features.

    `d^2 = |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^(1/2) C_b C_a^(1/2))^(1/2))`, which needs no
    inverse: flat images, whose covariance is singular, have a distance too.

    Args:
        mean_a: (features,)
        covariance_a: (features, features), symmetric, no negative eigenvalue.
        mean_b: (features,)
        covariance_b: (features, features)

    Raises:
        ValueError: shapes differ.
    """
    if mean_a.shape != mean_b.shape or covariance_a.shape != covariance_b.shape:
        raise ValueError(f"features differ in shape: {mean_a.shape} and {mean_b.shape}")
    root = _square_root(covariance_a)
    cross = float(np.trace(_square_root(root @ covariance_b @ root)))
    spread = float(np.trace(covariance_a) + np.trace(covariance_b)) - 2 * cross
    shift = float(((mean_a - mean_b) ** 2).sum())
    return float(np.sqrt(max(0.0, shift + spread)))


def _entropy_bits(shares: FloatArray) -> FloatArray:
    logs = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-(shares * logs).sum(axis=-1))


def _square_root(matrix: FloatArray) -> FloatArray:
    """Square root of a symmetric matrix that has no negative eigenvalues except for rounding."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
