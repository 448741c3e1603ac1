"""What the cells of a map say, as Markdown: sentences, a row a claim, a domain and method, a setting.

    python tools/print_map.py [CELLS]

reads a `cells.parquet`, by default the one that comes with the project. docs/interference_map.md is made of
what this prints.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from interfero.analysis.answers import INTERFERENCE_MAP, Findings
from interfero.analysis.capacity_table import capacity_rows
from interfero.analysis.claims import claim_rows
from interfero.analysis.comparison import domain_rows
from interfero.analysis.records import read_records
from interfero.analysis.sentences import summary_lines
from interfero.cli.predict.answer import MAP_FILE
from interfero.errors import InterferoError


def markdown(path: Path) -> Iterator[str]:
    """Line by line.

    Raises:
        StorageError: the file cannot be read.
    """
    records = read_records(path)
    found = Findings(records)
    counts = Counter((r.params["method"], r.params["learning_rate"]) for r in records)
    parts = [f"{method} at {rate:g}: {n}" for (method, rate), n in sorted(counts.items())]
    yield f"{len(records)} cells by method and learning rate: {', '.join(parts)}."
    yield ""
    for line in [*INTERFERENCE_MAP.sentences(found), *summary_lines(records)]:
        yield f"- {line}"
    for header, rows in (
        claim_rows(records),
        domain_rows(found.records),
        capacity_rows(records, in_db=True),
    ):
        yield ""
        for cells in (header, ["---"] * len(header), *rows):
            yield f"| {' | '.join(cell.replace(chr(10), ' ') for cell in cells)} |"


def main() -> None:
    """Print."""
    try:
        for line in markdown(Path(sys.argv[1]) if len(sys.argv) > 1 else MAP_FILE):
            sys.stdout.write(f"{line}\n")
    except InterferoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
