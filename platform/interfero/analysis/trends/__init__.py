"""Gain and forgetting along one axis, and over domain distance."""
