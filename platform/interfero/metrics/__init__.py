"""Metrics as pure functions: rate, distortion, forgetting."""
