"""The source codec against a well-configured JPEG, with real bitstreams, on any folder of images.

`python benchmarks/source_codec.py PATH`: every image is coded and decoded at every lambda of the
source. PATH is a folder (its `test/` if it has one, else all of it) or a Parquet file. Without PATH
it is `natural` below INTERFERO_DATA, or else the bundled photographs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks._report import Target, finish, run
from interfero.codecs.catalogue import available_lambdas, load_codec
from interfero.codecs.codec import Codec
from interfero.codecs.coding import (
    ImageScore,
    SourceCoder,
    mean_score,
    score_coded,
    score_estimated,
)
from interfero.codecs.jpeg import (
    JpegPoint,
    JpegScores,
    curve_of_scores,
    jpeg_psnr_at,
    least_of_jpeg,
    score_jpeg_grid,
)
from interfero.config import Config
from interfero.domains.decoding import group_of
from interfero.domains.domain import spread
from interfero.domains.images import (
    IMAGE_SUFFIXES,
    ImageRules,
    Sample,
    SkippedImageError,
    decode_image,
)
from interfero.domains.ingest import load_parquet
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.errors import DomainError
from interfero.metrics.bd_rate import Curve, bd_rate_percent
from interfero.store.files import write_json
from interfero.store.keys import ENTRY_DIGITS, content_key

TARGET = Target("<=", -20.0)
NUM_WORST = 5


class SourceCodecBenchmark(Config):
    """What to code, with which codec."""

    path: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of images, or Parquet file."""
    source: str = "mbt2018-mean"
    """Source codec: a bundled name, a codec file, a folder of them, or `compressai:NAME`."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""
    manifest: Path | None = None
    """File for the hashes of all images, weights and entropy tables."""
    max_images: int | None = Field(default=None, gt=0)
    """Images at most; each source image once before any twice."""


@dataclass(frozen=True)
class LambdaResult:
    """One lambda on all images."""

    rd_lambda: float
    coded: list[ImageScore]
    estimated: list[ImageScore]

    @property
    def bpp(self) -> float:
        """Mean coded rate, headers included."""
        return mean_score(self.coded, self.rd_lambda)["bpp"]

    @property
    def psnr_db(self) -> float:
        """Mean over images."""
        return mean_score(self.coded, self.rd_lambda)["psnr_db"]

    @property
    def rate_error_percent(self) -> float:
        """Coded rate over the estimated one, minus one."""
        return 100 * (self.bpp / mean_score(self.estimated, self.rd_lambda)["bpp"] - 1)


@dataclass(frozen=True)
class WorstImage:
    """An image that the codec codes worse, compared with JPEG on the same image, than others."""

    name: str
    rd_lambda: float
    bpp: float
    psnr_db: float
    jpeg_psnr_db: float

    @property
    def difference_db(self) -> float:
        """Negative where JPEG is better at the rate."""
        return self.psnr_db - self.jpeg_psnr_db


def load_images(path: Path | None) -> tuple[str, Sequence[Sample], Counter[str]]:
    """The images to code, what they are called, and conversions with their counts.

    Raises:
        DomainError: there is nothing to code.
    """
    if path is None and "INTERFERO_DATA" in os.environ:
        path = Path(os.environ["INTERFERO_DATA"]) / "natural"
    if path is None:
        # Rendering and cutting the bundled images takes time that a folder does not need.
        from interfero.domains.catalogue import load_domain

        return DEFAULT_SOURCE, load_domain(DEFAULT_SOURCE).test, Counter()
    if path.suffix == ".parquet":
        return path.name, load_parquet(path.stem, path).test, Counter()
    if not path.is_dir():
        raise DomainError(f"there is no folder {path}: name a folder of images")
    root = path / "test" if (path / "test").is_dir() else path
    counts: Counter[str] = Counter()
    samples = _read_folder(root, counts)
    if not samples:
        raise DomainError(
            f"no image in {root} can be used ({dict(counts) or 'it holds none'}); it may hold "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return str(root), samples, counts


def _read_folder(root: Path, counts: Counter[str]) -> list[Sample]:
    samples = []
    for file in sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        name = file.relative_to(root).as_posix()
        try:
            pixels = decode_image(file, name, ImageRules(), counts)
        except SkippedImageError as error:
            counts[f"skipped: {error}"] += 1
            continue
        group = group_of(Path(name).with_suffix("").as_posix())
        samples.append(Sample(name, group, pixels))
    return samples


def measure(codec: Codec, samples: Sequence[Sample], console: Console) -> LambdaResult:
    """Code and decode every image, and estimate its rate."""
    coder = SourceCoder(codec)
    coded, estimated = [], []
    for sample in track(samples, f"lambda {codec.rd_lambda:g}", console=console, transient=True):
        coded.append(score_coded(coder, sample))
        estimated.append(score_estimated(coder, sample))
    return LambdaResult(codec.rd_lambda, coded, estimated)


def build_manifest(samples: Sequence[Sample], codecs: Sequence[Codec]) -> dict[str, object]:
    """Hashes of everything that was measured: decoded pixels, weights, entropy tables."""
    return {
        "images": {s.name: s.digest for s in samples},
        "codecs": {
            f"{c.rd_lambda:g}": {"weights": c.weights_hash, "tables": c.table_hash} for c in codecs
        },
    }


def manifest_hash(manifest: Mapping[str, object]) -> str:
    """One hash of a manifest."""
    return content_key(manifest, ENTRY_DIGITS)


def find_worst(results: Sequence[LambdaResult], jpeg: JpegScores) -> list[WorstImage]:
    """Images and lambdas with the lowest PSNR over JPEG's on the same image at the same rate."""
    found = []
    for index in range(len(results[0].coded)):
        one = curve_of_scores({setting: [scores[index]] for setting, scores in jpeg.items()})
        for result in results:
            score = result.coded[index]
            there = jpeg_psnr_at(one, score.bpp)
            if there is not None:
                found.append(
                    WorstImage(score.name, result.rd_lambda, score.bpp, score.psnr_db, there)
                )
    return sorted(found, key=lambda w: w.difference_db)


def _pairs(points: Sequence[JpegPoint] | Sequence[LambdaResult]) -> Curve:
    return [(p.bpp, p.psnr_db) for p in points]


def lambda_table(results: Sequence[LambdaResult], jpeg: Sequence[JpegPoint]) -> Table:
    """A row a lambda."""
    table = Table(caption="PSNR in dB, mean over images; JPEG at the codec's mean rate")
    headings = ("lambda", "bpp", "PSNR", "JPEG", "difference", "coded over estimated rate")
    for heading in headings:
        table.add_column(heading, justify="right")
    for result in results:
        there = jpeg_psnr_at(jpeg, result.bpp)
        table.add_row(
            f"{result.rd_lambda:g}",
            f"{result.bpp:.4f}",
            f"{result.psnr_db:.3f}",
            least_of_jpeg(jpeg) if there is None else f"{there:.3f}",
            "" if there is None else f"{result.psnr_db - there:+.3f}",
            f"{result.rate_error_percent:+.2f} %",
        )
    return table


def worst_table(worst: Sequence[WorstImage]) -> Table:
    """A row an image and lambda."""
    table = Table(title="worst against JPEG on the same image at the same rate")
    for heading in ("image", "lambda", "bpp", "PSNR", "JPEG", "difference"):
        table.add_column(heading, justify="left" if heading == "image" else "right")
    for w in worst:
        values = (f"{w.bpp:.3f}", f"{w.psnr_db:.2f}", f"{w.jpeg_psnr_db:.2f}")
        table.add_row(w.name, f"{w.rd_lambda:g}", *values, f"{w.difference_db:+.2f}")
    return table


def lambda_figures(result: LambdaResult, jpeg: Sequence[JpegPoint]) -> dict[str, object]:
    """One lambda as JSON."""
    return {
        "rd_lambda": result.rd_lambda,
        "bpp": result.bpp,
        "psnr_db": result.psnr_db,
        "jpeg_psnr_db": jpeg_psnr_at(jpeg, result.bpp),
        "rate_error_percent": result.rate_error_percent,
        "images": {s.name: {"bpp": s.bpp, "mse": s.mse} for s in result.coded},
    }


def main() -> None:
    """Command line."""
    command = tyro.cli(SourceCodecBenchmark, description=__doc__)
    console = Console()
    lambdas = available_lambdas(command.source)
    name, found, counts = load_images(command.path)
    samples = found if command.max_images is None else spread(found, command.max_images)
    codecs = [load_codec(command.source, value) for value in lambdas]
    manifest = build_manifest(samples, codecs)
    console.print(f"{len(samples)} of {len(found)} images of {name}, source codec {command.source}")
    for what, count in sorted(counts.items()):
        console.print(f"  {count} x {what}")
    if command.manifest is not None:
        write_json(command.manifest, manifest)

    jpeg_scores = score_jpeg_grid(samples)
    jpeg = curve_of_scores(jpeg_scores)
    results = [measure(codec, samples, console) for codec in codecs]
    worst = find_worst(results, jpeg_scores)
    console.print(lambda_table(results, jpeg), worst_table(worst[:NUM_WORST]))

    figures: dict[str, object] = {
        "images": name,
        "num_images": len(samples),
        "source": command.source,
        "lambdas": [lambda_figures(r, jpeg) for r in results],
        "jpeg": [asdict(p) for p in jpeg],
        "worst": [asdict(w) | {"difference_db": w.difference_db} for w in worst[:NUM_WORST]],
        "images_below_jpeg": sum(w.difference_db < 0 for w in worst),
        "images_compared": len(worst),
        "manifest": manifest,
        "manifest_hash": manifest_hash(manifest),
    }
    console.print(
        f"{figures['images_below_jpeg']} of {len(worst)} coded images lie below JPEG at their rate"
    )
    console.print(f"manifest {figures['manifest_hash']}")
    report(results, jpeg, figures, command.json_path, console)


def report(
    results: Sequence[LambdaResult],
    jpeg: Sequence[JpegPoint],
    figures: dict[str, object],
    json_path: Path | None,
    console: Console,
) -> None:
    """BD-rate, or why there is none, and the last line."""
    anchor, tested = _pairs(jpeg), _pairs(results)
    value, reason = None, ""
    try:
        rate = bd_rate_percent(anchor, tested)
    except ValueError as error:
        reason = f"BD-rate refused, {error}"
        console.print(reason)
    else:
        value = rate.value
        figures["bd_rate"] = asdict(rate)
        console.print(
            f"BD-rate over JPEG {value:+.2f} %: JPEG covers {rate.overlap:.0%} of the codec's PSNR "
            "range"
        )
    ok = value is not None and TARGET.met(value)
    finish("source_codec_bd_rate", value, "%", TARGET, ok, figures, json_path, reason=reason)


if __name__ == "__main__":
    run(main)
