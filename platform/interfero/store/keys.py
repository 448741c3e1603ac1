"""Names made of content: equal things have one name, and another name means another thing.

Keys are on disk in every storage. What is hashed here, and how it is written down before, therefore
never changes: a new field belongs into the identity that a caller hands in.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

CELL_DIGITS = 16
"""Hexadecimal digits of the key of a cell or of a step."""
ENTRY_DIGITS = 32
"""Hexadecimal digits of the address of a file, and of the key of a measurement."""


def content_key(identity: Any, digits: int = CELL_DIGITS) -> str:
    """The key of what a JSON value describes.

    Args:
        identity: Everything that decides a result: an object, list or plain value of JSON, or an infinite
            number. The order of an object's fields does not matter.
        digits: Length of the key.

    Raises:
        TypeError: it is not JSON.
    """
    return text_key(json.dumps(identity, sort_keys=True), digits=digits)


def text_key(*parts: str, digits: int = ENTRY_DIGITS) -> str:
    """The key of some texts, in order; a text that has NUL in it would be taken for two."""
    return bytes_key("\0".join(parts).encode(), digits)


def bytes_key(data: bytes | memoryview, digits: int = ENTRY_DIGITS) -> str:
    """The key of some bytes."""
    digest = new_digest(digits)
    digest.update(data)
    return digest.hexdigest()


def new_digest(digits: int = ENTRY_DIGITS) -> hashlib.blake2b:
    """For content that comes piece by piece; its `hexdigest()` is the key."""
    return hashlib.blake2b(digest_size=digits // 2)
