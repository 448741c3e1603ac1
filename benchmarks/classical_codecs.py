"""Every classical codec against a well-configured JPEG, on any folder of images.

`python benchmarks/classical_codecs.py PATH`: every image is coded and decoded at eight qualities of
every codec, with the settings that docs/codecs.md gives reasons for. PATH as in source_codec.py.
JPEG is the same as there: the upper envelope of 4:2:0 and 4:4:4.

Two BD-rates are given. One is of the curves of means over images, as for the source codec; it also
judges how a codec's quality scale spreads bits over images. The other is the mean over images of each
image's own BD-rate, and judges the codec alone. `--alternatives` measures, beside each codec, the
settings that were not chosen. `--whole-range` codes the images at every quality instead and says where the
mean rate or PSNR falls although quality rises: what a search for a rate has to know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks._report import Target, finish, run
from benchmarks.source_codec import load_images
from interfero.codecs.classical import (
    CLASSICAL,
    Avif,
    ClassicalCodec,
    Heif,
    Jpeg,
    Jpeg2000,
    JpegXl,
    WebP,
    find_classical,
    rate_matching,
)
from interfero.codecs.classical.rate_matching import CodecPoint
from interfero.codecs.coding import ImageScore, mean_score, pixel_mse
from interfero.codecs.evaluation import Mean, grouped_mean
from interfero.codecs.jpeg import JpegScores, curve_of_scores, score_jpeg_grid
from interfero.config import Config
from interfero.domains.domain import spread
from interfero.domains.images import Sample
from interfero.metrics.bd_rate import Curve, bd_rate_percent

TARGET = Target("<=", -10.0)
RATE_FALL = Target("<=", 2.0)
"""Percent from one quality to the next inside a regime: `rate_matching` codes a few neighbours."""
ANCHOR = "jpeg"
ALTERNATIVES: tuple[ClassicalCodec, ...] = (
    Jpeg(subsampling="4:4:4"),
    Jpeg2000(colour_transform=False),
    Jpeg2000(irreversible=False),
    WebP(method=4),
    Avif(subsampling="4:2:0"),
    Avif(subsampling="4:2:0", speed=6),
    Heif(subsampling="4:4:4"),
    Heif(preset="medium"),
    JpegXl(effort=7),
    JpegXl(effort=9),
)
"""Settings that were tried and not taken."""


class ClassicalCodecsBenchmark(Config):
    """What to code, with which codecs."""

    path: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of images, or Parquet file."""
    codecs: tuple[str, ...] = tuple(name for name in CLASSICAL if name != ANCHOR)
    """Codecs to compare with JPEG."""
    alternatives: bool = False
    """Measure the settings that were not chosen, too."""
    whole_range: bool = False
    """Only look for qualities where rate or PSNR falls."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""
    max_images: int | None = Field(default=None, gt=0)
    """Images at most; each source image once before any twice."""


@dataclass(frozen=True)
class CodecResult:
    """One codec on all images."""

    codec: ClassicalCodec
    scores: dict[int, list[ImageScore]]
    """By quality; images in order."""
    encode_seconds: float
    """Per megapixel."""
    decode_seconds: float
    """Per megapixel."""

    @property
    def label(self) -> str:
        """The codec's name, and the settings that are not its usual ones."""
        usual = asdict(find_classical(self.codec.name))
        changed = [f"{k} {v}" for k, v in asdict(self.codec).items() if usual[k] != v]
        return ", ".join([self.codec.name, *changed])

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Means over images, by rising quality."""
        means = [mean_score(scores, rd_lambda=0) for scores in self.scores.values()]
        return [(m["bpp"], m["psnr_db"]) for m in means]

    def curve_of(self, index: int) -> list[tuple[float, float]]:
        """One image's points, without those that cost more for less."""
        points = sorted((s[index].bpp, s[index].psnr_db) for s in self.scores.values())
        rising: list[tuple[float, float]] = []
        for bpp, psnr in points:
            if not rising or (bpp > rising[-1][0] and psnr > rising[-1][1]):
                rising.append((bpp, psnr))
        return rising


@dataclass(frozen=True)
class Comparison:
    """A codec against JPEG."""

    name: str
    of_means_percent: float
    of_images_percent: Mean | None
    """None where no image's curves could be compared."""


def measure(codec: ClassicalCodec, samples: Sequence[Sample], console: Console) -> CodecResult:
    """Code and decode every image at every quality of the codec's own curve."""
    encoding = decoding = pixels = 0.0
    scores: dict[int, list[ImageScore]] = {quality: [] for quality in codec.default_qualities}
    for sample in track(samples, codec.name, console=console, transient=True):
        num_pixels = sample.pixels_HWC.shape[0] * sample.pixels_HWC.shape[1]
        for quality, measured in scores.items():
            started = time.perf_counter()
            data = codec.encode(sample.pixels_HWC, quality)
            coded = time.perf_counter()
            decoded = codec.decode(data)
            encoding, decoding = encoding + coded - started, decoding + time.perf_counter() - coded
            mse = pixel_mse(decoded, sample.pixels_HWC)
            bpp = 8 * len(data) / num_pixels
            measured.append(ImageScore(sample.name, sample.source_image, bpp, mse))
            pixels += num_pixels
    return CodecResult(codec, scores, encoding * 1e6 / pixels, decoding * 1e6 / pixels)


def compare(result: CodecResult, jpeg: JpegScores, samples: Sequence[Sample]) -> Comparison:
    """Both BD-rates of one codec.

    Raises:
        ValueError: the curves of means cannot be compared.
    """
    of_means = bd_rate_percent(_envelope(jpeg), result.curve).value
    values, groups = [], []
    for index, sample in enumerate(samples):
        one = _envelope({setting: [scores[index]] for setting, scores in jpeg.items()})
        try:
            values.append(bd_rate_percent(one, result.curve_of(index)).value)
        except ValueError:
            continue  # JPEG does not reach the quality that the codec has on this image.
        groups.append(sample.source_image)
    return Comparison(result.label, of_means, grouped_mean(values, groups) if values else None)


@dataclass(frozen=True)
class Fall:
    """The largest fall of something that should rise with quality, at the step to `quality`."""

    quality: int
    amount: float


@dataclass(frozen=True)
class Range:
    """A codec over all its qualities, without the steps from one regime to the next."""

    points: tuple[CodecPoint, ...]
    rate_falls: int
    """Steps at which the mean rate falls."""
    worst_rate: Fall
    """In percent of the rate before."""
    worst_psnr: Fall
    """In dB."""


def whole_range(codec: ClassicalCodec, samples: Sequence[Sample], console: Console) -> Range:
    """Code the images at every quality; JPEG 2000, whose quality is a rate, at every fifth."""
    qualities = codec.qualities[:: 5 if len(codec.qualities) > 200 else 1]
    points = tuple(
        rate_matching.measure(codec, samples, quality)
        for quality in track(qualities, codec.name, console=console, transient=True)
    )
    first = {regime[0] for regime in codec.regimes.values()}
    steps = [(a, b) for a, b in pairwise(points) if b.quality not in first]
    rate = max((Fall(b.quality, 100 * (1 - b.bpp / a.bpp)) for a, b in steps), key=_amount)
    psnr = max((Fall(b.quality, a.psnr_db - b.psnr_db) for a, b in steps), key=_amount)
    return Range(points, sum(b.bpp < a.bpp for a, b in steps), rate, psnr)


def _amount(fall: Fall) -> float:
    return fall.amount


def range_table(ranges: Mapping[str, Range]) -> Table:
    """A row a codec."""
    table = Table("codec", "qualities", "bpp", "steps at which rate falls", "worst", "worst PSNR")
    for name, found in ranges.items():
        first, last = found.points[0], found.points[-1]
        table.add_row(
            name,
            f"{first.quality} to {last.quality}",
            f"{first.bpp:.3f} to {last.bpp:.3f}",
            f"{found.rate_falls} of {len(found.points) - 1}",
            f"{max(0.0, found.worst_rate.amount):.2f} % (to {found.worst_rate.quality})",
            f"{max(0.0, found.worst_psnr.amount):.3f} dB (to {found.worst_psnr.quality})",
        )
    return table


def report_ranges(
    codecs: Sequence[ClassicalCodec],
    samples: Sequence[Sample],
    console: Console,
    json_path: Path | None,
) -> None:
    """The whole range of every codec; the figure is the worst fall of rate inside a regime."""
    ranges = {codec.name: whole_range(codec, samples, console) for codec in codecs}
    console.print(range_table(ranges))
    worst = max(max(0.0, found.worst_rate.amount) for found in ranges.values())
    figures: dict[str, object] = {name: asdict(found) for name, found in ranges.items()}
    ok = RATE_FALL.met(worst)
    finish("classical_worst_rate_fall", worst, "%", RATE_FALL, ok, figures, json_path)


def _envelope(jpeg: JpegScores) -> Curve:
    return [(p.bpp, p.psnr_db) for p in curve_of_scores(jpeg)]


def comparison_table(
    results: Sequence[CodecResult], comparisons: Sequence[Comparison], num_images: int
) -> Table:
    """A row a codec."""
    table = Table(caption="BD-rate over JPEG, negative is better; one thread a file")
    table.add_column("codec")
    headings = ("of mean curves", "mean of images", "images", "encode s/MP", "decode s/MP")
    for heading in headings:
        table.add_column(heading, justify="right")
    for result, comparison in zip(results, comparisons, strict=True):
        mean = comparison.of_images_percent
        error = (
            "" if mean is None or mean.standard_error is None else f" ± {mean.standard_error:.1f}"
        )
        table.add_row(
            comparison.name,
            f"{comparison.of_means_percent:+.1f} %",
            "none" if mean is None else f"{mean.value:+.1f}{error} %",
            f"{0 if mean is None else mean.num_images} of {num_images}",
            f"{result.encode_seconds:.2f}",
            f"{result.decode_seconds:.2f}",
        )
    return table


def figures_of(result: CodecResult, comparison: Comparison) -> dict[str, object]:
    """One codec as JSON."""
    mean = comparison.of_images_percent
    return {
        "identity": result.codec.identity(result.codec.default_qualities[0]),
        "bd_rate_of_means_percent": comparison.of_means_percent,
        "bd_rate_of_images_percent": None if mean is None else asdict(mean),
        "encode_seconds_per_megapixel": result.encode_seconds,
        "decode_seconds_per_megapixel": result.decode_seconds,
        "curve": [
            {"quality": quality, "bpp": bpp, "psnr_db": psnr}
            for quality, (bpp, psnr) in zip(result.scores, result.curve, strict=True)
        ],
    }


def main() -> None:
    """Command line."""
    command = tyro.cli(ClassicalCodecsBenchmark, description=__doc__)
    console = Console()
    codecs = [find_classical(name) for name in command.codecs]
    if command.alternatives:
        codecs += [c for c in ALTERNATIVES if c.name in command.codecs]
    for codec in codecs:
        codec.check_available()
    name, found, counts = load_images(command.path)
    samples = found if command.max_images is None else spread(found, command.max_images)
    console.print(f"{len(samples)} of {len(found)} images of {name}")
    for what, count in sorted(counts.items()):
        console.print(f"  {count} x {what}")
    if command.whole_range:
        report_ranges([find_classical(ANCHOR), *codecs], samples, console, command.json_path)
        return
    jpeg = score_jpeg_grid(samples)
    results = [measure(codec, samples, console) for codec in codecs]
    comparisons, refused = [], ""
    for result in results:
        try:
            comparisons.append(compare(result, jpeg, samples))
        except ValueError as error:
            refused = f"{result.label}: BD-rate refused, {error}"
            console.print(refused)
    judged = [r for r in results if r.label in {c.name for c in comparisons}]
    console.print(comparison_table(judged, comparisons, len(samples)))
    figures: dict[str, object] = {
        "images": name,
        "num_images": len(samples),
        "codecs": {c.name: figures_of(r, c) for r, c in zip(judged, comparisons, strict=True)},
    }
    chosen = [c.of_means_percent for c in comparisons if c.name in CLASSICAL]
    worst = None if refused else max(chosen)
    ok = worst is not None and TARGET.met(worst)
    finish(
        "classical_worst_bd_rate",
        worst,
        "%",
        TARGET,
        ok,
        figures,
        command.json_path,
        reason=refused,
    )


if __name__ == "__main__":
    run(main)
