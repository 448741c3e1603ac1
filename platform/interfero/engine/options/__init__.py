"""What sweeps take on their command line: options by group, their rules, and how they are parsed."""
