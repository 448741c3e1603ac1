"""Codecs at asked rates: what copies are made with, found before anything is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from interfero.codecs.compressed import Compression
from interfero.codecs.lossy import LossyCodec
from interfero.domains.labelled import LabelledDomain
from interfero.engine.packs import Pack
from interfero.engine.restoration.nodes import Copied
from interfero.engine.restoration.plan import RestorationPlan
from interfero.errors import CodecError
from interfero.store.products import Products


def compression_of(
    step: Copied, codec: LossyCodec, domain: LabelledDomain, folder: Path
) -> Compression:
    """A step's codec at its rate, matched on the domain's training images."""
    return Compression(codec, step.rate_bpp, domain.train, folder, step.code)


def settings_folder(products: Products) -> Path:
    """Where settings are kept, for all copies of a storage."""
    return products.settings()


def match_rates(
    plan: RestorationPlan, packs: Iterable[Pack], products: Products, *, keep: bool
) -> None:
    """Find the setting of every codec and rate that copies are still to be made at.

    Args:
        plan: The sweep.
        packs: What is still to be done of it.
        products: Of the storage. What is found is kept there, and workers search no more.
        keep: Off for a plan that is only shown: nothing is written, and all is searched.

    Raises:
        CodecError: names each codec that does not reach a rate, and what it does reach.
        StorageError: the storage cannot be written.
    """
    steps: dict[tuple[str, str, float], Copied] = {}
    for pack in packs:
        for node in pack.nodes:
            if isinstance(node, Copied):
                steps[node.originals.domain, node.codec, node.rate_bpp] = node
    problems = []
    where: AbstractContextManager[Path | str] = (
        nullcontext(settings_folder(products)) if keep else tempfile.TemporaryDirectory()
    )
    with where as folder:
        for (domain, codec, _), step in steps.items():
            compression = compression_of(
                step, plan.codecs[codec], plan.domains[domain], Path(folder)
            )
            try:
                compression.setting()
            except CodecError as error:
                problems.append(f"--rates {step.rate_bpp:g} on {domain}: {error}")
    if problems:
        raise CodecError("\n".join(problems))
