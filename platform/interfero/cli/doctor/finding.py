"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One precondition of a sweep, and whether it holds."""

    name: str
    found: str
    """What is there."""
    remedy: str = ""
    """What to do about it; empty where the precondition holds."""

    @property
    def ok(self) -> bool:
        """Whether the precondition holds."""
        return not self.remedy
