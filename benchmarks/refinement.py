"""What refining latents per picture gains, in rate and in PSNR: `python benchmarks/refinement.py --csv FILE`.

Validation images of target domains are coded by the source codec, by `latent_refinement` and by
`regularised_refinement` at several strengths, to real streams that the source codec decodes again. A table
has the mean changes over images for each domain, lambda, number of steps, learning rate and strength, another
the gain of each strength minus that of `latent_refinement`, image by image. `--csv` keeps a row a stream; a
file that is there is added to, and `--print-only` prints its tables.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
import tyro

from benchmarks._report import run
from interfero.adaptation import METHODS
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.coding import Coder, SourceCoder, decode, encode, pixel_mse
from interfero.config import Config
from interfero.domains.catalogue import load_domain
from interfero.domains.images import Sample, UInt8Array
from interfero.metrics.rate_distortion import psnr_db

SETTING = ["rd_lambda", "num_steps", "learning_rate", "strength"]
IMAGE = ["domain", "image", "rd_lambda"]


class Refinement(Config):
    """Which images are refined, and how."""

    csv: Path
    """A row a stream."""
    domains: tuple[str, ...] = ("histology", "text")
    """Target domains, as sweeps take them."""
    source: str = "mbt2018-mean"
    """Source codec."""
    lambdas: tuple[float, ...] = (0.0016, 0.013)
    """Lambdas of the source codec."""
    num_steps: tuple[int, ...] = (60,)
    """Steps per image."""
    learning_rates: tuple[float, ...] = (0.03, 0.1)
    """Step sizes of latents."""
    strengths: tuple[float, ...] = (0.0, 1.0, 10.0)
    """Of the regulariser; 0 is `latent_refinement`."""
    images: int = 2
    """Validation images a domain, of different source images."""
    crop_size: int = 128
    """Side of the square in the middle of an image that is coded."""
    print_only: bool = False
    """Print the tables of the file, and code nothing."""


@dataclass(frozen=True)
class Row:
    """One coded image."""

    domain: str
    image: str
    rd_lambda: float
    num_steps: int
    learning_rate: float
    strength: float
    stream_bytes: int
    latent_bytes: int
    hyper_latent_bytes: int
    bpp: float
    psnr_db: float
    rd_loss: float


def crops(command: Refinement, domain: str) -> Iterator[tuple[str, UInt8Array]]:
    """Names and middles of validation images, one of each source image."""
    groups: dict[str, Sample] = {}
    for sample in load_domain(domain).split("all", 0).validation:
        groups.setdefault(sample.group, sample)
    side = command.crop_size
    for sample in list(groups.values())[: command.images]:
        top, left = ((size - side) // 2 for size in sample.pixels_HWC.shape[:2])
        yield sample.name, sample.pixels_HWC[top : top + side, left : left + side].copy()


def coders(command: Refinement, codec: Codec) -> Iterator[tuple[tuple[int, float, float], Coder]]:
    """What codes, by steps, learning rate and strength; the source codec first, at 0 steps."""
    yield (0, 0.0, 0.0), SourceCoder(codec)
    for num_steps in command.num_steps:
        for rate in command.learning_rates:
            for strength in command.strengths:
                method = METHODS["regularised_refinement" if strength else "latent_refinement"]
                adapted = method.build(codec, 0, 0).eval()
                method.settle(adapted, rate, num_steps, strength)
                yield (num_steps, rate, strength), adapted


def rows(command: Refinement) -> Iterator[Row]:
    """Code each image with each coder; the source codec decodes."""
    for domain in command.domains:
        name = domain.partition("=")[0]
        for image, pixels in crops(command, domain):
            for value in command.lambdas:
                codec = load_codec(command.source, value)
                for setting, coder in coders(command, codec):
                    data = encode(coder, pixels).data
                    latents, *others = map(len, parse_stream(data).strings)
                    mse = pixel_mse(decode(SourceCoder(codec), data).pixels_HWC, pixels)
                    bpp = 8 * len(data) / pixels[..., 0].size
                    yield Row(
                        name, image, value, *setting, len(data), latents, sum(others), bpp,
                        psnr_db(mse), bpp + value * mse,
                    )  # fmt: skip


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Changes against the source codec's stream of the same image, a row a refined stream."""
    before = table[table.num_steps == 0].set_index(IMAGE)
    after = table[table.num_steps > 0].join(before, on=IMAGE, rsuffix="_before")
    found = after[["domain", "image", *SETTING]].copy()
    found["gain %"] = 100 * (1 - after.rd_loss / after.rd_loss_before)
    found["rate %"] = 100 * (after.stream_bytes / after.stream_bytes_before - 1)
    found["dB"] = after.psnr_db - after.psnr_db_before
    for part in ("latent_bytes", "hyper_latent_bytes"):
        found[part] = after[part] - after[f"{part}_before"]
    kept = (after.stream_bytes == after.stream_bytes_before) & (
        after.psnr_db == after.psnr_db_before
    )
    found["refined %"] = 100.0 * ~kept
    return found


def means(changed: pd.DataFrame) -> pd.DataFrame:
    """Mean changes over images, for each domain and setting."""
    return changed.drop(columns="image").groupby(["domain", *SETTING]).mean().round(2)


def against_plain(changed: pd.DataFrame) -> pd.DataFrame:
    """Gain at each strength minus that of `latent_refinement`, in points, by steps and learning rate.

    An image counts once: its differences at several lambdas are averaged first. `error` is the standard error
    over images.
    """
    search = ["num_steps", "learning_rate"]
    place = ["domain", "image", "rd_lambda", *search]
    wide = changed.pivot(index=place, columns="strength", values="gain %")
    minus = wide.drop(columns=0.0).sub(wide[0.0], axis=0).stack()
    by_image = minus.groupby(["domain", "image", *search, "strength"]).mean()
    groups = by_image.groupby([*search, "strength"])
    better = by_image.gt(0).groupby([*search, "strength"]).sum()
    shown = {
        "minus plain": groups.mean(),
        "error": groups.sem(),
        "images": groups.size(),
        "better on": better,
    }
    return pd.DataFrame(shown).round(2)


def main(command: Refinement) -> None:
    """Measure what is asked for, and print the table of all that the file has."""
    torch.set_num_threads(1)
    if not command.print_only:
        with command.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(Row.__annotations__))
            if not file.tell():
                writer.writeheader()
            for row in rows(command):
                writer.writerow(asdict(row))
                file.flush()
    table = pd.read_csv(command.csv).drop_duplicates([*IMAGE, *SETTING[1:]], keep="last")
    changed = changes(table)
    print(means(changed).to_string(), against_plain(changed).to_string(), sep="\n\n")


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Refinement)))
