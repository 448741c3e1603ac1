"""What a cell is measured by: the saved adapter, reloaded from its file onto a fresh source codec.

Nothing of the training process is used: the adapter file and the source codec are read from disk again,
so that what is reported is what another machine would get.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfero.adaptation import load_adapter
from interfero.adaptation.method import AdaptedCodec, Mode
from interfero.analysis.reconstructions import (
    Reconstruction,
    ranked,
    save_reconstructions,
)
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.coding import (
    Coder,
    Decoded,
    ImageScore,
    chroma_mse,
    decode,
    decode_unchecked,
    encode,
    mean_score,
    pixel_mse,
    score_coded,
    score_estimated,
)
from interfero.domains.domain import Domain
from interfero.domains.images import UInt8Array
from interfero.domains.mapped_values import squared_error
from interfero.engine.adaptation.nodes import Cell
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
from interfero.records import ImageRow
from trainables.timing import EvaluationTime
from trainables.workbench import ReferenceImage, Workbench, score


@dataclass(frozen=True)
class Result:
    """What an evaluation gives to the record."""

    metrics: dict[str, float]
    images: tuple[ImageRow, ...]
    time: EvaluationTime


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
    decoded: dict[bytes, Decoded] = {}
    if detaches:
        routed, exact = through_source_mode(adapted, source, decoded)
    before = _before_validation(cell, bench)
    started = time.perf_counter()
    validated = _validation_metrics(cell, bench, adapted, before, detaches=detaches)
    validation_seconds = time.perf_counter() - started
    metrics = {
        **_target_metrics([r.score for r in target], on_target, rd_lambda, switches=detaches),
        **_source_metrics([r.score for r in source], routed, unrouted, rd_lambda),
        **validated,
        **_old_bitstreams(adapted, source, "source" if detaches else "target", decoded),
    }
    metrics |= _range_metrics(target, pictures) | bench.distance.metrics
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
    adapted: AdaptedCodec,
    references: Sequence[ReferenceImage],
    decoded: MutableMapping[bytes, Decoded] | None = None,
) -> tuple[list[ImageScore], dict[str, float]]:
    """Code source images in source mode, and compare with the source codec byte by byte.

    Args:
        adapted: With custom parameters that detach.
        references: Source images with what the source codec makes of them.
        decoded: Takes what each stream was decoded to.

    Returns:
        Scores in source mode, and the shares of images whose bytes and whose pixels are the source
        codec's own.
    """
    adapted.mode = "source"
    scores, byte_pairs, pixel_pairs = [], [], []
    for reference in references:
        coded = encode(adapted, reference.sample.pixels_HWC)
        shown = decode(adapted, coded.data)
        if decoded is not None:
            decoded[coded.data] = shown
        pixels = shown.pixels_HWC
        scores.append(score(reference.sample, coded, pixels))
        byte_pairs.append((coded.data, reference.coded.data))
        pixel_pairs.append((pixels.tobytes(), reference.decoded.pixels_HWC.tobytes()))
    adapted.mode = "target"
    exact = {
        "source_mode/bytes_exact": exact_fraction(byte_pairs),
        "source_mode/pixels_exact": exact_fraction(pixel_pairs),
    }
    return scores, exact


def _through_target_mode(
    adapted: AdaptedCodec, references: Sequence[ReferenceImage]
) -> tuple[list[ImageScore], list[UInt8Array]]:
    """Code the references' images with the custom parameters on."""
    scores, pictures = [], []
    for reference in references:
        coded = encode(adapted, reference.sample.pixels_HWC)
        pixels = decode(adapted, coded.data).pixels_HWC
        scores.append(score(reference.sample, coded, pixels))
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


def _range_metrics(
    references: Sequence[ReferenceImage], pictures: Sequence[UInt8Array]
) -> dict[str, float]:
    """PSNR against the files' own values, in the range that was declared of them; nothing of 8-bit files."""
    if all(reference.sample.fine_HWC is None for reference in references):
        return {}
    after = [_range_psnr(r, picture) for r, picture in zip(references, pictures, strict=True)]
    before = [_range_psnr(r, r.decoded.pixels_HWC) for r in references]
    return {
        "target/psnr_range_db": sum(after) / len(after),
        "target/psnr_range_db_before": sum(before) / len(before),
    }


def _range_psnr(reference: ReferenceImage, decoded_HWC: UInt8Array) -> float:
    sample = reference.sample
    return psnr_db(squared_error(decoded_HWC, sample.pixels_HWC, sample.fine_HWC))


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
    return {r: mean_score(bench.validated(d, seed), rd_lambda)["rd_loss"] for r, d in domains}


def validation_gain(cell: Cell, bench: Workbench, adapted: AdaptedCodec) -> float:
    """Target gain on validation images, percent of before; coded, as what is chosen by it will be."""
    before = _before_validation(cell, bench)["target"]
    return percent(rd_gain(before, _validation_loss(cell, bench, adapted, bench.target)), before)


def _validation_loss(cell: Cell, bench: Workbench, adapted: AdaptedCodec, domain: Domain) -> float:
    samples = bench.validation(domain, cell.block.data_seed)
    scores = [score_coded(adapted, s) for s in samples]
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
    adapted: AdaptedCodec,
    references: Sequence[ReferenceImage],
    mode: Mode,
    known: Mapping[bytes, Decoded],
) -> dict[str, float]:
    """Streams that the source codec made, decoded by the new codec in the mode a deployment would use.

    A stream that it made itself in that mode, byte for byte, was decoded then: `known`. The first is decoded
    again, after all switches between modes.
    """
    adapted.mode = mode
    symbols, pixels, drops = [], [], []
    for index, reference in enumerate(references):
        data = reference.coded.data
        decoded = known[data] if index and data in known else decode_old(adapted, data)
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


def decode_old(coder: Coder, data: bytes) -> Decoded | None:
    """What a codec makes of any stream, whatever names are in its header; None if no picture at all."""
    try:
        return decode_unchecked(coder, parse_stream(data))
    except DecoderLostError:
        # A slow machine is no result: the cell fails, and is tried again.
        raise
    except BitstreamError:
        return None


def _rate_error(
    adapted: AdaptedCodec, references: Sequence[ReferenceImage], scores: Sequence[ImageScore]
) -> float:
    """How much more is coded than the entropy model promised, in percent of the promise."""
    estimated = sum(score_estimated(adapted, r.sample).bpp for r in references)
    return percent(sum(s.bpp for s in scores) - estimated, estimated)


def _rows(
    role: str, references: Sequence[ReferenceImage], scores: Sequence[ImageScore], rd_lambda: float
) -> list[ImageRow]:
    return [
        ImageRow(
            role=role,
            name=score.name,
            group=score.group,
            bpp_before=reference.score.bpp,
            psnr_db_before=reference.score.psnr_db,
            rd_loss_before=reference.score.rd_loss(rd_lambda),
            bpp=score.bpp,
            psnr_db=score.psnr_db,
            rd_loss=score.rd_loss(rd_lambda),
            chroma_mse_before=reference.score.chroma_mse,
            chroma_mse=score.chroma_mse,
            chroma_power=chroma_mse(reference.sample.pixels_HWC),
        )
        for reference, score in zip(references, scores, strict=True)
    ]


def _shown(
    role: Literal["target", "source_unrouted"],
    rows: Sequence[ImageRow],
    references: Sequence[ReferenceImage],
    pictures: Sequence[UInt8Array],
) -> list[Reconstruction]:
    """Worst and median image of a role, as they come out of the source codec and the adapted one."""
    found = []
    for rank, index in ranked(rows):
        sample, decoded = references[index].sample, references[index].decoded
        three = (sample.pixels_HWC, decoded.pixels_HWC, pictures[index])
        found.append(Reconstruction(role, rank, rows[index].name, three))
    return found
