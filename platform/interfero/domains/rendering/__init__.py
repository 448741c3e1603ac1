"""Drawing text pages, charts and program windows: each a function from a generator to an image."""
