"""Letting a module answer something else for the time of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def answering(module: nn.Module, answer: Callable[..., Tensor]) -> Iterator[None]:
    """Replace what a module computes until the context ends; its parameters stay as they are."""
    module.forward = answer
    try:
        yield
    finally:
        del module.forward
