"""Training crops a second against CompressAI's `ImageFolder` in a DataLoader: `python benchmarks/data.py`.

`python benchmarks/data.py PATH`: PATH is a folder of images; without it, the bundled photographs are written
as PNG files. Our side draws batches of seeded crops from pixel files that every process of a node maps; they
are decoded once, which is timed apart. CompressAI's side is what its training example does (RandomCrop,
ToTensor, a shuffling DataLoader), once in the training process and once with a worker a core; the faster
one counts. Both give float32 batches (8, 3, crop, crop).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import tyro
from compressai.datasets import ImageFolder
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks._report import Target, finish, run
from benchmarks._rounds import Side, alternate, ratio, wall
from interfero.config import Config
from interfero.domains.batches import draw_batch
from interfero.domains.catalogue import load_domain
from interfero.domains.images import IMAGE_SUFFIXES, ImageRules
from interfero.domains.memory import MemoryBudget
from interfero.domains.pixel_files import CACHE_VARIABLE
from interfero.errors import DomainError

TARGET = Target(">=", 5.0)


class DataBenchmark(Config):
    """What is read, and how much."""

    path: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of images, read with its subfolders; by default the bundled photographs."""
    max_images: int = Field(default=200, gt=1)
    """Images at most."""
    batches: int = Field(default=40, gt=0)
    """Batches a turn."""
    batch_size: int = Field(default=8, gt=0)
    """Crops a batch."""
    crop_size: int = Field(default=128, gt=0)
    """Side of a crop in pixels."""
    rounds: int = Field(default=5, gt=0)
    """Turns of each side."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def gather(command: DataBenchmark, folder: Path) -> int:
    """Lay the images out as `ImageFolder` wants them, below `train`; returns their number."""
    train = folder / "train"
    train.mkdir(parents=True)
    if command.path is None:
        samples = load_domain("photos").train[: command.max_images]
        for index, sample in enumerate(samples):
            Image.fromarray(sample.pixels_HWC).save(train / f"{index:04d}.png")
        return len(samples)
    found = sorted(p for p in command.path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    for index, path in enumerate(found[: command.max_images]):
        (train / f"{index:04d}{path.suffix.lower()}").symlink_to(path.resolve())
    if len(found) < 2:
        raise DomainError(f"{command.path} must hold at least 2 images, found {len(found)}")
    return min(len(found), command.max_images)


def our_batches(command: DataBenchmark, folder: Path) -> Callable[[], None]:
    """Batches from mapped pixel files."""
    torch.set_num_threads(1)
    draw = partial(
        draw_batch, load(folder), seed=0, batch_size=command.batch_size, crop_size=command.crop_size
    )
    steps = count()

    def turn() -> None:
        for _ in range(command.batches):
            draw(step=next(steps))

    return turn


def load(folder: Path) -> tuple[Any, ...]:
    """Every training image, decoded once on this node and mapped."""
    rules = ImageRules(halve_jpeg=False, min_side=1, max_side=1 << 16)
    return load_domain(f"images={folder / 'train'}", rules, budget=MemoryBudget(0)).train


def compressai_batches(
    command: DataBenchmark, folder: Path, num_workers: int
) -> Callable[[], None]:
    """Batches as CompressAI's training example has them."""
    torch.set_num_threads(1)
    crop = transforms.RandomCrop(command.crop_size, pad_if_needed=True)
    dataset = ImageFolder(str(folder), transforms.Compose([crop, transforms.ToTensor()]), "train")
    loader: DataLoader[Tensor] = DataLoader(
        dataset, command.batch_size, shuffle=True, num_workers=num_workers,
        persistent_workers=num_workers > 0, drop_last=True,
    )  # fmt: skip

    def forever() -> Iterator[Tensor]:
        while True:
            yield from loader

    stream = forever()

    def turn() -> None:
        for _ in range(command.batches):
            next(stream)

    return turn


def main() -> None:
    """Command line."""
    command = tyro.cli(DataBenchmark, description=__doc__)
    workers = os.cpu_count() or 1
    with TemporaryDirectory(prefix="interfero-data-") as temporary:
        folder = Path(temporary) / "images"
        num_images = gather(command, folder)
        os.environ[CACHE_VARIABLE] = temporary
        started = time.perf_counter()
        load(folder)
        decoding_s = time.perf_counter() - started
        turns = alternate(
            {
                "ours": Side(our_batches, (command, folder)),
                "in the process": Side(compressai_batches, (command, folder, 0)),
                f"{workers} workers": Side(compressai_batches, (command, folder, workers)),
            },
            command.rounds,
        )
    crops = command.batches * command.batch_size
    rates = {name: crops / statistics.median(wall(taken)) for name, taken in turns.items()}
    for name, rate in rates.items():
        print(f"{name:14s} {rate:8.0f} crops a second")
    print(f"{num_images} images were decoded once, in {decoding_s:.1f} s")
    peers = [ratio(wall(turns[n]), wall(turns["ours"])) for n in turns if n != "ours"]
    value = min(peers)
    figures = {
        "images": num_images, "decoding_s": decoding_s, "crops_a_second": rates,
        "wall_s": {name: wall(taken) for name, taken in turns.items()},
    }  # fmt: skip
    finish("data", value, "x", TARGET, TARGET.met(value), figures, command.json_path)


if __name__ == "__main__":
    run(main)
