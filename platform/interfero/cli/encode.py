"""`interfero encode`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from interfero.cli.options import Adapters, Lambda, check_there
from interfero.option_help import Said

if TYPE_CHECKING:
    from interfero.adaptation.deployment import CodedCandidate

Mode = Literal["source", "target", "auto"]


def encode(
    image: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Lambda = None,
    adapter: Adapters = (),
    mode: Said[Mode | None] = None,
) -> None:
    """Code an image to a bitstream.

    Args:
        image: An image file.
        out: The bitstream to write.
        source: Source codec: bundled NAME, file, folder, compressai:NAME, or a PyTorch checkpoint of
            CompressAI, as FILE or FILE@LAMBDA.
        rd_lambda: Lambda of its weights; the default is the only one available, or 0.013.
        adapter: Adapter file; may be given several times. A target-mode stream needs it for decoding too.
        mode: `source` uses only the source codec, `target` the adapter; `auto` keeps the cheaper of both
            by bpp + lambda * mse. The default is `target` with an adapter, `source` without.
    """
    check_there(source, rd_lambda, adapter, image)
    from interfero.adaptation.deployment import Deployment
    from interfero.api import read_image
    from interfero.codecs.bitstream import parse_stream
    from interfero.codecs.catalogue import is_checkpoint
    from interfero.metrics.rate_distortion import psnr_db
    from interfero.store.files import write_atomic

    deployment = Deployment.load(source, rd_lambda, adapter)
    chosen = mode or ("target" if adapter else "source")
    for note in deployment.source.card["notes"] if is_checkpoint(source) else ():
        sys.stdout.write(f"  {note}\n")
    counts: Counter[str] = Counter()
    candidates = deployment.candidates(read_image(image, counts), chosen)
    for what, number in sorted(counts.items()):
        sys.stdout.write(f"  {number} x {what}\n")
    kept = min(candidates, key=lambda c: c.rd_loss)
    write_atomic(out, kept.data)
    for candidate in candidates if len(candidates) > 1 else ():
        sys.stdout.write(f"  {_way(candidate)}: loss {candidate.rd_loss:.4f}\n")
    header = len(kept.data) - sum(map(len, parse_stream(kept.data).strings))
    sys.stdout.write(
        f"{out}: {len(kept.data)} bytes ({header} of them header), {kept.bpp:.4f} bpp, "
        f"{psnr_db(kept.mse):.2f} dB, {_way(kept)}\n"
    )


def _way(candidate: CodedCandidate) -> str:
    if candidate.adapter_id is None:
        return "source mode"
    return f"target mode, adapter {candidate.adapter_id.hex()}"
