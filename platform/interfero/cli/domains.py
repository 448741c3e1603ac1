"""`interfero domains`."""

from __future__ import annotations

import tyro
from rich.console import Console
from rich.table import Table


def domains(specs: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """List the bundled domains, or describe those given.

    Args:
        specs: NAME, or NAME=PATH for a folder of images or a Parquet file.
    """
    from interfero.domains.bundled import BUNDLED
    from interfero.domains.catalogue import load_domain

    table = Table("domain", "train", "test", "unit", "hash", "notes")
    for spec in specs or tuple(BUNDLED):
        domain = load_domain(spec)
        table.add_row(
            domain.name,
            str(len(domain.train)),
            str(len(domain.test)),
            domain.unit,
            domain.fingerprint[:12],
            "; ".join(domain.notes),
        )
    Console().print(table)
