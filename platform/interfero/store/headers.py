"""What a safetensors file of this project says of itself, read without its tensors or their libraries."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

_MAX_BYTES = 2**24


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of such a file; empty for any other one, and for one that cannot be read."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(size, _MAX_BYTES)))
        metadata = json.loads(header["__metadata__"]["interfero"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return {}
    return metadata if isinstance(metadata, dict) else {}
