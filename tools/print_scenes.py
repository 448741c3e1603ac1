"""What the cells of restoration sweeps say, as Markdown: the paper's claims, scores, and differences.

    python tools/print_scenes.py CELLS [CELLS ...]

CELLS are `cells.parquet` files, or report folders, of sweeps that share domains, codecs and models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from interfero.analysis.capacity_table import markdown
from interfero.analysis.restoration.claims import claim_rows
from interfero.analysis.restoration.losses import summarise, summary_markdown
from interfero.analysis.restoration.tables import read_restoration_records
from interfero.errors import InterferoError


def scenes(paths: Sequence[Path]) -> Iterator[str]:
    """Part by part.

    Raises:
        StorageError: a file cannot be read.
    """
    files = [path / "cells.parquet" if path.is_dir() else path for path in paths]
    records = {r.key: r for file in files for r in read_restoration_records(file)}
    summary = summarise(list(records.values()))
    yield markdown(*claim_rows(summary))
    yield summary_markdown(summary)


def main() -> None:
    """Print."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        sys.stdout.write("\n\n".join(scenes([Path(name) for name in sys.argv[1:]])) + "\n")
    except InterferoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
