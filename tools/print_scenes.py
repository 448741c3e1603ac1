"""What the cells of restoration sweeps say, as Markdown: the paper's claims, scores by rate, and differences.

    python tools/print_scenes.py CELLS [CELLS ...]

CELLS are `cells.parquet` files, or report folders, of sweeps that share domains, codecs and models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from interfero.analysis.capacity_table import markdown
from interfero.analysis.restoration.claims import claim_rows
from interfero.analysis.restoration.losses import Score, Summary, summarise, summary_markdown
from interfero.analysis.restoration.tables import read_restoration_records
from interfero.errors import InterferoError

ORDER = ("OO", "CC", "CO", "OC", "OT", "RO", "RR", "MO", "AO", "AC", "FC", "FO")
"""Of configurations, from left to right."""


def scenes(paths: Sequence[Path]) -> Iterator[str]:
    """Part by part.

    Raises:
        StorageError: a file cannot be read.
    """
    files = [path / "cells.parquet" if path.is_dir() else path for path in paths]
    records = {r.key: r for file in files for r in read_restoration_records(file)}
    summary = summarise(list(records.values()))
    yield markdown(*claim_rows(summary))
    yield markdown(*score_rows(summary))
    yield summary_markdown(summary)


def score_rows(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Mean scores over seeds: a row for each domain, codec and rate, a column for each configuration."""
    lines = sorted(
        (s.line for s in summary.scores), key=lambda n: (ORDER.index(n.configuration), n)
    )
    labels = list(dict.fromkeys(line.label for line in lines))
    rows: dict[tuple[str, str, str], dict[str, Score]] = {}
    for score in sorted(summary.scores, key=lambda s: s.line):
        line = score.line
        rows.setdefault((line.domain, line.codec, line.rate_text), {})[line.label] = score
    table = []
    for place, own in rows.items():
        reached = [own[n].bpp for n in labels if n in own]
        bpp = next((f"{rate:.3f}" for rate in reached if rate is not None), "")
        scores = [f"{own[label].mean:.3f}" if label in own else "" for label in labels]
        table.append([*place, bpp, *scores])
    return ["domain", "codec", "bpp asked", "reached", *labels], table


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
