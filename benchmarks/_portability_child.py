"""One setting of `portability.py`, in a process of its own.

    python benchmarks/_portability_child.py encode FOLDER
    python benchmarks/_portability_child.py decode FOLDER OUT.json THREADS BATCH FORMAT

FOLDER holds `jobs.json` and `images.npz`. `encode` writes the streams of every job, and what they decode
to where they were coded; `decode` says what they decode to here. Instruction sets come in the environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.catalogue import load_codec
from interfero.codecs.coding import Coder, SourceCoder, decode, encode, to_pixels
from interfero.codecs.entropy_coding import coding_setting, pad_to_stride, recorded_symbols
from interfero.domains.batches import image_tensor
from interfero.errors import InterferoError

NOISE = 0.01
"""Added to every parameter of an untrained adapter, so that its target mode differs from the source."""


@dataclass(frozen=True)
class Job:
    """A codec, or an adapted codec in target mode, that codes every image."""

    source: str
    rd_lambda: float
    method: str | None
    exact: bool = True
    """False: CompressAI's own networks and strings, the peer."""

    @property
    def name(self) -> str:
        """Of the folder and the table's row."""
        way = "compressai" if not self.exact else self.method or "source"
        return f"{self.source}-{self.rd_lambda:g}-{way}"

    def coder(self, folder: Path) -> Coder:
        """Read or, at first use, make what codes."""
        codec = load_codec(self.source, self.rd_lambda)
        if self.method is None:
            return SourceCoder(codec)
        path, size = folder / f"{self.name}.safetensors", _size(self.method)
        if not path.exists():
            adapted = METHODS[self.method].build(codec, size, 0)
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for parameter in adapted.parameters():
                    parameter += NOISE * torch.randn(parameter.shape, generator=generator)
            # Of a method that trains nothing: a few steps per picture.
            METHODS[self.method].settle(adapted, 0.1, 5)
            adapted.refresh_tables()
            save_adapter(adapted, path, method=self.method, adapter_size=size, record={})
        return load_adapter(path, codec)[0]


def _size(method: str) -> int:
    return 1 if METHODS[method].size_unit else 0


def read_jobs(folder: Path) -> list[Job]:
    """What `portability.py` wrote."""
    return [Job(**job) for job in json.loads((folder / "jobs.json").read_text())]


def encode_all(folder: Path) -> None:
    """Streams, symbols and pictures of every job, one file a job."""
    images = np.load(folder / "images.npz")["images"]
    for job in read_jobs(folder):
        file = folder / f"{job.name}.npz"
        if file.exists():  # Of a run that was cut.
            continue
        coder, kept = job.coder(folder), {}
        for i, pixels in enumerate(images):
            if job.exact:
                coded = encode(coder, pixels)
                strings, symbols = parse_stream(coded.data).strings, coded.symbols
                picture = decode(coder, coded.data).pixels_HWC
            else:
                strings, symbols, picture = _peer(coder, pixels)
            kept[f"picture_{i}"] = picture
            for k, (string, values) in enumerate(zip(strings, symbols, strict=True)):
                kept[f"string_{i}_{k}"] = np.frombuffer(string, np.uint8)
                kept[f"symbols_{i}_{k}"] = np.array(values, np.int32)
        unfinished = file.with_name(f"{job.name}.partial.npz")
        np.savez(unfinished, **kept)
        unfinished.replace(file)


def _peer(coder: Coder, pixels: np.ndarray) -> tuple[list[bytes], list[list[int]], np.ndarray]:
    model: Any = coder.model
    with coding_setting(), recorded_symbols(coder.roots) as recorded:
        output = model.compress(pad_to_stride(image_tensor(pixels), coder.stride))
        x_hat = model.decompress(output["strings"], output["shape"])["x_hat"]
        height, width = pixels.shape[:2]
        picture = to_pixels(x_hat[0, :, :height, :width])
    symbols = [latent.tolist() for latent in recorded.coded]
    return [batch[0] for batch in output["strings"]], symbols, picture


def decode_all(folder: Path, threads: int, batch: int, channels_last: bool) -> dict[str, Any]:
    """By job: images broken (other symbols), refused, and more than a level apart."""
    images = np.load(folder / "images.npz")["images"]
    results = {}
    for job in read_jobs(folder):
        coder, kept = job.coder(folder), np.load(folder / f"{job.name}.npz")
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for root in (coder.model, *coder.roots):
            root.to(memory_format=layout)  # type: ignore[call-overload]
        result = {"images": len(images), "broken": 0, "refused": 0, "apart": 0, "levels": 0}
        for start in range(0, len(images), batch):
            numbers = range(start, min(start + batch, len(images)))
            _decode_batch(job, coder, kept, numbers, threads, images.shape[1:3], result)
        results[job.name] = result
    return results


def _decode_batch(
    job: Job, coder: Coder, kept: Any, numbers: Sequence[int], threads: int,
    size: tuple[int, int], result: dict[str, int],
) -> None:  # fmt: skip
    latents = sum(name.startswith(f"string_{numbers[0]}_") for name in kept.files)
    strings = [[kept[f"string_{i}_{k}"].tobytes() for i in numbers] for k in range(latents)]
    shape = torch.Size(-(-side // coder.stride) for side in size)
    model: Any = coder.model
    roots = (coder.model, *coder.roots)
    try:
        with coding_setting(), recorded_symbols(roots, exact=job.exact) as recorded:
            # Past the setting that coding has otherwise: exact symbols need none.
            torch.set_num_threads(threads)
            x_hat = model.decompress(strings, shape)["x_hat"]
    except InterferoError:
        result["refused"] += len(numbers)
        return
    for place, i in enumerate(numbers):
        found = [s.tolist() for s in recorded.decoded[place :: len(numbers)]]
        coded = [kept[f"symbols_{i}_{k}"].tolist() for k in range(latents)]
        result["broken"] += found != coded
        picture = to_pixels(x_hat[place, :, : size[0], : size[1]])
        levels = int(np.abs(picture.astype(int) - kept[f"picture_{i}"]).max())
        result["apart"] += levels > 1
        result["levels"] = max(result["levels"], levels)


def main(arguments: Sequence[str]) -> None:
    """Do what the parent asked."""
    action, folder, *rest = arguments
    if action == "encode":
        encode_all(Path(folder))
        return
    out, threads, batch, memory_format = rest
    torch.set_num_threads(int(threads))
    results = decode_all(Path(folder), int(threads), int(batch), memory_format == "channels_last")
    versions = {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    Path(out).write_text(json.dumps({"jobs": results} | versions))


if __name__ == "__main__":
    main(sys.argv[1:])
