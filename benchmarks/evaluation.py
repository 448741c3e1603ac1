"""Evaluating a codec with real bitstreams, against CompressAI's own `eval_model`, on the same images.

`python benchmarks/evaluation.py PATH`: PATH is a folder of images (its `test/` if it has one). Without
PATH it is `natural` below INTERFERO_DATA, or else the bundled photographs. Both sides code, decode and
measure rate, PSNR and MS-SSIM of every image, one thread each, in two processes that take turns image
by image. Then interfero's `evaluate` measures all of them by as many processes as there are cores, which
`eval_model` cannot do; both ratios, medians over repeats, are printed, and the target is for the second.

The numbers have to be the same: with CompressAI's own float networks, our coder makes CompressAI's strings,
byte for byte. The streams that are timed are decided in integers instead, alike on every machine; what that
changes, as a mean over images, has to be small.

How much there is to win depends on the codec: where the transforms take most of the time, little. So
each architecture is coded too, untrained, with both entropy coders in one process.

Images are cut to multiples of the codec's stride: CompressAI pads with black on all sides and interfero
repeats edges on two, so other sizes would compare paddings. CompressAI's rate has no container header,
so the rate compared is that of the strings; the header's share is printed.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks._report import Target, finish, run
from benchmarks.source_codec import load_images
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.catalogue import available_lambdas, load_codec
from interfero.codecs.codec import ARCHITECTURES, Codec, Shape, build_model
from interfero.codecs.coding import Coder, SourceCoder, decode, encode, pixel_mse
from interfero.codecs.entropy_coding import coding_setting, pad_to_stride, recorded_symbols
from interfero.codecs.evaluation import (
    MS_SSIM_MIN_SIDE,
    Evaluation,
    EvaluationOptions,
    ms_ssim_of,
    open_evaluation,
)
from interfero.config import Config
from interfero.domains.batches import image_tensor
from interfero.domains.domain import spread
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import BitstreamError, DomainError
from interfero.metrics.rate_distortion import psnr_db

TARGET = Target(">=", 2.0)
MAX_PSNR_DIFFERENCE_DB = 0.02
MAX_RATE_DIFFERENCE_PERCENT = 0.5
"""Means over images of streams decided in integers, against those of float networks."""
NUM_CHANNELS = 64


class EvaluationBenchmark(Config):
    """What to evaluate, and how often."""

    path: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of images, or Parquet file."""
    source: str = "mbt2018-mean"
    """Source codec: a bundled name, a codec file, or a folder of them."""
    rd_lambda: float | None = None
    """Lambda of the source codec; by default its second smallest."""
    max_images: int = Field(default=12, gt=0)
    """Images at most; each source image once before any twice."""
    repeats: int = Field(default=5, gt=0)
    """Times that all images are evaluated; the first pass, uncounted, warms up."""
    processes: int = Field(default=os.cpu_count() or 1, gt=0)
    """Processes of `evaluate`, one thread each."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


@dataclass(frozen=True)
class Measured:
    """One image, evaluated by one side."""

    bpp: float
    """Of the strings alone."""
    psnr_db: float
    ms_ssim: float
    strings: tuple[bytes, ...]
    seconds: float
    """All of the evaluation."""
    coding_seconds: float
    """Of it, the bitstream there and back."""


def evaluate_ours(coder: Coder, pixels_HWC: UInt8Array) -> Measured:
    """As `interfero.codecs.evaluation` measures an image."""
    start = time.perf_counter()
    coded = encode(coder, pixels_HWC)
    decoded = decode(coder, coded.data).pixels_HWC
    coding_seconds = time.perf_counter() - start
    psnr = psnr_db(pixel_mse(decoded, pixels_HWC))
    similarity = ms_ssim_of(decoded, pixels_HWC)
    assert similarity is not None
    seconds = time.perf_counter() - start
    strings = parse_stream(coded.data).strings
    bpp = 8 * sum(map(len, strings)) / pixels_HWC[..., 0].size
    return Measured(bpp, psnr, similarity, strings, seconds, coding_seconds)


def serve_peer(pipe: Connection, source: str, rd_lambda: float) -> None:
    """CompressAI's side, in a process of its own: nothing that interfero sets up helps or harms it."""
    # Importing it sets one thread, as it always runs.
    import torch
    from compressai.utils.eval_model.__main__ import inference

    model: Any = load_codec(source, rd_lambda).model
    # As CompressAI builds it.
    model.to(memory_format=torch.contiguous_format)
    pipe.send(torch.get_num_threads())
    while (pixels_HWC := pipe.recv()) is not None:
        image = torch.from_numpy(pixels_HWC).permute(2, 0, 1).contiguous().float().div(255)
        start = time.perf_counter()
        result = inference(model, image)
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            strings = model.compress(image[None])["strings"]
        pipe.send(
            Measured(
                result["bpp"],
                result["psnr-rgb"],
                result["ms-ssim-rgb"],
                tuple(batch[0] for batch in strings),
                seconds,
                result["encoding_time"] + result["decoding_time"],
            )
        )


def whole_strides(images: Sequence[UInt8Array], stride: int) -> list[UInt8Array]:
    """Images cut to multiples of `stride`; those too small for MS-SSIM are left out."""
    cut = []
    for pixels_HWC in images:
        height, width = (side // stride * stride for side in pixels_HWC.shape[:2])
        if min(height, width) >= MS_SSIM_MIN_SIDE:
            cut.append(np.ascontiguousarray(pixels_HWC[:height, :width]))
    if not cut:
        raise DomainError(
            f"no image has {MS_SSIM_MIN_SIDE} pixels a side when cut to "
            f"multiples of {stride}: name a folder of larger ones"
        )
    return cut


@dataclass(frozen=True)
class Round:
    """All images once."""

    pairs: list[tuple[Measured, Measured]]
    """Ours and theirs, by image."""
    together_seconds: float
    """All of them by `evaluate` and its processes."""


EvaluateAll = Callable[[Sequence[Sample]], Evaluation]


def compare(
    images: Sequence[UInt8Array], coder: Coder, peer: Connection, evaluate_all: EvaluateAll,
    repeats: int, console: Console,
) -> list[Round]:  # fmt: skip
    """Evaluate every image on both sides, one after the other, in changing order, then together."""
    samples = [Sample(f"image {i}", f"image {i}", pixels) for i, pixels in enumerate(images)]

    def theirs(pixels_HWC: UInt8Array) -> Measured:
        peer.send(pixels_HWC)
        measured: Measured = peer.recv()
        return measured

    rounds = []
    for number in track(range(repeats + 1), "evaluating", console=console, transient=True):
        pairs: list[tuple[Measured, Measured]] = []
        for index, pixels_HWC in enumerate(images):
            if (number + index) % 2:
                first = theirs(pixels_HWC)
                pairs.append((evaluate_ours(coder, pixels_HWC), first))
            else:
                pairs.append((evaluate_ours(coder, pixels_HWC), theirs(pixels_HWC)))
        start = time.perf_counter()
        together = evaluate_all(samples)
        rounds.append(Round(pairs, time.perf_counter() - start))
        check_same(together, [ours for ours, _ in pairs])
    return rounds[1:]


def check_same(together: Evaluation, alone: Sequence[Measured]) -> None:
    """Several processes must give the numbers of one.

    Raises:
        BitstreamError: they do not.
    """
    for image, measured in zip(together.images, alone, strict=True):
        if (image.psnr_db, image.ms_ssim) != (measured.psnr_db, measured.ms_ssim):
            raise BitstreamError(f"{image.name} differs from what one process measured")


def differences(pairs: Sequence[tuple[Measured, Measured]]) -> dict[str, dict[str, float]]:
    """Ours minus theirs: the mean over images, and the one that is largest by size."""
    by_image = {
        "rate_percent": [100 * (a.bpp / b.bpp - 1) for a, b in pairs],
        "psnr_db": [a.psnr_db - b.psnr_db for a, b in pairs],
        "ms_ssim": [a.ms_ssim - b.ms_ssim for a, b in pairs],
    }
    return {
        name: {"mean": statistics.mean(values), "largest": max(values, key=abs)}
        for name, values in by_image.items()
    }


def num_other_strings(
    codec: Codec, images: Sequence[UInt8Array], theirs: Sequence[Measured]
) -> int:
    """Images of which our coder, with the codec's float networks, makes other strings than CompressAI."""
    model: Any = codec.model
    found = 0
    for pixels_HWC, their in zip(images, theirs, strict=True):
        # `whole_strides` has cut it: nothing is added.
        with coding_setting(), recorded_symbols([model]):
            strings = model.compress(pad_to_stride(image_tensor(pixels_HWC), codec.stride))[
                "strings"
            ]
        found += tuple(batch[0] for batch in strings) != their.strings
    return found


def speeds(rounds: Sequence[Round]) -> dict[str, object]:
    """Images a second on both sides and their ratio: medians over rounds."""
    figures: dict[str, object] = {}
    for what in ("seconds", "coding_seconds"):
        totals = [[sum(getattr(p[s], what) for p in r.pairs) for s in (0, 1)] for r in rounds]
        figures[what] = _speed([t[0] for t in totals], [t[1] for t in totals], len(rounds[0].pairs))
    theirs = [sum(their.seconds for _, their in r.pairs) for r in rounds]
    together = [r.together_seconds for r in rounds]
    figures["together_seconds"] = _speed(together, theirs, len(rounds[0].pairs))
    return figures


def _speed(ours: Sequence[float], theirs: Sequence[float], num_images: int) -> dict[str, object]:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ours_images_per_second": num_images / statistics.median(ours),
        "compressai_images_per_second": num_images / statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def architecture_speeds(pixels_HWC: UInt8Array, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds to code one image there and back by each architecture, CompressAI's way and ours.

    The codecs are untrained, with `NUM_CHANNELS` throughout: what is coded is short, the time is not.
    """
    import torch

    figures = {}
    for architecture in ARCHITECTURES:
        model: Any = build_model(Shape(architecture, NUM_CHANNELS, NUM_CHANNELS)).eval()
        model.update(force=True)
        # CompressAI's model, in its memory format.
        plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        image = pad_to_stride(image_tensor(pixels_HWC), int(model.downsampling_factor))
        seconds: dict[str, list[float]] = {"ours": [], "compressai": []}
        strings = {}
        for _ in range(repeats + 1):
            with coding_setting():
                for side, coder in (("ours", model), ("compressai", plain)):
                    with recorded_symbols([model] if side == "ours" else [], exact=side == "ours"):
                        start = time.perf_counter()
                        output = coder.compress(image)
                        coder.decompress(output["strings"], output["shape"])
                    seconds[side].append(time.perf_counter() - start)
                    strings[side] = output["strings"]
        # Ours are decided in integers; by the same float networks they are CompressAI's, bit for bit.
        with coding_setting(), recorded_symbols([model]):
            same = model.compress(image)["strings"] == strings["compressai"]
        if not same:
            raise BitstreamError(f"{architecture}: strings differ from CompressAI's")
        medians = {side: statistics.median(values[1:]) for side, values in seconds.items()}
        figures[architecture] = medians | {"ratio": medians["compressai"] / medians["ours"]}
    return figures


def architecture_table(speeds_by_name: dict[str, dict[str, float]]) -> Table:
    """A row an architecture."""
    table = Table(caption=f"compress and decompress, N = M = {NUM_CHANNELS}, untrained")
    for heading in ("architecture", "CompressAI s", "interfero s", "ratio"):
        table.add_column(heading, justify="left" if heading == "architecture" else "right")
    for name, row in speeds_by_name.items():
        table.add_row(name, f"{row['compressai']:.3f}", f"{row['ours']:.3f}", f"{row['ratio']:.2f}")
    return table


def main() -> None:
    """Command line."""
    command = tyro.cli(EvaluationBenchmark, description=__doc__)
    console = Console()
    lambdas = available_lambdas(command.source)
    rd_lambda = command.rd_lambda or lambdas[min(1, len(lambdas) - 1)]
    codec = load_codec(command.source, rd_lambda)
    name, found, _ = load_images(command.path)
    usable = [
        s
        for s in found
        if min(s.pixels_HWC.shape[:2]) // codec.stride * codec.stride >= MS_SSIM_MIN_SIDE
    ]
    chosen = spread(usable, command.max_images)
    images = whole_strides([s.pixels_HWC for s in chosen], codec.stride)
    console.print(
        f"{len(images)} images of {name}, cut to multiples of {codec.stride} pixels; "
        f"{command.source}, lambda {rd_lambda:g}"
    )
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=serve_peer, args=(there, command.source, rd_lambda), daemon=True
    )
    process.start()
    options = EvaluationOptions(
        max_tile=max(s for i in images for s in i.shape[:2]), estimate=False
    )
    with closing(here), open_evaluation(codec, options, None, command.processes) as evaluate_all:
        threads = here.recv()
        coder = SourceCoder(codec)
        rounds = compare(images, coder, here, evaluate_all, command.repeats, console)
        here.send(None)
    process.join()
    others = num_other_strings(codec, images, [their for _, their in rounds[-1].pairs])
    by_architecture = architecture_speeds(images[0][:256, :256], command.repeats)
    console.print(architecture_table(by_architecture))
    header = 8 * statistics.mean(
        _header_bytes(SourceCoder(codec), i) / i[..., 0].size for i in images
    )
    extra = {
        "header_bpp": header,
        "images_of_other_strings": others,
        "compressai_threads": threads,
        "processes": command.processes,
        "architectures": by_architecture,
    }
    report(rounds, extra, command.json_path, console)


def _header_bytes(coder: Coder, pixels_HWC: UInt8Array) -> int:
    data = encode(coder, pixels_HWC).data
    return len(data) - sum(map(len, parse_stream(data).strings))


def report(
    rounds: Sequence[Round], extra: dict[str, Any], json_path: Path | None, console: Console
) -> None:
    """Differences, speeds, and the last line."""
    pairs = rounds[-1].pairs
    different, speed, others = differences(pairs), speeds(rounds), extra["images_of_other_strings"]
    console.print(
        f"with CompressAI's float networks: other strings in {others} of {len(pairs)} images\n"
        "decided in integers, mean (largest) of an image: "
        + ", ".join(
            f"{label} {different[name]['mean']:+.2g}{unit} ({different[name]['largest']:+.2g})"
            for name, label, unit in (
                ("rate_percent", "rate of the strings", " %"),
                ("psnr_db", "PSNR", " dB"),
                ("ms_ssim", "MS-SSIM", ""),
            )
        )
    )
    console.print(
        f"the container adds {extra['header_bpp']:.4f} bpp, which CompressAI does not count"
    )
    for what, label in (
        ("coding_seconds", "coding alone"),
        ("seconds", "coding and measuring"),
        ("together_seconds", f"coding and measuring, {extra['processes']} processes"),
    ):
        row: Any = speed[what]
        console.print(
            f"{label}: {row['ours_images_per_second']:.2f} images a second, CompressAI "
            f"{row['compressai_images_per_second']:.2f}; {row['ratio']:.2f} times as many "
            f"({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
        )
    near = (
        abs(different["rate_percent"]["mean"]) <= MAX_RATE_DIFFERENCE_PERCENT
        and abs(different["psnr_db"]["mean"]) <= MAX_PSNR_DIFFERENCE_DB
    )
    reason = "strings differ from CompressAI's" if others else "" if near else "the numbers differ"
    whole: Any = speed["together_seconds"]
    figures = {
        "differences": different,
        "speeds": speed,
        "images": [
            [{k: v for k, v in asdict(m).items() if k != "strings"} for m in pair] for pair in pairs
        ],
    } | extra
    ok = not reason and TARGET.met(whole["ratio"])
    finish("evaluation_speed", whole["ratio"], "x", TARGET, ok, figures, json_path, reason=reason)


if __name__ == "__main__":
    run(main)
