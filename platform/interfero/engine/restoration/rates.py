"""Codecs at asked rates: what copies are made with, found before anything is trained."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from interfero.codecs.compressed import Compression
from interfero.codecs.lossy import LossyClassical, LossyCodec, LossyLearned, Setting
from interfero.domains.domain import spread
from interfero.domains.labelled import LabelledDomain
from interfero.engine.packs import Pack
from interfero.engine.restoration.nodes import Copied
from interfero.engine.restoration.plan import RestorationPlan
from interfero.errors import CodecError
from interfero.store.products import Products

FEW_IMAGES = 4
"""That are coded to see whether a rate is out of reach; the search has the last word."""


def compression_of(
    step: Copied, codec: LossyCodec, domain: LabelledDomain, folder: Path
) -> Compression:
    """A step's codec at its rate, matched on the domain's training images."""
    return Compression(codec, step.rate_bpp, domain.train, folder, step.code)


def settings_folder(products: Products) -> Path:
    """Where settings are kept, for all copies of a storage."""
    return products.settings()


def refuse_rates(
    plan: RestorationPlan, packs: Iterable[Pack], products: Products, *, keep: bool
) -> None:
    """Refuse rates that a look at a few images says to be out of reach, before anything that takes a while.

    Args:
        plan: The sweep.
        packs: What is still to be done of it.
        products: Of the storage.
        keep: As in `match_rates`.

    Raises:
        CodecError: as `match_rates`.
    """
    with _folder(products, keep=keep) as folder:
        wanted = _wanted(plan, packs, Path(folder))
        places = {(step.originals.domain, step.codec) for step, _ in wanted}
        reach = {(d, c): _reach(plan.codecs[c], plan.domains[d]) for d, c in places}
        _match(
            (step, own)
            for step, own in wanted
            if not reach[step.originals.domain, step.codec].holds(step.rate_bpp)
        )


def match_rates(
    plan: RestorationPlan, packs: Iterable[Pack], products: Products, *, keep: bool
) -> None:
    """Find the setting of every codec and rate that copies are still to be made at.

    Args:
        plan: The sweep.
        packs: What is still to be done of it.
        products: Of the storage. What is found is kept there, and workers search no more.
        keep: Off for a plan that is only shown: nothing is written into the storage. What it searches is in
            the node's cache afterwards, where the sweep finds it.

    Raises:
        CodecError: names each codec that does not reach a rate, and what it does reach.
        StorageError: the storage cannot be written.
    """
    with _folder(products, keep=keep) as folder:
        _match(_wanted(plan, packs, Path(folder)))


def _folder(products: Products, *, keep: bool) -> AbstractContextManager[Path | str]:
    return nullcontext(settings_folder(products)) if keep else tempfile.TemporaryDirectory()


def _wanted(
    plan: RestorationPlan, packs: Iterable[Pack], folder: Path
) -> list[tuple[Copied, Compression]]:
    """Each domain, codec and rate that copies are still to be made at, once."""
    steps = {
        (node.originals.domain, node.codec, node.rate_bpp): node
        for pack in packs
        for node in pack.nodes
        if isinstance(node, Copied)
    }
    wanted = (
        (step, compression_of(step, plan.codecs[codec], plan.domains[domain], folder))
        for (domain, codec, _), step in steps.items()
    )
    return [(step, replace(compression, asks_node=True)) for step, compression in wanted]


def _match(wanted: Iterable[tuple[Copied, Compression]]) -> None:
    problems = []
    for step, compression in wanted:
        try:
            compression.setting()
        except CodecError as error:
            problems.append(f"--rates {step.rate_bpp:g} on {step.originals.domain}: {error}")
    if problems:
        raise CodecError("\n".join(problems))


@dataclass(frozen=True)
class _Reach:
    """Rates that a codec has at its extreme settings, on a few images; none if these are not known."""

    rates_bpp: tuple[float, ...]

    def holds(self, rate_bpp: float) -> bool:
        """Whether a rate lies between them."""
        return not self.rates_bpp or min(self.rates_bpp) <= rate_bpp <= max(self.rates_bpp)


def _reach(codec: LossyCodec, domain: LabelledDomain) -> _Reach:
    images = [sample.pixels_HWC for sample in spread(domain.train, FEW_IMAGES)]

    def mean_bpp(value: float) -> float:
        sizes = [codec.transcode(image, Setting(value, 0.0, 0.0)).num_bytes for image in images]
        pixels = [image.shape[0] * image.shape[1] for image in images]
        return statistics.fmean(8 * size / count for size, count in zip(sizes, pixels, strict=True))

    return _Reach(tuple(map(mean_bpp, _extremes(codec))))


def _extremes(codec: LossyCodec) -> list[float]:
    """Qualities or lambdas; none of a codec that has another kind of setting."""
    if isinstance(codec, LossyLearned):
        return [min(codec.sources), max(codec.sources)]
    if isinstance(codec, LossyClassical):
        regimes = codec.codec.regimes or {"": codec.codec.qualities}
        return [float(r[end]) for r in regimes.values() for end in (0, -1)]
    return []
