"""Restoration sweeps: their nodes, their plan, and how rates are matched."""
