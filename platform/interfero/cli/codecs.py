"""`interfero codecs`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table


def codecs() -> None:
    """List the source codecs that come with the project."""
    from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec

    name_column = Column("codec", overflow="fold")
    table = Table(name_column, "lambda", "N", "M", "parameters", "weights", "tables")
    for name in bundled_names():
        for value in available_lambdas(name):
            codec = load_codec(name, value)
            table.add_row(
                name,
                f"{value:g}",
                str(codec.shape.num_channels),
                str(codec.shape.num_latents),
                f"{codec.num_params:,}",
                codec.weights_hash[:12],
                codec.table_hash[:12],
            )
    Console().print(table)
