"""The plan of cells, the Worker protocol and the Ray driver; only this package imports Ray."""
