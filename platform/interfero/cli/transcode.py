"""`interfero transcode`."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from interfero.cli.options import Adapters, Lambda, check_there, read_stream


def transcode(
    stream: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    source: str = "mbt2018-mean",
    rd_lambda: Lambda = None,
    adapter: Adapters = (),
) -> None:
    """Rewrite an old bitstream so that it decodes on any machine. Run this where it still decodes.

    Args:
        stream: A bitstream of version 2, on a machine where `interfero decode` shows the right picture.
        out: The bitstream to write, of version 3.
        source: The source codec it was coded with.
        rd_lambda: Lambda of its weights; the default is the only one available, or 0.013.
        adapter: An adapter it may have been coded with; may be given several times.
    """
    check_there(source, rd_lambda, adapter)
    old = read_stream(stream)
    import numpy as np

    from interfero.adaptation.deployment import Deployment
    from interfero.codecs.bitstream import parse_stream
    from interfero.store.files import write_atomic

    deployment = Deployment.load(source, rd_lambda, adapter)
    data, before = deployment.transcode(old)
    after = deployment.decode(data, guarded=False)
    write_atomic(out, data)
    difference = np.abs(before.astype(int) - after.astype(int)).max()
    sys.stdout.write(
        f"{out}: {len(data)} bytes from {len(old)}, version {parse_stream(data).version}; its picture "
        f"differs from the old one's by {difference} of 255 levels at most\n"
    )
