"""Files of raw pixels behind a line of JSON: the form in which domains travel to nodes that lack them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from interfero.domains.images import UInt8Array
from interfero.errors import DomainError

T = TypeVar("T")


def described_blocks(
    header: dict[str, Any], arrays: Iterable[UInt8Array]
) -> Iterator[bytes | memoryview]:
    """The bytes of such a file, an array at a time; the same for the same content."""
    yield json.dumps(header, sort_keys=True).encode() + b"\n"
    for values in arrays:
        yield np.ascontiguousarray(values).reshape(-1).data


def read_described(
    path: Path, form: str, kind: str, build: Callable[[dict[str, Any], int], T]
) -> T:
    """What `build` makes of the header and of the offset, in bytes, at which the pixels begin.

    Args:
        path: Of the file.
        form: What its header must name as its `format`.
        kind: What it should hold, for the error.
        build: May raise ValueError, KeyError or TypeError of a header that is not whole.

    Raises:
        DomainError: it is no such file.
    """
    with path.open("rb") as file:
        line = file.readline()
    try:
        header = json.loads(line)
        if header["format"] != form:
            raise ValueError(header["format"])
        return build(header, len(line))
    except (ValueError, KeyError, TypeError) as error:
        raise DomainError(
            f"{path} holds no {kind} ({error!r}): remove it and start again"
        ) from error
