"""Readers of the files that fields keep their images in: one file a format, imported when it is met."""
