"""One build's side of `coding.py`: for each number it reads, it codes and decodes all squares with that job.

It uses only what both builds have, and runs from a checkout's environment with that checkout on its path.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class Job:
    """A bundled codec, or an untrained one of as many channels throughout."""

    source: str
    rd_lambda: float
    num_channels: int | None

    @property
    def name(self) -> str:
        """Of the table's row."""
        return self.source if self.num_channels is None else f"{self.source} N={self.num_channels}"


LARGE = 64
"""Channels from which a codec codes one square only."""


def main(folder: Path) -> None:
    """Serve until the input ends."""
    from interfero.codecs.bitstream import parse_stream
    from interfero.codecs.catalogue import load_codec
    from interfero.codecs.checkpoint import freeze_codec
    from interfero.codecs.codec import Shape, build_model
    from interfero.codecs.coding import SourceCoder, decode, encode

    torch.set_num_threads(1)
    images = np.load(folder / "images.npy")
    coders = []
    for job in (Job(**fields) for fields in json.loads((folder / "jobs.json").read_text())):
        if job.num_channels is None:
            coders.append((SourceCoder(load_codec(job.source, job.rd_lambda)), images))
            continue
        torch.manual_seed(0)
        shape = Shape(job.source, job.num_channels, job.num_channels)
        codec = freeze_codec(build_model(shape), shape, job.rd_lambda, job.name, {"origin": "-"})
        coders.append((SourceCoder(codec), images[:1] if job.num_channels >= LARGE else images))
    for line in sys.stdin:
        coder, chosen = coders[int(line)]
        size, start = 0, time.process_time()
        for pixels_HWC in chosen:
            data = encode(coder, pixels_HWC).data
            decode(coder, data)
            size += sum(map(len, parse_stream(data).strings))
        print(json.dumps({"cpu_s": time.process_time() - start, "bytes": size}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
