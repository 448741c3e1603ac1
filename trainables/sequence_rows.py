"""A row of the matrix: what there is after a stage, on every domain and on every older stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interfero.codecs.bitstream import parse_stream
from interfero.codecs.checkpoint import smallest_bytes
from interfero.codecs.coding import Coder, ImageScore, SourceCoder, mean_score
from interfero.domains.domain import spread
from interfero.engine.adaptation.nodes import ADAPTER_FILE
from interfero.engine.sequence.nodes import (
    FEATURES_FILE,
    IMPORTANCE_FILE,
    STREAMS_FILE,
    Archive,
    Merged,
    Stage,
    StageRow,
    Tested,
)
from interfero.errors import StorageError
from interfero.metrics.forgetting import forgetting, percent, rd_gain
from interfero.records import CellRecord, ImageRow
from interfero.store.tensors import load_hashed
from trainables.archives import ArchivedImage, read_old, read_streams, reading_metrics
from trainables.routing import GATE_IMAGES, RouteGate, cheapest
from trainables.sequence_bench import SequenceBench

Streams = Mapping[str, Sequence[ArchivedImage]]
"""Of an archive, by domain."""


def row_results(row: StageRow, bench: SequenceBench) -> dict[str, Any]:
    """What the record of a row has.

    Raises:
        StorageError: an archive is not there, or damaged.
    """
    streams = {
        a.key: read_streams(bench.file(a, STREAMS_FILE))
        for a in row.inputs
        if isinstance(a, Archive)
    }
    metrics: dict[str, float] = {}
    images: list[ImageRow] = []
    for tested in row.untouched.tested:
        coded = streams[_oracle(row.bank, tested).key][tested.domain]
        metrics |= _scored(f"row/{tested.domain}", _scores(coded), row.untouched.rd_lambda)
        images += _image_rows(row, tested, streams, coded)
    metrics |= _validated(row, bench) | _old_streams(row, bench, streams) | _stored(row, bench)
    if row.routed:
        metrics |= _routed(row, bench, streams)
    found: dict[str, Any] = {"metrics": metrics, "images": tuple(images)}
    if row.sequence:
        metrics |= _changes(row, metrics, streams, bench) | _distances(row, bench)
        found |= _training(row, bench, metrics)
    found["provenance"] = {**(row.cell.provenance if row.cell else {}), **row.lineage}
    return found


def _oracle(bank: Sequence[Archive], tested: Tested) -> Archive:
    """Who codes images whose domain is known: what was made for it, else what there was before."""
    for archive in bank:
        if archive.domain == tested.domain:
            return archive
    return bank[0]


def _scores(coded: Sequence[ArchivedImage]) -> list[ImageScore]:
    return [image.score for image in coded]


def _scored(
    prefix: str, scores: Sequence[ImageScore], rd_lambda: float, suffix: str = ""
) -> dict[str, float]:
    return {f"{prefix}/{n}{suffix}": v for n, v in mean_score(scores, rd_lambda).items()}


def _image_rows(
    row: StageRow, tested: Tested, streams: Mapping[str, Streams], coded: Sequence[ArchivedImage]
) -> list[ImageRow]:
    before, value = streams[row.untouched.key][tested.domain], row.untouched.rd_lambda
    return [
        ImageRow(
            role=f"domain:{tested.domain}",
            name=new.name,
            group=new.group,
            bpp_before=old.score.bpp,
            psnr_db_before=old.score.psnr_db,
            rd_loss_before=old.score.rd_loss(value),
            bpp=new.score.bpp,
            psnr_db=new.score.psnr_db,
            rd_loss=new.score.rd_loss(value),
        )
        for old, new in zip(before, coded, strict=True)
    ]


def _record(made: Archive | Stage | Merged, bench: SequenceBench) -> CellRecord:
    record = bench.products.record(made.key)
    if record is None:
        raise StorageError(f"the record of {made.key} is gone: start the sweep again")
    return record


def _validated(row: StageRow, bench: SequenceBench) -> dict[str, float]:
    """Estimated losses on validation images, which choices read."""
    return {
        f"row/{t.domain}/val_rd_loss": _record(_oracle(row.bank, t), bench).metrics[
            f"val/{t.domain}/rd_loss"
        ]
        for t in row.untouched.tested
    }


def _changes(
    row: StageRow,
    metrics: Mapping[str, float],
    streams: Mapping[str, Streams],
    bench: SequenceBench,
) -> dict[str, float]:
    """Gain on the stage's domain and forgetting on the source, as cells of one domain have them."""
    domain, source = row.sequence[-1], row.source_domain
    value = row.untouched.rd_lambda
    before = {
        name: mean_score(_scores(streams[row.untouched.key][name]), value)["rd_loss"]
        for name in (domain, source)
    }
    gain = rd_gain(before[domain], metrics[f"row/{domain}/rd_loss"])
    lost = forgetting(before[source], metrics[f"row/{source}/rd_loss"])
    estimated = _record(row.untouched, bench).metrics[f"val/{domain}/rd_loss"]
    validated = rd_gain(estimated, metrics[f"row/{domain}/val_rd_loss"])
    return {
        "target/rd_gain_percent": percent(gain, before[domain]),
        "source/forgetting_percent": percent(lost, before[source]),
        "val/rd_gain_percent": percent(validated, estimated),
    }


def _distances(row: StageRow, bench: SequenceBench) -> dict[str, float]:
    """How far the stage's domain is from the source domain, and from that of the stage before."""
    domain = bench.domains[row.sequence[-1]]
    before = bench.domains[row.sequence[-2]] if len(row.sequence) > 1 else bench.source
    found = bench.source_bench(row.untouched, domain, bench.source).distance.metrics
    nearer = bench.source_bench(row.untouched, domain, before).distance.metrics
    renamed = {n.replace("distance/", "distance/before/"): v for n, v in nearer.items()}
    return {**found, **renamed}


def _training(row: StageRow, bench: SequenceBench, metrics: dict[str, float]) -> dict[str, Any]:
    """Curve and speed of the stage's own training, if there was one; of a merged codec what was chosen."""
    stage = row.bank[-1].trained
    if isinstance(stage, Merged):
        metrics["merge/scale"] = _record(stage, bench).metrics["merge/scale"]
    if not isinstance(stage, Stage):
        return {}
    record = _record(stage, bench)
    metrics |= {n: v for n, v in record.metrics.items() if n.startswith(("train/", "adapter"))}
    return {"curve": record.curve, "resumed_step": record.resumed_step}


def _coders(bank: Sequence[Archive], bench: SequenceBench) -> list[Coder]:
    """What a receiver holds after a stage, read from its files."""
    return [
        SourceCoder(bench.source_codec(a)) if a.trained is None else bench.adapted(a.trained)
        for a in bank
    ]


def _old_streams(
    row: StageRow, bench: SequenceBench, streams: Mapping[str, Streams]
) -> dict[str, float]:
    """Streams of every age, decoded by what a receiver holds now.

    A stream goes to the codec that its header names, and where there is none of that name any more, to the
    newest one.
    """
    coders = _coders(row.bank, bench)
    named: dict[tuple[bytes, bytes | None], Coder] = {(c.codec_id, c.adapter_id): c for c in coders}
    metrics: dict[str, float] = {}
    for stage, bank in enumerate(row.banks):
        in_service = {row.source_domain, *row.sequence[:stage]}
        readings = []
        for tested in row.untouched.tested:
            if tested.domain not in in_service:
                continue
            samples = spread(bench.domain_of(tested).test, tested.num_images)
            old_streams = streams[_oracle(bank, tested).key][tested.domain]
            for old, sample in zip(old_streams, samples, strict=True):
                header = parse_stream(old.data)
                coder = named.get((header.codec_id, header.adapter_id), coders[-1])
                readings.append(read_old(old, sample, coder))
        age = len(row.banks) - 1 - stage
        metrics |= {f"archive/{age}/{n}": v for n, v in reading_metrics(readings).items()}
    return metrics


def _routed(
    row: StageRow, bench: SequenceBench, streams: Mapping[str, Streams]
) -> dict[str, float]:
    """The bank without an oracle: every image goes where it is cheapest, or where a gate sends it."""
    value = row.untouched.rd_lambda
    features, _ = load_hashed(bench.file(row.untouched, FEATURES_FILE))
    gate = _gate(row, {name: tensor.numpy() for name, tensor in features.items()})
    metrics: dict[str, float] = {}
    for tested in row.untouched.tested:
        ways = [_scores(streams[archive.key][tested.domain]) for archive in row.bank]
        right = row.bank.index(_oracle(row.bank, tested))
        chosen = {
            "auto": cheapest([[score.rd_loss(value) for score in way] for way in ways]),
            "gate": gate(features[f"test/{tested.domain}"].numpy()),
        }
        for suffix, choices in chosen.items():
            prefix = f"row/{tested.domain}"
            taken = [ways[way][n] for n, way in enumerate(choices)]
            metrics |= _scored(prefix, taken, value, f"_{suffix}")
            wrong = sum(way != right for way in choices) / len(choices)
            metrics[f"{prefix}/wrong_route_share_{suffix}"] = wrong
    return metrics


def _gate(row: StageRow, features: Mapping[str, Any]) -> Callable[[Any], list[int]]:
    """A gate that has seen training images of the source and of the domains met, and no others."""
    training = {0: features[f"train/{row.source_domain}"]}
    for place, archive in enumerate(row.bank[1:], start=1):
        assert isinstance(archive.trained, Stage)
        most = min(GATE_IMAGES, archive.trained.cell.block.num_images)
        training[place] = features[f"train/{archive.domain}"][:most]
    return RouteGate(training)


def _stored(row: StageRow, bench: SequenceBench) -> dict[str, float]:
    """What is kept to decode what this stage writes, and to go on; of joint, all images: not counted."""
    if row.method == "joint":
        return {}
    source = bench.source_codec(row.untouched)
    source_bytes = smallest_bytes(source)
    numbers, kept_bytes = float(source.num_params), float(source_bytes)
    trained = [archive.trained for archive in row.bank if archive.trained is not None]
    if row.routed:
        for stage in trained:
            assert isinstance(stage, Stage)
            numbers += _record(stage, bench).metrics["adapter/num_params"]
            kept_bytes += bench.file(stage, ADAPTER_FILE).stat().st_size
    elif trained:
        (one,) = trained
        # One codec in the place of the source codec, and what its method needs for the next stage.
        kept_bytes = float(smallest_bytes(bench.codec_after(one)))
        if IMPORTANCE_FILE in one.files:
            numbers += source.num_params
            kept_bytes += bench.file(one, IMPORTANCE_FILE).stat().st_size
        if row.method == "l2_sp_source" or isinstance(one, Merged):
            # What is learned next begins at the source codec, or is held to it.
            numbers, kept_bytes = numbers + source.num_params, kept_bytes + source_bytes
    memory_bytes = 0
    if row.memory is not None:
        newest = row.bank[-1].trained
        assert isinstance(newest, Stage)
        memory_bytes = bench.remembered(newest.cell, newest, row.memory).num_bytes
    return {
        "stored/parameters": numbers,
        "stored/bytes": kept_bytes + memory_bytes,
        "stored/memory_bytes": float(memory_bytes),
    }
