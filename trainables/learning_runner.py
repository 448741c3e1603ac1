"""The steps of learning from compressed images as the engine sees them: jobs in, records out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from interfero.codecs.coding import pixel_mse
from interfero.codecs.lossy import find_lossy
from interfero.codecs.memory import keep_freed_memory
from interfero.domains.compressed import Compression
from interfero.domains.copies import CopiedImage, Copies
from interfero.domains.images import Sample, UInt8Array
from interfero.domains.labelled import LabelledDomain, LabelledSample
from interfero.engine.cells import CellRecord, SegmentedImage
from interfero.engine.learning.jobs import (
    CompressJob,
    Job,
    JobPack,
    RestorationJob,
    RestoreJob,
    SegmentationJob,
    TestCell,
)
from interfero.engine.learning.products import MODEL_FILE, Products
from interfero.engine.learning.steps import (
    Compressed,
    Images,
    Originals,
    Restored,
    Restorer,
    Segmenter,
    compressed_of,
    originals_of,
)
from interfero.engine.worker import Worker
from interfero.metrics.rate_distortion import psnr_db
from interfero.metrics.segmentation import class_iou, mean_iou, pixel_accuracy
from interfero.storage import load_tensors, save_tensors
from trainables import (
    loop_keeper,
    paired_batches,
    restoration,
    restoration_networks,
    segmentation,
)
from trainables.learning_strips import save_strip
from trainables.loop_keeper import Progress, Seeds
from trainables.paired_batches import Scene
from trainables.restoration import restore, train_restorer
from trainables.restoration_networks import build_generator
from trainables.segmentation import Counts, build_segmenter, count_pixels, segment, train_segmenter

if TYPE_CHECKING:
    from interfero.engine.learning.planning import LearningPlan

_SHARED = (Path(__file__), *(Path(str(m.__file__)) for m in (loop_keeper, paired_batches)))
RESTORATION_CODE = (
    *_SHARED, *(Path(str(m.__file__)) for m in (restoration, restoration_networks)),
)  # fmt: skip
"""Files whose code decides what a restorer makes."""
SEGMENTATION_CODE = (*_SHARED, Path(str(segmentation.__file__)))
"""Files whose code decides a segmentation model and its score."""


@dataclass(frozen=True)
class LearningRunner:
    """Does jobs; travels to workers with the originals, finds what steps made in the storage."""

    domains: dict[str, LabelledDomain]
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints."""

    @classmethod
    def from_plan(cls, plan: LearningPlan) -> LearningRunner:
        """The runner of a plan."""
        return cls(plan.domains, plan.options.checkpoint_seconds)

    def __call__(self, pack: JobPack, worker: Worker) -> Iterator[CellRecord]:
        """One record a job, in order; of several workers, the first one gives them."""
        bench = _Bench(self.domains, Products(worker.folder.parent), worker)
        for job in pack.cells:
            started_at, started = time.time(), time.perf_counter()
            record = self._do(job, bench)
            if worker.rank == 0 and record is not None:
                yield record.model_copy(
                    update={"started_at": started_at, "seconds": time.perf_counter() - started}
                )

    def _do(self, job: Job, bench: _Bench) -> CellRecord | None:
        match job:
            case RestorationJob():
                return self._train_restorer(job, bench)
            case SegmentationJob():
                return self._train_segmenter(job, bench)
            case _ if bench.worker.rank > 0:
                return None
            case CompressJob():
                return _compress(job, bench)
            case RestoreJob():
                return _restore(job, bench)
            case TestCell():
                return _test(job, bench)

    def _train_restorer(self, job: RestorationJob, bench: _Bench) -> CellRecord:
        step = job.restorer
        originals = bench.samples(step.compressed.originals)
        copies = bench.pixels(step.compressed)
        scenes = [Scene((c, s.pixels_HWC)) for c, s in zip(copies, originals, strict=True)]
        seeds = Seeds(step.training.data_seed, step.training.init_seed)
        model, progress, resumed = train_restorer(
            step.config, scenes, seeds, bench.worker, job.key, self.checkpoint_seconds
        )
        bench.save(job, model)
        return _trained(job, progress, resumed)

    def _train_segmenter(self, job: SegmentationJob, bench: _Bench) -> CellRecord:
        step = job.segmenter
        scenes = [
            Scene((pixels,), sample.labels_HW)
            for images in step.images
            for pixels, sample in zip(
                bench.pixels(images), bench.samples(originals_of(images)), strict=True
            )
        ]
        seeds = Seeds(step.training.data_seed, step.training.init_seed)
        model, progress, resumed = train_segmenter(
            step.config, scenes, step.num_classes, seeds, bench.worker, job.key,
            self.checkpoint_seconds,
        )  # fmt: skip
        bench.save(job, model)
        return _trained(job, progress, resumed)


class _Bench:
    """What jobs of a pack share: originals, products, and models that were loaded."""

    def __init__(
        self, domains: dict[str, LabelledDomain], products: Products, worker: Worker
    ) -> None:
        self.products, self.worker = products, worker
        self._domains = domains
        self._models: dict[str, nn.Module] = {}

    def domain(self, originals: Originals) -> LabelledDomain:
        return self._domains[originals.domain]

    def samples(self, originals: Originals) -> tuple[LabelledSample, ...]:
        return self.domain(originals).portion(originals.portion)

    def copies(self, images: Compressed | Restored) -> Copies:
        originals = originals_of(images)
        split = "test" if originals.portion == "test" else "train"
        return Copies(self.products.place(images.key), self.samples(originals), split)

    def compression(self, images: Compressed) -> Compression:
        originals = images.originals
        training = self.domain(originals).train
        codec = find_lossy(images.codec)
        folder = self.products.folder / "settings"
        return Compression(codec, images.rate_bpp, training, folder, images.code)

    def pixels(self, images: Images) -> Sequence[UInt8Array]:
        if isinstance(images, Originals):
            return [sample.pixels_HWC for sample in self.samples(images)]
        return [copy.pixels_HWC for copy in self.copies(images).images]

    def save(self, job: RestorationJob | SegmentationJob, model: nn.Module) -> None:
        if self.worker.rank == 0:
            path = self.products.place(job.key) / MODEL_FILE
            save_tensors(path, model.state_dict(), {"key": job.key, **job.lineage})

    def model(self, step: Restorer | Segmenter) -> nn.Module:
        if step.key not in self._models:
            if isinstance(step, Restorer):
                model = build_generator(step.config)
            else:
                # The state has every weight: those of the encoder's file are not read again.
                config = step.config.model_copy(update={"encoder_weights": None})
                model = build_segmenter(config, step.num_classes, 0)
            tensors, _ = load_tensors(self.products.place(step.key) / MODEL_FILE)
            model.load_state_dict(tensors)
            self._models[step.key] = model.to(self.worker.device).eval()
        return self._models[step.key]


def _trained(job: RestorationJob | SegmentationJob, progress: Progress, resumed: int) -> CellRecord:
    last = {f"train/{name}": value for name, value in progress.curve[-1][1].items()}
    rate = progress.step / max(progress.seconds, 1e-9)
    return CellRecord(
        key=job.key,
        params=job.params,
        status="finished",
        metrics={**last, "train/steps_per_second": rate},
        curve=tuple(progress.curve),
        resumed_step=resumed,
        provenance=job.lineage,
    )


def _compress(job: CompressJob, bench: _Bench) -> CellRecord:
    keep_freed_memory()
    compression, copies = bench.compression(job.copy_), bench.copies(job.copy_)
    setting = compression.setting()
    compression.make(copies, job.copy_.shards(job.part))
    return CellRecord(
        key=job.key,
        params=job.params,
        status="finished",
        metrics={"rate/asked_bpp": setting.asked_bpp, "rate/matched_bpp": setting.bpp},
        provenance={"setting": f"{setting.value:g}", "codec": job.copy_.codec_name},
    )


def _restore(job: RestoreJob, bench: _Bench) -> CellRecord:
    step = job.restored
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
    metrics = {
        "restoration/psnr_db_compressed": _mean_psnr(originals, list(before.values())),
        "restoration/psnr_db": _mean_psnr(originals, after.images),
    }
    return CellRecord(
        key=job.key, params=job.params, status="finished", metrics=metrics, provenance=job.lineage
    )


def _mean_psnr(originals: Sequence[Sample], copies: Sequence[CopiedImage]) -> float:
    values = [
        psnr_db(pixel_mse(copy.pixels_HWC, sample.pixels_HWC))
        for sample, copy in zip(originals, copies, strict=True)
    ]
    return float(np.mean(values))


def _test(cell: TestCell, bench: _Bench) -> CellRecord:
    """Segment the test images; scores are of all their pixels together."""
    model = bench.model(cell.segmenter)
    samples = bench.samples(originals_of(cell.tested_on))
    pictures = bench.pixels(cell.tested_on)
    predictions = [segment(model, picture, bench.worker.device) for picture in pictures]
    classes = bench.domain(originals_of(cell.tested_on)).classes
    each = [
        count_pixels(predicted, sample.labels_HW, len(classes))
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
            **_scores(each, classes),
            **_rates(cell, bench),
            **_restorations(cell, bench),
            "train/steps_per_second": trained.metrics["train/steps_per_second"] if trained else 0.0,
        },
        segmented=tuple(
            SegmentedImage(
                name=sample.name,
                group=sample.group,
                hits=tuple(map(int, counts.hits)),
                labelled=tuple(map(int, counts.labelled)),
                predicted=tuple(map(int, counts.predicted)),
            )
            for sample, counts in zip(samples, each, strict=True)
        ),
        curve=trained.curve if trained else (),
        sample_file=sample_file,
        provenance={**cell.lineage, "code": cell.code},
    )


def _learned_from(cell: TestCell, bench: _Bench) -> list[UInt8Array]:
    """The first training image as the model saw it, and as it was compressed before."""
    images = cell.segmenter.images[-1]
    found = []
    compressed = compressed_of(images)
    if compressed is not None:
        found.append(bench.pixels(compressed)[0])
    if isinstance(images, Restored):
        found.append(bench.pixels(images)[0])
    return found


def _scores(each: Sequence[Counts], classes: Sequence[str]) -> dict[str, float]:
    sums = [
        np.sum([getattr(c, n) for c in each], axis=0) for n in ("hits", "labelled", "predicted")
    ]
    hits, labelled, predicted = sums
    by_class = zip(classes, class_iou(hits, labelled, predicted), strict=True)
    return {
        "segmentation/miou": float(mean_iou(hits, labelled, predicted)),
        "segmentation/pixel_accuracy": pixel_accuracy(hits, labelled),
        **{
            f"segmentation/iou_{name.replace(' ', '_')}": float(value)
            for name, value in by_class
            if np.isfinite(value)
        },
    }


def _rates(cell: TestCell, bench: _Bench) -> dict[str, float]:
    """Rates that were reached, where the model trained or was tested on what a codec made."""
    found = {}
    for name, images in (("train", cell.segmenter.images[-1]), ("test", cell.tested_on)):
        compressed = compressed_of(images)
        if compressed is not None:
            found[f"rate/{name}_bpp"] = bench.copies(compressed).mean_bpp
    return found


def _restorations(cell: TestCell, bench: _Bench) -> dict[str, float]:
    """How near restoration brought the training images to the originals."""
    images = cell.segmenter.images[-1]
    record = bench.products.record(images.key) if isinstance(images, Restored) else None
    return dict(record.metrics) if record else {}
