"""`interfero predict`."""

from __future__ import annotations

import sys
from pathlib import Path

from interfero.adaptation.table import METHOD_TABLE
from interfero.cli.options import Lambda, table_of
from interfero.domains.names import check_domain, spec_of
from interfero.errors import ConfigError, nearest
from interfero.option_help import Said

SHIPPED_METHODS = ("finetune", "cawf", "cawf_two_way", "lora", "replay")
"""Those of the map that comes with the project; the control adapts nothing."""


def predict(
    domain: str,
    num_images: int,
    method: str,
    cells: Said[Path | None] = None,
    rd_lambda: Lambda = None,
    adapter_size: Said[int | None] = None,
    num_steps: Said[int | None] = None,
    source: Said[str | None] = None,
) -> None:
    """Predict gain and forgetting before adapting, from the laws of earlier sweeps.

    Args:
        domain: The target domain: a folder of images, a Parquet file, NAME=PATH, or a bundled NAME.
        num_images: Number of training images it would be adapted with.
        method: Adaptation method; one of those in the map.
        cells: The map: `cells.parquet` of a sweep, or the folder that contains it; the default is the map
            that comes with the project.
        rd_lambda: Lambda in bits per pixel per unit of MSE; the default is a middle one of the map.
        adapter_size: Adapter size in the method's unit, one of the map's; the default is a middle one.
        num_steps: Optimiser steps; the default is a middle number of the map.
        source: The source codec; the default is the map's, if it has only one and that is no file.
    """
    _check_method(method, own_map=cells is not None)
    check_domain(spec_of(domain))
    if cells is not None:
        table_of(cells)
    # Libraries take seconds to import: what does not exist is refused before.
    from interfero.cli.predict.answer import Question, answer

    question = Question(
        domain, num_images, method, cells, rd_lambda, adapter_size, num_steps, source
    )
    sys.stdout.write(answer(question))


def _check_method(method: str, *, own_map: bool) -> None:
    """Refuse a method that there is not, or that the map has no cell of, as far as that is known.

    Raises:
        ConfigError: names the nearest, and all.
    """
    if own_map and method not in METHOD_TABLE:
        raise ConfigError(f"--method {method!r}: no such method; {nearest(method, METHOD_TABLE)}")
    if not own_map and method not in SHIPPED_METHODS:
        raise ConfigError(
            f"--method {method!r}: the map that comes with interfero has no cells of it; "
            f"{nearest(method, SHIPPED_METHODS)}; for another give --cells FILE of a sweep that has it"
        )
