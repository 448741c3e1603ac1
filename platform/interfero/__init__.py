"""interfero."""
