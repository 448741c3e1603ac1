"""Sequences of domains: matrices, measures with intervals, comparisons, the archive, routing, laws."""
