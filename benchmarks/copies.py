"""Compressed copies of 16 photographs at four qualities against a loop over Pillow.

Ours is what a sweep's step *compress* and `interfero.compressed` do: every image coded, decoded, and kept in
Parquet shards with its lineage. The loop is what one writes by hand: one image after the other is saved by
Pillow with the same options into a file, opened and decoded. Coded sizes are the same on both sides, which
is checked.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro
from pydantic import Field

from benchmarks._report import Target, finish, run
from benchmarks._rounds import Side, alternate, ratio, wall
from interfero.codecs.classical import CLASSICAL, find_classical
from interfero.codecs.compressed import coded_at
from interfero.codecs.lossy import LossyClassical, Setting
from interfero.config import Config
from interfero.cores import usable_cores
from interfero.domains.catalogue import load_domain
from interfero.domains.copies import Copies
from interfero.domains.images import Sample
from interfero.errors import CodecError

TARGET = Target(">=", 1.8)


class CopiesBenchmark(Config):
    """What is coded, and how often."""

    codecs: tuple[str, ...] = tuple(CLASSICAL)
    """Classical codecs."""
    num_images: int = Field(default=16, gt=0)
    """Bundled photographs; one shard holds 16."""
    rounds: int = Field(default=5, gt=0)
    """Turns of each side."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def photographs(num_images: int) -> tuple[Sample, ...]:
    """Bundled photographs of training."""
    return load_domain("photos").train[:num_images]


def qualities(name: str) -> tuple[int, ...]:
    """Every second one of the codec's curve."""
    return find_classical(name).default_qualities[1::2]


def our_copies(name: str, num_images: int, folder: Path) -> Callable[[], list[int]]:
    """Copies as sweeps keep them; a turn returns the coded sizes."""
    samples, codec, turns = photographs(num_images), LossyClassical(find_classical(name)), count()

    def turn() -> list[int]:
        place, sizes = folder / f"{next(turns)}", []
        for quality in qualities(name):
            copies = Copies(place / f"{quality}", samples)
            copies.make(coded_at(codec, Setting(float(quality), 0.0, 0.0)), {"codec": name})
            sizes += [image.coded_bytes for image in copies.images]
        shutil.rmtree(place)
        return sizes

    return turn


def pillow_loop(name: str, num_images: int, folder: Path) -> Callable[[], list[int]]:
    """The same files by Pillow, one after the other."""
    samples, codec, turns = photographs(num_images), find_classical(name), count()

    def turn() -> list[int]:
        place, sizes = folder / f"{next(turns)}", []
        place.mkdir(parents=True)
        for quality in qualities(name):
            for sample in samples:
                path = place / f"{quality}_{sample.name}"
                path.write_bytes(codec.encode(sample.pixels_HWC, quality))
                codec.decode(path.read_bytes())
                sizes.append(path.stat().st_size)
        shutil.rmtree(place)
        return sizes

    return turn


def main() -> None:
    """Command line."""
    command = tyro.cli(CopiesBenchmark, description=__doc__)
    walls: dict[str, dict[str, list[float]]] = {}
    with TemporaryDirectory(prefix="interfero-copies-") as temporary:
        for name in command.codecs:
            arguments = {s: (name, command.num_images, Path(temporary) / name / s) for s in "ab"}
            if our_copies(*arguments["a"])() != pillow_loop(*arguments["b"])():
                raise CodecError(f"{name}: Pillow's files have other sizes than ours")
            sides = {
                "ours": Side(our_copies, arguments["a"]),
                "Pillow": Side(pillow_loop, arguments["b"]),
            }
            turns = alternate(sides, command.rounds)
            walls[name] = {side: wall(taken) for side, taken in turns.items()}
            ratios = ratio(walls[name]["Pillow"], walls[name]["ours"])
            medians = ", ".join(f"{s} {statistics.median(w):.2f} s" for s, w in walls[name].items())
            print(f"{name:9s} {ratios:5.2f}x   {medians}", flush=True)
    totals = {
        side: [sum(parts) for parts in zip(*(w[side] for w in walls.values()), strict=True)]
        for side in ("ours", "Pillow")
    }
    value = ratio(totals["Pillow"], totals["ours"])
    figures = {"cores": usable_cores(), "images": command.num_images, "wall_s": walls}
    finish("copies", value, "x", TARGET, TARGET.met(value), figures, command.json_path)


if __name__ == "__main__":
    run(main)
