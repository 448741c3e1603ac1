"""Sequences of domains: a codec that meets one after another, as a plan of nodes."""
