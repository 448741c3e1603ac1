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
    from interfero.errors import DomainError

    table = Table("domain", "train", "test", "unit", "hash", "notes")
    problems: list[str] = []
    for spec in specs or tuple(BUNDLED):
        try:
            domain = load_domain(spec)
        except DomainError as error:
            problems.append(str(error))
            continue
        table.add_row(
            domain.name,
            str(len(domain.train)),
            str(len(domain.test)),
            domain.unit,
            domain.fingerprint[:12],
            "; ".join(domain.notes),
        )
    if table.row_count:
        Console().print(table)
    if problems:
        raise DomainError("\n".join(problems))
