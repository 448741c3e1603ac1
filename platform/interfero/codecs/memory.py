"""Keeps freed memory for the next tensor of the same size, where the C library can be told to."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from glibc's malloc.h."""
LARGEST_KEPT_BYTES = 32 << 20
"""Size above which freed memory returns to the system at once: tensors of images over a megapixel."""
KEPT_BYTES = 256 << 20


@cache
def keep_freed_memory() -> None:
    """Keep up to `KEPT_BYTES` of freed memory in this process; elsewhere than with glibc, do nothing.

    By default the activations of each image go back to the system and are fetched again, zeroed and
    page by page, for the next: 10,000 page faults and more a transform of a small photograph, a fifth
    of its time. Numbers do not change.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
