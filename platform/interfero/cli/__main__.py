"""`python -m interfero.cli`."""

from interfero.cli.main import main

main()
