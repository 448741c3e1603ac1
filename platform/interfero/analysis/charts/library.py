"""The JavaScript that draws specifications in a page: it comes with vl-convert, and from no network."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import vl_convert

from interfero.errors import StorageError
from interfero.store.files import write_atomic


def vega_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of some 900 kB.

    Bundling it takes seconds, so it is kept in the user's cache, by version.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = root / "interfero" / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    # Its stubs ask for a snippet, which there need not be.
    text: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    with suppress(StorageError):  # A home that cannot be written costs the seconds again.
        write_atomic(path, text.encode())
    return text
