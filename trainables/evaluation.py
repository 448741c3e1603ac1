"""What a cell is measured by: the saved adapter, reloaded from its file onto a fresh source codec.

Nothing of the training process is used: the adapter file and the source codec are read from disk again,
so that what is reported is what another machine would get.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from interfero.adaptation import load_adapter
from interfero.adaptation.method import AdaptedCodec, Mode
from interfero.analysis.reconstructions import (
    Reconstruction,
    ranked,
    save_reconstructions,
)
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.codec import Codec
from interfero.codecs.coding import (
    Coded,
    Coder,
    Decoded,
    ImageScore,
    SourceCoder,
    decode,
    decode_unchecked,
    encode,
    mean_score,
    pixel_mse,
    score_estimated,
)
from interfero.codecs.domain_distance import DomainDistance, domain_distance
from interfero.codecs.evaluation_store import (
    Entry,
    EvaluationKey,
    EvaluationStore,
    codec_identity,
)
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, UInt8Array
from interfero.engine.cells import Cell, ImageRow
from interfero.engine.timing import megapixels
from interfero.errors import BitstreamError, DecoderLostError
from interfero.metrics.forgetting import (
    exact_fraction,
    forgetting,
    percent,
    psnr_drop_db,
    rd_gain,
)
from interfero.metrics.rate_distortion import psnr_db
from trainables.timing import EvaluationTime


@dataclass(frozen=True)
class Reference:
    """One image as the source codec codes it."""

    sample: Sample
    coded: Coded
    decoded: Decoded
    score: ImageScore


@dataclass(frozen=True)
class Result:
    """What an evaluation gives to the record."""

    metrics: dict[str, float]
    images: tuple[ImageRow, ...]
    time: EvaluationTime


class Workbench:
    """What stays loaded between the cells of a block: codec, domains, the source codec's results."""

    def __init__(
        self,
        codec: Codec,
        reload_codec: Callable[[], Codec],
        target: Domain,
        source: Domain,
        store: EvaluationStore | None = None,
    ) -> None:
        """Keep them; references are computed at first use.

        Args:
            codec: The source codec, for coding.
            reload_codec: Reads it from disk again, past every cache.
            target: The domain to adapt to.
            source: The domain whose images may get worse.
            store: Where the source codec's results are kept, for every block and sweep that
                needs them.
        """
        self.codec = codec
        self.reload_codec = reload_codec
        self.target = target
        self.source = source
        self.source_seconds = 0.0
        """Spent on the source codec's results, those that were kept left out."""
        self.source_megapixels = 0.0
        """What they were computed on."""
        self._store = store
        self._training_codec: Codec | None = None
        self._references: dict[tuple[str, int], tuple[Reference, ...]] = {}
        self._estimates: dict[tuple[str, int], list[ImageScore]] = {}
        self._distance: DomainDistance | None = None

    @property
    def distance(self) -> DomainDistance:
        """Of the target from the source domain, as the source codec sees it."""
        if self._distance is None:
            self._distance = domain_distance(self.codec, self.target, self.source)
        return self._distance

    def training_codec(self, device: torch.device) -> Codec:
        """A replica on a device, in the memory format that trains fastest; never codes."""
        if self._training_codec is None:
            model = copy.deepcopy(self.codec.model)
            to_channels_last(model, device)
            shape, rd_lambda, name = self.codec.shape, self.codec.rd_lambda, self.codec.name
            self._training_codec = Codec(shape, rd_lambda, name, model)
        return self._training_codec

    def references(self, domain: Domain, limit: int) -> tuple[Reference, ...]:
        """The domain's test images as the source codec codes them, at most `limit`."""
        key = (domain.fingerprint, limit)
        if key not in self._references:
            identity, coder = codec_identity(self.codec), SourceCoder(self.codec)
            samples = spread(domain.test, limit)
            self._references[key] = tuple(
                _reference(s, self._kept(identity, "reference", s, partial(_coded_entry, coder)))
                for s in samples
            )
        return self._references[key]

    def validation(self, domain: Domain, data_seed: int) -> tuple[Sample, ...]:
        """Validation images of a data seed."""
        return domain.split(1, data_seed).validation

    def estimates(self, domain: Domain, data_seed: int) -> list[ImageScore]:
        """The source codec's estimated scores on validation images."""
        key = (domain.fingerprint, data_seed)
        if key not in self._estimates:
            identity, coder = codec_identity(self.codec), SourceCoder(self.codec)
            samples = self.validation(domain, data_seed)
            self._estimates[key] = [
                _estimate(s, self._kept(identity, "estimate", s, partial(_estimated_entry, coder)))
                for s in samples
            ]
        return self._estimates[key]

    def _kept(
        self, identity: str, kind: str, sample: Sample, compute: Callable[[Sample], Entry]
    ) -> Entry:
        def timed() -> Entry:
            started = time.perf_counter()
            entry = compute(sample)
            self.source_seconds += time.perf_counter() - started
            self.source_megapixels += megapixels([sample])
            return entry

        if self._store is None:
            return timed()
        return self._store.fetch(EvaluationKey(identity, sample.digest, {"kind": kind}), timed)


def evaluate(cell: Cell, bench: Workbench, adapter_path: Path, sample_path: Path) -> Result:
    """Measure a saved adapter on target and source, routed and unrouted, and on old bitstreams."""
    source_seconds, source_megapixels = bench.source_seconds, bench.source_megapixels
    adapted, _ = load_adapter(adapter_path, bench.reload_codec())
    target = bench.references(bench.target, cell.loop.max_target_images)
    source = bench.references(bench.source, cell.loop.max_source_images)
    rd_lambda = cell.block.rd_lambda
    detaches = adapted.frozen_source_state() is not None
    on_target, pictures = _through_target_mode(adapted, target)
    unrouted, source_pictures = _through_target_mode(adapted, source)
    exact: dict[str, float] = {}
    routed = unrouted
    if detaches:
        routed, exact = through_source_mode(adapted, source)
    before = _before_validation(cell, bench)
    started = time.perf_counter()
    validated = _validation_metrics(cell, bench, adapted, before, detaches=detaches)
    validation_seconds = time.perf_counter() - started
    metrics = {
        **_target_metrics([r.score for r in target], on_target, rd_lambda, switches=detaches),
        **_source_metrics([r.score for r in source], routed, unrouted, rd_lambda),
        **validated,
        **_old_bitstreams(adapted, source, "source" if detaches else "target"),
    }
    metrics |= bench.distance.metrics
    metrics["bitstream/rate_error_percent"] = _rate_error(adapted, target, on_target)
    target_rows = _rows("target", target, on_target, rd_lambda)
    unrouted_rows = _rows("source_unrouted", source, unrouted, rd_lambda)
    rows = [*target_rows, *_rows("source", source, routed, rd_lambda), *unrouted_rows]
    shown = _shown("target", target_rows, target, pictures)
    shown += _shown("source_unrouted", unrouted_rows, source, source_pictures)
    save_reconstructions(sample_path, shown)
    seed = cell.block.data_seed
    time_spent = EvaluationTime(
        validation_seconds=validation_seconds,
        reference_seconds=bench.source_seconds - source_seconds,
        coded_megapixels=megapixels([r.sample for r in (*target, *source)]),
        validated_megapixels=sum(
            megapixels(bench.validation(domain, seed)) for domain in (bench.target, bench.source)
        ),
        reference_megapixels=bench.source_megapixels - source_megapixels,
    )
    return Result(metrics | exact, tuple(rows), time_spent)


def through_source_mode(
    adapted: AdaptedCodec, references: Sequence[Reference]
) -> tuple[list[ImageScore], dict[str, float]]:
    """Code source images in source mode, and compare with the source codec byte by byte.

    Returns:
        Scores in source mode, and the shares of images whose bytes and whose pixels are the source
        codec's own.
    """
    adapted.mode = "source"
    scores, byte_pairs, pixel_pairs = [], [], []
    for reference in references:
        coded = encode(adapted, reference.sample.pixels_HWC)
        pixels = decode(adapted, coded.data).pixels_HWC
        scores.append(_score(reference.sample, coded, pixels))
        byte_pairs.append((coded.data, reference.coded.data))
        pixel_pairs.append((pixels.tobytes(), reference.decoded.pixels_HWC.tobytes()))
    adapted.mode = "target"
    exact = {
        "source_mode/bytes_exact": exact_fraction(byte_pairs),
        "source_mode/pixels_exact": exact_fraction(pixel_pairs),
    }
    return scores, exact


def _coded_entry(coder: Coder, sample: Sample) -> Entry:
    """One image coded and decoded."""
    coded = encode(coder, sample.pixels_HWC)
    decoded = decode(coder, coded.data)
    return Entry({}, (coded.data,), coded.symbols, decoded.symbols, decoded.pixels_HWC)


def _reference(sample: Sample, entry: Entry) -> Reference:
    coded = Coded(entry.streams[0], entry.symbols)
    decoded = Decoded(entry.picture(), entry.decoded_symbols)
    return Reference(sample, coded, decoded, _score(sample, coded, decoded.pixels_HWC))


def _estimated_entry(coder: Coder, sample: Sample) -> Entry:
    score = score_estimated(coder, sample)
    return Entry({"bpp": score.bpp, "mse": score.mse})


def _estimate(sample: Sample, entry: Entry) -> ImageScore:
    """The numbers under the sample's present name: the store knows it by content."""
    return ImageScore(sample.name, sample.group, entry.number("bpp"), entry.number("mse"))


def _score(sample: Sample, coded: Coded, pixels: UInt8Array) -> ImageScore:
    height, width = sample.pixels_HWC.shape[:2]
    bpp = 8 * len(coded.data) / (height * width)
    return ImageScore(sample.name, sample.group, bpp, pixel_mse(pixels, sample.pixels_HWC))


def _through_target_mode(
    adapted: AdaptedCodec, references: Sequence[Reference]
) -> tuple[list[ImageScore], list[UInt8Array]]:
    """Code the references' images with the custom parameters on."""
    scores, pictures = [], []
    for reference in references:
        coded = encode(adapted, reference.sample.pixels_HWC)
        pixels = decode(adapted, coded.data).pixels_HWC
        scores.append(_score(reference.sample, coded, pixels))
        pictures.append(pixels)
    return scores, pictures


def _target_metrics(
    before: Sequence[ImageScore],
    after: Sequence[ImageScore],
    rd_lambda: float,
    *,
    switches: bool,
) -> dict[str, float]:
    old, new = mean_score(before, rd_lambda), mean_score(after, rd_lambda)
    gain = rd_gain(old["rd_loss"], new["rd_loss"])
    metrics = {
        **{f"target/{name}": value for name, value in new.items()},
        **{f"target/{name}_before": value for name, value in old.items()},
        "target/rd_gain": gain,
        "target/rd_gain_percent": percent(gain, old["rd_loss"]),
    }
    if switches:
        # One bit an image: an encoder that tries both modes and keeps the cheaper.
        pairs = zip(before, after, strict=True)
        cheaper = [min(b.rd_loss(rd_lambda), a.rd_loss(rd_lambda)) for b, a in pairs]
        switched = rd_gain(old["rd_loss"], sum(cheaper) / len(cheaper))
        metrics["target/rd_gain_switched_percent"] = percent(switched, old["rd_loss"])
    return metrics


def _source_metrics(
    before: Sequence[ImageScore],
    routed: Sequence[ImageScore],
    unrouted: Sequence[ImageScore],
    rd_lambda: float,
) -> dict[str, float]:
    old = mean_score(before, rd_lambda)["rd_loss"]
    metrics = {"source/rd_loss_before": old}
    for suffix, scores in (("", routed), ("_unrouted", unrouted)):
        lost = forgetting(old, mean_score(scores, rd_lambda)["rd_loss"])
        metrics[f"source/forgetting{suffix}"] = lost
        metrics[f"source/forgetting{suffix}_percent"] = percent(lost, old)
    return metrics


def _before_validation(cell: Cell, bench: Workbench) -> dict[str, float]:
    """The source codec's loss on validation images, by role."""
    seed, rd_lambda = cell.block.data_seed, cell.block.rd_lambda
    domains = (("target", bench.target), ("source", bench.source))
    return {r: mean_score(bench.estimates(d, seed), rd_lambda)["rd_loss"] for r, d in domains}


def validation_gain(cell: Cell, bench: Workbench, adapted: AdaptedCodec) -> float:
    """Target gain on validation images, percent of before. Estimated: a choice needs a ranking."""
    before = _before_validation(cell, bench)["target"]
    return percent(rd_gain(before, _validation_loss(cell, bench, adapted, bench.target)), before)


def _validation_loss(cell: Cell, bench: Workbench, adapted: AdaptedCodec, domain: Domain) -> float:
    samples = bench.validation(domain, cell.block.data_seed)
    scores = [score_estimated(adapted, s) for s in samples]
    return mean_score(scores, cell.block.rd_lambda)["rd_loss"]


def _validation_metrics(
    cell: Cell,
    bench: Workbench,
    adapted: AdaptedCodec,
    losses_before: Mapping[str, float],
    *,
    detaches: bool,
) -> dict[str, float]:
    gained = rd_gain(losses_before["target"], _validation_loss(cell, bench, adapted, bench.target))
    gain = percent(gained, losses_before["target"])
    before = losses_before["source"]
    after = _validation_loss(cell, bench, adapted, bench.source)
    unrouted = percent(forgetting(before, after), before)
    return {
        "val/rd_gain_percent": gain,
        "val/forgetting_percent": 0.0 if detaches else unrouted,
        "val/forgetting_unrouted_percent": unrouted,
    }


def _old_bitstreams(
    adapted: AdaptedCodec, references: Sequence[Reference], mode: Mode
) -> dict[str, float]:
    """Streams that the source codec made, decoded by the new codec in the mode a deployment would use."""
    adapted.mode = mode
    symbols, pixels, drops = [], [], []
    for reference in references:
        decoded = _decode_old(adapted, reference.coded.data)
        symbols.append((decoded.symbols if decoded else None, reference.coded.symbols))
        old = reference.decoded.pixels_HWC
        pixels.append((decoded.pixels_HWC.tobytes() if decoded else None, old.tobytes()))
        new = pixel_mse(decoded.pixels_HWC, reference.sample.pixels_HWC) if decoded else None
        after = None if new is None else psnr_db(new)
        drops.append(psnr_drop_db(reference.score.psnr_db, after))
    adapted.mode = "target"
    return {
        "bitstream/old_symbols_exact": exact_fraction(symbols),
        "bitstream/old_pixels_exact": exact_fraction(pixels),
        "bitstream/old_psnr_drop_db": sum(drops) / len(drops),
    }


def _decode_old(adapted: AdaptedCodec, data: bytes) -> Decoded | None:
    try:
        return decode_unchecked(adapted, parse_stream(data))
    except DecoderLostError:
        # A slow machine is no result: the cell fails, and is tried again.
        raise
    except BitstreamError:
        return None


def _rate_error(
    adapted: AdaptedCodec, references: Sequence[Reference], scores: Sequence[ImageScore]
) -> float:
    """How much more is coded than the entropy model promised, in percent of the promise."""
    estimated = sum(score_estimated(adapted, r.sample).bpp for r in references)
    return percent(sum(s.bpp for s in scores) - estimated, estimated)


def _rows(
    role: str, references: Sequence[Reference], scores: Sequence[ImageScore], rd_lambda: float
) -> list[ImageRow]:
    return [
        ImageRow(
            role=role,  # type: ignore[arg-type]
            name=score.name,
            group=score.group,
            bpp_before=reference.score.bpp,
            psnr_db_before=reference.score.psnr_db,
            rd_loss_before=reference.score.rd_loss(rd_lambda),
            bpp=score.bpp,
            psnr_db=score.psnr_db,
            rd_loss=score.rd_loss(rd_lambda),
        )
        for reference, score in zip(references, scores, strict=True)
    ]


def _shown(
    role: Literal["target", "source_unrouted"],
    rows: Sequence[ImageRow],
    references: Sequence[Reference],
    pictures: Sequence[UInt8Array],
) -> list[Reconstruction]:
    """Worst and median image of a role, as they come out of the source codec and the adapted one."""
    found = []
    for rank, index in ranked(rows):
        sample, decoded = references[index].sample, references[index].decoded
        three = (sample.pixels_HWC, decoded.pixels_HWC, pictures[index])
        found.append(Reconstruction(role, rank, rows[index].name, three))
    return found
