"""Texts without passwords and tokens: what is shown, logged, tracked or written to a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_QUERY = re.compile(r"([?&;][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*=)[^&\s]+", re.I)
_SECRET_NAME = re.compile(r"pass|pwd|token|secret|key|credential", re.I)
_PASSWORD = re.compile(r"://[^/\s:@]*:(\S+)@")
SHORTEST = 6
"""Shorter values of the environment also stand in texts that are no secret."""


def masked(text: str, uri: str = "") -> str:
    """A text without the user, password and tokens of the addresses in it.

    Args:
        text: An address, or a message that may quote one.
        uri: The address whose credentials must not show, whatever characters they contain.
    """
    scheme, _, rest = uri.partition("://")
    credentials, at, _ = rest.rpartition("@")
    if at and not scheme.startswith("sqlite"):
        text = text.replace(credentials + at, "***@")
        password = credentials.partition(":")[2]
        text = text.replace(password, "***") if password else text
    return _SECRET_QUERY.sub(r"\1***", _USER_INFO.sub("***@", text))


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text without credentials of addresses, and without the secrets that the environment holds.

    Args:
        text: A command line or a message that may quote one.
        environment: Whose secrets must not show; None is this process's.
    """
    values = _secrets(os.environ if environment is None else environment)
    # The longest first: one secret may be the start of another.
    for value in sorted(set(values), key=len, reverse=True):
        text = text.replace(value, "***")
    return masked(text)


def masked_inside(value: Any) -> Any:
    """`masked` of every text in JSON data; the same in every environment, so that it compares."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_inside(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_inside(item) for item in value]
    return value


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        # A path (RAY_AUTH_TOKEN_PATH, say) says where a secret is, not what it is.
        if _SECRET_NAME.search(name) and len(value) >= SHORTEST and not value.startswith("/"):
            yield value
        yield from (found for found in _PASSWORD.findall(value) if len(found) >= SHORTEST)
