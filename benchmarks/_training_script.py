"""One cell in the manner of CompressAI's `examples/train.py`: the peers of the sweep benchmarks.

`python -m benchmarks._training_script CELL IMAGES OUTPUT` reads a cell as JSON, trains on the folder of
images by `ImageFolder` and a DataLoader, evaluates and writes what it took. With `-` for IMAGES it draws the
crops that interfero would, from decoded images: then it trains the same cell, to rounding. The method, the
precision and the evaluation are interfero's own functions, so that a peer does no work twice as long or
half as well; what is missing is the engine: every cell starts a process, loads everything anew, and codes
the source images itself.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from compressai.datasets import ImageFolder
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms

from interfero.adaptation import find_method, save_adapter
from interfero.adaptation.method import AdaptedCodec, Batch, Method, StepLoss
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import quantile_loss, quantile_parameters, rd_parameters
from interfero.codecs.noise import NoiseKey
from interfero.domains.batches import draw_batch
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.nodes import Cell
from trainables.evaluation import evaluate
from trainables.member import QUANTILE_LEARNING_RATE, learning_rate_at
from trainables.workbench import Workbench

Report = Callable[[int, dict[str, float]], None]
DRAWN = "-"
"""In place of a folder of images: crops as interfero draws them."""
REPORTS = 10
"""A cell. Each costs Ray's pattern about two seconds, so it gets fewer than interfero logs."""


def train_cell(cell: Cell, images: Path | None, output: Path, report: Report) -> dict[str, float]:
    """Train and evaluate a cell; returns the evaluation's metrics and the seconds of each part.

    Args:
        cell: What is trained.
        images: Folder of training images, in `train`; None draws crops as interfero does.
        output: Where the adapter is written.
        report: Is told of ten points of the curve.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    load = partial(load_codec, cell.identity.codec, cell.block.rd_lambda)
    target, source = (load_domain(n) for n in (cell.block.domain, cell.identity.source_domain))
    bench = Workbench(load(), load, target, source)
    wanted = cell.hyperparameters
    method = find_method(wanted.method)
    training_codec = bench.training_codec(torch.device("cpu"))
    adapted = method.build(training_codec, wanted.adapter_size, wanted.init_seed)
    batches = _drawn(cell, bench) if images is None else _loaded(cell, images)
    training = _Training(cell, method, adapted, batches)
    start_s = time.perf_counter() - started
    data_s = training.run(report)
    trained = time.perf_counter()
    adapted.to(memory_format=torch.contiguous_format)
    adapted.refresh_tables()
    path = output / f"{cell.key}.safetensors"
    save_adapter(
        adapted, path, method=method.name, adapter_size=wanted.adapter_size, record={},
        domain=cell.block.domain,
    )  # fmt: skip
    result = evaluate(cell, bench, path, output / f"{cell.key}.png")
    ended = time.perf_counter()
    return {
        **result.metrics,
        "seconds/start": start_s,
        "seconds/data": data_s,
        "seconds/training": trained - started - start_s - data_s,
        "seconds/source": bench.source_seconds,
        "seconds/evaluation": ended - trained - bench.source_seconds,
    }


def _loaded(cell: Cell, images: Path) -> Iterator[Tensor]:
    """Batches of crops, read and decoded for each epoch."""
    crop = transforms.Compose(
        [transforms.RandomCrop(cell.loop.crop_size, pad_if_needed=True), transforms.ToTensor()]
    )
    dataset = ImageFolder(str(images), crop, split="train")
    loader = DataLoader(dataset, cell.loop.batch_size, shuffle=True)
    while True:
        yield from loader


def _drawn(cell: Cell, bench: Workbench) -> Iterator[Tensor]:
    """The batches that a pack of interfero's would train on."""
    block, loop = cell.block, cell.loop
    samples = bench.learned(block)
    for step in itertools.count():
        yield draw_batch(
            samples, seed=block.data_seed, step=step, batch_size=loop.batch_size,
            crop_size=loop.crop_size,
        )  # fmt: skip


class _Training:
    """The loop of the example, with interfero's loss."""

    def __init__(
        self, cell: Cell, method: Method, adapted: AdaptedCodec, batches: Iterator[Tensor]
    ) -> None:
        self._cell, self._method, self._adapted, self._batches = cell, method, adapted, batches
        adapted.to(memory_format=torch.channels_last)
        adapted.train_parameters()
        adapted.train()
        self._learning = [p for p in rd_parameters(adapted) if p.requires_grad]
        quantiles = [p for p in quantile_parameters(adapted) if p.requires_grad]
        self._main = torch.optim.Adam(self._learning, lr=cell.hyperparameters.learning_rate)
        self._auxiliary = (
            torch.optim.Adam(quantiles, lr=QUANTILE_LEARNING_RATE) if quantiles else None
        )

    def run(self, report: Report) -> float:
        """Train; returns the seconds spent waiting for images."""
        loop, data_s = self._cell.loop, 0.0
        for step in range(loop.num_steps):
            waiting = time.perf_counter()
            image = next(self._batches)
            data_s += time.perf_counter() - waiting
            coded = self._step(step, image.to(memory_format=torch.channels_last))
            if (step + 1) % max(1, loop.num_steps // REPORTS) == 0:
                parts = {"bpp": coded.bpp, "mse_255": coded.mse, "loss": coded.total}
                report(step + 1, {f"train/{n}": v.item() for n, v in parts.items()})
        return data_s

    def _step(self, step: int, image: Tensor) -> StepLoss:
        wanted, loop = self._cell.hyperparameters, self._cell.loop
        for group in self._main.param_groups:
            group["lr"] = learning_rate_at(loop, wanted.learning_rate, step)
        noise = NoiseKey(self._cell.block.data_seed, step, len(image))
        batch = Batch({"target": image}, noise, self._cell.block.rd_lambda, wanted.strength)
        half = loop.precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            coded = self._method.loss(self._adapted, batch)
        self._main.zero_grad()
        coded.total.backward()
        torch.nn.utils.clip_grad_norm_(self._learning, loop.clip_norm)
        self._main.step()
        if self._auxiliary is not None:
            self._auxiliary.zero_grad()
            quantile_loss(self._adapted).backward()
            self._auxiliary.step()
        return coded


def main() -> None:
    """Command line."""
    cell = Cell.model_validate_json(Path(sys.argv[1]).read_text())
    images = None if sys.argv[2] == DRAWN else Path(sys.argv[2])
    output = Path(sys.argv[3])
    metrics = train_cell(cell, images, output, lambda step, values: None)
    (output / f"{cell.key}.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
