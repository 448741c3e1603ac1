"""Test a model of any task: what is counted, and what a cell's record says of the steps behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interfero.codecs.coding import pixel_mse
from interfero.domains.copies import CopiedImage
from interfero.domains.images import Sample, UInt8Array
from interfero.domains.labelled import class_metric
from interfero.engine.restoration.nodes import (
    Copied,
    Restored,
    TaskCoded,
    TestCell,
    compressed_of,
    originals_of,
)
from interfero.metrics.rate_distortion import psnr_db
from interfero.metrics.segmentation import absent_share, class_iou, pixel_accuracy
from interfero.metrics.tasks import SEGMENTATION, Task
from interfero.records import CellRecord, Point, SegmentedImage
from trainables.restoration_bench import Bench
from trainables.sample_strips import save_strip
from trainables.scene_training import GAIN
from trainables.segmentation import VALIDATED, segment
from trainables.tasks import MODELS, Counts


def test_cell(cell: TestCell, bench: Bench) -> CellRecord:
    """Predict the test images; scores are of all that is labelled in them together."""
    model = bench.model(cell.segmenter)
    samples = bench.samples(originals_of(cell.tested_on))
    pictures = bench.pixels(cell.tested_on)
    of_task = MODELS[cell.segmenter.config.task]
    name = of_task.task.name
    predictions = [segment(model, picture, bench.worker.device, name) for picture in pictures]
    classes = bench.domain(originals_of(cell.tested_on)).classes
    each = [
        of_task.count(predicted, sample.labels_HW, len(classes))
        for predicted, sample in zip(predictions, samples, strict=True)
    ]
    trained = bench.products.record(cell.segmenter.key)
    sample_file = f"samples/{cell.key}.png"
    training = bench.samples(originals_of(cell.segmenter.images[0]))[0].pixels_HWC
    learned_from = [training, *_learned_from(cell, bench)]
    tested = (samples[0].pixels_HWC, pictures[0], samples[0].labels_HW, predictions[0])
    save_strip(bench.worker.folder / sample_file, learned_from, *tested)
    return CellRecord(
        key=cell.key,
        params=cell.params,
        status="finished",
        metrics={
            **_scores(of_task.task, each, classes),
            **_rates(cell, bench),
            **_restorations(cell, bench),
            **_pictures(cell, bench),
            **_training(trained),
        },
        segmented=tuple(
            SegmentedImage(
                name=sample.name,
                group=sample.source_image,
                hits=tuple(map(int, counts.hits)),
                labelled=tuple(map(int, counts.labelled)),
                predicted=tuple(map(int, counts.predicted)),
            )
            for sample, counts in zip(samples, each, strict=True)
        ),
        curve=_curve(cell, bench, trained),
        sample_file=sample_file,
        provenance={**cell.lineage, "code": cell.code},
    )


def _learned_from(cell: TestCell, bench: Bench) -> list[UInt8Array]:
    """The first training image as the model saw it, and as it was compressed before."""
    images = cell.segmenter.images[-1]
    found = []
    compressed = compressed_of(images)
    if compressed is not None:
        found.append(bench.pixels(compressed)[0])
    if isinstance(images, Restored):
        found.append(bench.pixels(images)[0])
    return found


def _scores(task: Task, each: Sequence[Counts], classes: Sequence[str]) -> dict[str, float]:
    sums = [
        np.sum([getattr(c, n) for c in each], axis=0) for n in ("hits", "labelled", "predicted")
    ]
    hits, labelled, predicted = sums
    found = {task.metric: float(task.score(*sums))}
    if task is SEGMENTATION:
        found["segmentation/pixel_accuracy"] = pixel_accuracy(hits, labelled)
    found[f"{task.name}/absent_class_share"] = absent_share(labelled, predicted)
    # A class that no label has is scored by `absent_class_share` alone.
    iou = np.where(labelled > 0, class_iou(hits, labelled, predicted), np.nan)
    by_class = zip(classes, iou, strict=True)
    return found | {
        class_metric(name, task.name): float(value)
        for name, value in by_class
        if np.isfinite(value)
    }


def _training(trained: CellRecord | None) -> dict[str, float]:
    """How fast the model trained, and its last score on validation images, if it has one."""
    if trained is None:
        return {"train/steps_per_second": 0.0}
    found = {"train/steps_per_second": trained.metrics["train/steps_per_second"]}
    last = trained.metrics.get(f"train/{VALIDATED}")
    return found if last is None else {**found, "val/score": last}


def _curve(cell: TestCell, bench: Bench, trained: CellRecord | None) -> list[Point]:
    """The model's, with what its restorer did to held-out images while it trained."""
    points: list[Point] = list(trained.curve) if trained else []
    images = cell.segmenter.images[-1]
    if isinstance(images, Restored):
        restorer = bench.products.record(images.restorer.key)
        told = restorer.curve if restorer else ()
        points += [(step, {f"restorer_{GAIN}": v[GAIN]}) for step, v in told if GAIN in v]
    return sorted(points, key=lambda point: point[0])


def _rates(cell: TestCell, bench: Bench) -> dict[str, float]:
    """Rates that were reached, where the model trained or was tested on what a codec made."""
    found = {}
    for name, kinds in (("train", cell.segmenter.images), ("test", (cell.tested_on,))):
        copies = [bench.copies(c) for c in map(compressed_of, kinds) if c is not None]
        if copies:
            found[f"rate/{name}_bpp"] = float(np.mean([copy.mean_bpp for copy in copies]))
    return found


def _pictures(cell: TestCell, bench: Bench) -> dict[str, float]:
    """What people are shown of the test images; of an adapted codec, beside what the source codec shows."""
    tested = cell.tested_on
    if not isinstance(tested, Copied):
        return {}
    originals = bench.samples(tested.originals)
    psnr = mean_psnr(originals, bench.copies(tested).images)
    found = {"rate/test_psnr_db": psnr}
    if isinstance(tested, TaskCoded):
        plain = bench.copies(tested.plain)
        found["human_view/psnr_change_db"] = psnr - mean_psnr(originals, plain.images)
        change = bench.copies(tested).mean_bpp / plain.mean_bpp - 1
        found["human_view/bpp_change_percent"] = 100 * change
        adapting = bench.products.record(tested.adapter.key)
        kept = None if adapting is None else adapting.metrics.get("source_mode/bytes_exact")
        found |= {} if kept is None else {"source_mode/bytes_exact": kept}
    return found


def mean_psnr(originals: Sequence[Sample], copies: Sequence[CopiedImage]) -> float:
    """Mean over images of the PSNR in dB."""
    values = [
        psnr_db(pixel_mse(copy.pixels_HWC, sample.pixels_HWC))
        for sample, copy in zip(originals, copies, strict=True)
    ]
    return float(np.mean(values))


def _restorations(cell: TestCell, bench: Bench) -> dict[str, float]:
    """How near restoration brought the training images to the originals."""
    images = cell.segmenter.images[-1]
    record = bench.products.record(images.key) if isinstance(images, Restored) else None
    return dict(record.metrics) if record else {}
