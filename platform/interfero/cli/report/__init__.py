"""The report of sweeps that ended."""
