"""What is done for the nodes of a restoration sweep: copies, trained models, scores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from interfero.codecs.memory import keep_freed_memory
from interfero.domains.copies import CopiedImage
from interfero.domains.domain import spread
from interfero.domains.images import Sample
from interfero.engine.node import Node
from interfero.engine.restoration.nodes import (
    Compressed,
    FineTuned,
    Restored,
    Restorer,
    TaskCodec,
    TaskCoded,
    TestCell,
    TrainedModel,
    originals_of,
)
from interfero.randomness import Role, numpy_generator
from interfero.records import CellRecord, Point
from interfero.store.products import MODEL_FILE
from trainables.paired_batches import Scene
from trainables.restoration import restore, train_restorer
from trainables.restoration_bench import Bench
from trainables.scene_training import GAIN, SceneTraining, Seeds
from trainables.segmentation import LABEL, train_segmenter
from trainables.segmentation_scores import mean_psnr, test_cell
from trainables.task_codecs import (
    LossyAdapted,
    save_task_codec,
    source_codec,
    source_kept_share,
    train_task_codec,
)
from trainables.tasks import MODELS

HELD_OUT = 16
"""Images that a restorer is scored on while it trains."""
CHECKED_IMAGES = 4
"""Images that an adapter has to code in source mode as the source codec does, byte for byte."""


def do_nodes(
    nodes: Sequence[Node], bench: Bench, checkpoint_seconds: float
) -> Iterator[CellRecord]:
    """One record a node, in order; of several workers, the first one gives them."""
    for node in nodes:
        started_at, started = time.time(), time.perf_counter()
        record = _do(node, bench, checkpoint_seconds)
        if bench.worker.rank == 0 and record is not None:
            yield record.model_copy(
                update={"started_at": started_at, "seconds": time.perf_counter() - started}
            )


def _do(node: Node, bench: Bench, checkpoint_seconds: float) -> CellRecord | None:
    match node:
        case Restorer():
            return _train_restorer(node, bench, checkpoint_seconds)
        case TrainedModel():
            return _train_segmenter(node, bench, checkpoint_seconds)
        case _ if bench.worker.rank > 0:
            return None
        case Compressed() | TaskCoded():
            return _compress(node, bench)
        case TaskCodec():
            return _adapt(node, bench, checkpoint_seconds)
        case Restored():
            return _restore(node, bench)
        case TestCell():
            return test_cell(node, bench)
        case _:
            raise TypeError(f"a {node.kind} node is no part of a restoration sweep")


def _train_restorer(node: Restorer, bench: Bench, checkpoint_seconds: float) -> CellRecord:
    scenes = _pairs(node.compressed, bench)
    held_out = [] if node.held_out is None else _pairs(node.held_out, bench)[:HELD_OUT]
    seeds = Seeds(node.training.data_seed, node.training.init_seed)
    model, training = train_restorer(
        bench.here(node.config), scenes, seeds, bench.worker, node.key, checkpoint_seconds, held_out
    )
    bench.save(node, model)
    return _trained(node, training)


def _pairs(compressed: Compressed, bench: Bench) -> list[Scene]:
    """Each image as it was compressed, and as it was before."""
    originals, copies = bench.samples(compressed.originals), bench.pixels(compressed)
    return [Scene((c, s.pixels_HWC)) for c, s in zip(copies, originals, strict=True)]


def _train_segmenter(node: TrainedModel, bench: Bench, checkpoint_seconds: float) -> CellRecord:
    scenes = [
        Scene((pixels,), sample.labels_HW)
        for images in node.images
        for pixels, sample in zip(
            bench.pixels(images), bench.samples(originals_of(images)), strict=True
        )
    ]
    seeds = Seeds(node.training.data_seed, node.training.init_seed)
    start = None
    if isinstance(node, FineTuned):
        start = bench.state(node.start)
        order = numpy_generator(seeds.data, 0, Role.SUBSET, label=LABEL).permutation(len(scenes))
        scenes = [scenes[i] for i in sorted(order[: node.few])]
    validation = []
    if node.config.validations:
        held_out = originals_of(node.images[0]).model_copy(update={"portion": "restoration"})
        validation = [Scene((s.pixels_HWC,), s.labels_HW) for s in bench.samples(held_out)]
    model, training = train_segmenter(
        bench.here(node.config), scenes, node.num_classes, seeds, bench.worker, node.key,
        checkpoint_seconds, validation, start,
    )  # fmt: skip
    bench.save(node, model)
    return _trained(node, training)


def _adapt(node: TaskCodec, bench: Bench, checkpoint_seconds: float) -> CellRecord:
    """Train an adapter for the model, write it, and read it again past every cache."""
    compressed = node.compressed
    setting, codec = bench.compression(compressed).setting(), bench.codec(compressed)
    source = source_codec(codec, setting)
    samples = bench.samples(compressed.originals)
    scenes = [Scene((s.pixels_HWC,), s.labels_HW) for s in samples]
    seeds = Seeds(node.training.data_seed, node.training.init_seed)
    adapted, training = train_task_codec(
        node.config, source, MODELS[node.segmenter.config.task], bench.model(node.segmenter), scenes,
        seeds, bench.worker, node.key, checkpoint_seconds,
    )  # fmt: skip
    path = bench.products.place(node.key) / MODEL_FILE
    save_task_codec(adapted, node.config, path, node.key, compressed.originals.domain)
    again = LossyAdapted.load(codec, setting, path)
    kept = source_kept_share(again.adapted, source, spread(samples, CHECKED_IMAGES))
    record = _trained(node, training)
    more = {"source_mode/bytes_exact": kept, "adapter/file_bytes": float(path.stat().st_size)}
    return record.model_copy(update={"metrics": {**record.metrics, **more}})


def _trained(node: Restorer | TrainedModel | TaskCodec, training: SceneTraining) -> CellRecord:
    last = {f"train/{name}": v for _, values in training.curve for name, v in values.items()}
    rate = node.config.num_steps / max(training.seconds, 1e-9)
    return CellRecord(
        key=node.key,
        params=node.params,
        status="finished",
        metrics={**last, "train/steps_per_second": rate},
        curve=tuple(training.curve),
        resumed_step=training.start,
        provenance=node.lineage,
    )


def _compress(node: Compressed | TaskCoded, bench: Bench) -> CellRecord:
    keep_freed_memory()
    compression, copies = bench.compression(node), bench.copies(node)
    setting = compression.setting()
    compression.make(copies, node.shards)
    return CellRecord(
        key=node.key,
        params=node.params,
        status="finished",
        metrics={"rate/asked_bpp": setting.asked_bpp, "rate/matched_bpp": setting.bpp},
        provenance={
            "setting": f"{setting.value:g}",
            "regime": setting.regime,
            "codec": node.codec_name,
        },
    )


def _restore(step: Restored, bench: Bench) -> CellRecord:
    model = bench.model(step.restorer)
    before = {
        sample.digest: copy
        for sample, copy in zip(
            bench.samples(step.compressed.originals), bench.copies(step.compressed).images,
            strict=True,
        )
    }  # fmt: skip

    def transform(samples: Sequence[Sample]) -> list[CopiedImage]:
        copies = [before[sample.digest] for sample in samples]
        return [
            CopiedImage(restore(model, c.pixels_HWC, bench.worker.device), c.coded_bytes)
            for c in copies
        ]

    after = bench.copies(step)
    after.make(transform, {"step": "restore", "compressed": step.compressed.key,
                           "restorer": step.restorer.key})  # fmt: skip
    originals = bench.samples(step.compressed.originals)
    trained = bench.products.record(step.restorer.key)
    metrics = {
        **_gains(trained.curve if trained else ()),
        "restoration/psnr_db_compressed": mean_psnr(originals, list(before.values())),
        "restoration/psnr_db": mean_psnr(originals, after.images),
    }
    return CellRecord(
        key=step.key,
        params=step.params,
        status="finished",
        metrics=metrics,
        provenance=step.lineage,
    )


def _gains(curve: Sequence[Point]) -> dict[str, float]:
    """What a restorer did to held-out images, and what of it came in the last half of its steps."""
    gains = [(step, values[GAIN]) for step, values in curve if GAIN in values]
    if not gains:
        return {}
    last, end = gains[-1]
    before = [gain for step, gain in gains if step <= last / 2] or [0.0]
    return {"restoration/val_gain_db": end, "restoration/val_gain_db_late": end - before[-1]}
