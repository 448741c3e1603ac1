"""Learning from compressed images: its steps, their graph, and the sweep that runs it."""
