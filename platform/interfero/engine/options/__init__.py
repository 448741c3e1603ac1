"""Options of sweeps on the command line: groups, rules and parsing."""
