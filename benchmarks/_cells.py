"""Adaptation cells of the bundled codec and domains, trained in this process as a warm actor would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from interfero.codecs.catalogue import load_codec
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.worker import LocalWorker
from trainables.workbench import Workbench

SOURCE = "mbt2018-mean"
RD_LAMBDA = 0.013
TARGET_DOMAIN = "histology"
SOURCE_DOMAIN = "photos"


def workbench() -> Workbench:
    """The bundled codec, to be adapted to the bundled histology."""
    load = partial(load_codec, SOURCE, RD_LAMBDA)
    return Workbench(load(), load, load_domain(TARGET_DOMAIN), load_domain(SOURCE_DOMAIN))


def make_cell(
    bench: Workbench, loop: LoopConfig, method: str, adapter_size: int = 0,
    learning_rate: float = 1e-4,
) -> Cell:  # fmt: skip
    """A cell on all training images."""
    return Cell(
        block=Block(
            domain=bench.target.name,
            rd_lambda=bench.codec.rd_lambda,
            num_images=bench.target.max_images,
            data_seed=0,
        ),
        hyperparameters=Hyperparameters(
            method=method, adapter_size=adapter_size, learning_rate=learning_rate
        ),
        loop=loop,
        identity=Identity(
            codec=bench.codec.name,
            codec_hash=bench.codec.weights_hash,
            table_hash=bench.codec.table_hash,
            domain_hash=bench.target.fingerprint,
            source_domain=bench.source.name,
            source_domain_hash=bench.source.fingerprint,
            loop_hash="benchmark",
            versions={},
        ),
    )


@contextmanager
def scratch_worker(device: str = "cpu") -> Iterator[LocalWorker]:
    """A worker whose folder is removed."""
    with TemporaryDirectory(prefix="interfero-benchmark-") as folder:
        yield LocalWorker(Path(folder) / "sweep", torch.device(device))


def repeated(cell: Cell, learning_rates: Sequence[float]) -> list[Cell]:
    """The same cell at several learning rates."""
    return [
        cell.model_copy(
            update={
                "hyperparameters": cell.hyperparameters.model_copy(update={"learning_rate": rate})
            }
        )
        for rate in learning_rates
    ]
