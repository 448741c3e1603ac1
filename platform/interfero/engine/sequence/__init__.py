"""Sequences of domains: a plan in which a codec meets one domain after another."""
