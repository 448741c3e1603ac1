"""Adaptation sweeps: their nodes, their plan, how cells are packed, searched and priced."""
