"""How many decoded images a sweep may hold in memory."""

from __future__ import annotations

from pathlib import Path

import psutil

GIB = 2**30
MEMORY_SHARE = 1 / 8
"""Of the machine's memory: the driver and Ray's object store each hold the images once."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class MemoryBudget:
    """Bytes that decoded images may take; every domain that is loaded takes from it."""

    def __init__(self, num_bytes: int | None = None) -> None:
        """Start with so many bytes; by default `MEMORY_SHARE` of what the machine has."""
        self.left = int(machine_memory() * MEMORY_SHARE) if num_bytes is None else num_bytes

    def has(self, num_bytes: int) -> bool:
        """Whether so much is left."""
        return num_bytes <= self.left

    def take(self, num_bytes: int) -> None:
        """Use up so much."""
        self.left -= num_bytes


def machine_memory() -> int:
    """Memory in bytes that this machine, or the container it runs in, has."""
    memory: int = psutil.virtual_memory().total
    for path in map(Path, _LIMITS):
        text = path.read_text().strip() if path.exists() else ""
        if text.isdigit():
            memory = min(memory, int(text))
    return memory
