"""The steps of learning from compressed images as the engine sees them: jobs in, records out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import codec_bytes
from interfero.codecs.coding import pixel_mse
from interfero.codecs.lossy import LossyClassical, LossyCodec, LossyLearned
from interfero.codecs.memory import keep_freed_memory
from interfero.content import ContentStore
from interfero.domains.copies import CopiedImage
from interfero.domains.images import Sample
from interfero.domains.labelled import LabelledDomain
from interfero.domains.labelled_file import labelled_blocks, read_labelled_file
from interfero.engine.cells import CellRecord
from interfero.engine.learning.configs import PATHS, TrainingConfig
from interfero.engine.learning.jobs import (
    CompressJob,
    Job,
    JobPack,
    RestorationJob,
    RestoreJob,
    SegmentationJob,
    TestCell,
)
from interfero.engine.learning.products import Products
from interfero.engine.learning.steps import (
    originals_of,
)
from interfero.engine.worker import Worker
from interfero.metrics.rate_distortion import psnr_db
from trainables import (
    learning_bench,
    learning_scores,
    loop_keeper,
    paired_batches,
    restoration,
    restoration_networks,
    schedule,
    segmentation,
)
from trainables.learning_bench import Bench
from trainables.learning_checks import check_models
from trainables.learning_scores import test_cell
from trainables.loop_keeper import Progress, Seeds
from trainables.paired_batches import Scene
from trainables.restoration import restore, train_restorer
from trainables.segmentation import train_segmenter

if TYPE_CHECKING:
    from interfero.engine.learning.planning import LearningPlan

TrainingT = TypeVar("TrainingT", bound=TrainingConfig)

_SHARED = (
    Path(__file__),
    *(Path(str(m.__file__)) for m in (learning_bench, loop_keeper, paired_batches, schedule)),
)
RESTORATION_CODE = (
    *_SHARED, *(Path(str(m.__file__)) for m in (restoration, restoration_networks)),
)  # fmt: skip
"""Files whose code decides what a restorer makes."""
SEGMENTATION_CODE = (
    *_SHARED, *(Path(str(m.__file__)) for m in (learning_scores, segmentation)),
)  # fmt: skip
"""Files whose code decides a segmentation model and its score."""


@dataclass(frozen=True)
class LearningRunner:
    """Does jobs; travels to workers of this machine with the originals.

    What steps made it finds in the storage.
    """

    domains: dict[str, LabelledDomain]
    codecs: dict[str, LossyCodec]
    """As `--codecs` names them."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints."""
    weights: tuple[str, ...] = ()
    """Local files that configs name."""
    places: Mapping[str, Path] = field(default_factory=dict)
    """Where such a file lies on this node, if not where the config says."""

    @classmethod
    def from_plan(cls, plan: LearningPlan) -> LearningRunner:
        """The runner of a plan, every model of which can be built.

        Raises:
            ConfigError: as `check_models`.
        """
        jobs = list(plan.jobs.values())
        check_models(jobs)
        seconds = plan.options.checkpoint_seconds
        return cls(plan.domains, plan.codecs, seconds, weight_files(jobs))

    def shipped(self, storage: Path) -> ShippedLearningRunner:
        """The same for the nodes of a cluster, which need no file of this machine.

        Raises:
            StorageError: the storage cannot be written.
        """
        content = ContentStore(storage)
        return ShippedLearningRunner(
            content,
            {name: content.add(labelled_blocks(d)) for name, d in self.domains.items()},
            {name: _shipped_codec(codec, content) for name, codec in self.codecs.items()},
            {path: content.add([Path(path).read_bytes()]) for path in self.weights},
            self.checkpoint_seconds,
        )

    def __call__(self, pack: JobPack, worker: Worker) -> Iterator[CellRecord]:
        """One record a job, in order; of several workers, the first one gives them."""
        bench = Bench(self.domains, self.codecs, Products(worker.folder.parent), worker)
        for job in pack.cells:
            started_at, started = time.time(), time.perf_counter()
            record = self._do(job, bench)
            if worker.rank == 0 and record is not None:
                yield record.model_copy(
                    update={"started_at": started_at, "seconds": time.perf_counter() - started}
                )

    def _do(self, job: Job, bench: Bench) -> CellRecord | None:
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
                return test_cell(job, bench)

    def _train_restorer(self, job: RestorationJob, bench: Bench) -> CellRecord:
        step = job.restorer
        originals = bench.samples(step.compressed.originals)
        copies = bench.pixels(step.compressed)
        scenes = [Scene((c, s.pixels_HWC)) for c, s in zip(copies, originals, strict=True)]
        seeds = Seeds(step.training.data_seed, step.training.init_seed)
        model, progress, resumed = train_restorer(
            self._here(step.config), scenes, seeds, bench.worker, job.key, self.checkpoint_seconds
        )
        bench.save(job, model)
        return _trained(job, progress, resumed)

    def _train_segmenter(self, job: SegmentationJob, bench: Bench) -> CellRecord:
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
            self._here(step.config), scenes, step.num_classes, seeds, bench.worker, job.key,
            self.checkpoint_seconds,
        )  # fmt: skip
        bench.save(job, model)
        return _trained(job, progress, resumed)

    def _here(self, config: TrainingT) -> TrainingT:
        """A config with the files that it names where this node has them."""
        named = {name: str(getattr(config, name, None)) for name in PATHS}
        moved = {n: str(self.places[path]) for n, path in named.items() if path in self.places}
        return config.model_copy(update=moved)


@dataclass(frozen=True)
class ShippedLearningRunner:
    """Does jobs with images, codecs and weights that its node fetches by content."""

    content: ContentStore
    domains: dict[str, str]
    """Addresses, by name."""
    codecs: dict[str, LossyClassical | dict[float, str]]
    """Classical ones as they are, of learned ones the addresses by lambda; as `--codecs` names them."""
    weights: dict[str, str]
    """Addresses of files, by the path that configs have."""
    checkpoint_seconds: float

    def __call__(self, pack: JobPack, worker: Worker) -> Iterator[CellRecord]:
        """One record a job, in order.

        Raises:
            StorageError: the storage does not hold what the driver has put there, whole.
        """
        domains = {
            name: read_labelled_file(self.content.fetch(address, "labelled.u8"))
            for name, address in self.domains.items()
        }
        codecs = {name: self._codec(name, kept) for name, kept in self.codecs.items()}
        places = {p: self.content.fetch(a, "weights.safetensors") for p, a in self.weights.items()}
        runner = LearningRunner(domains, codecs, self.checkpoint_seconds, places=places)
        return runner(pack, worker)

    def _codec(self, name: str, kept: LossyClassical | dict[float, str]) -> LossyCodec:
        if isinstance(kept, LossyClassical):
            return kept
        files = {v: self.content.fetch(a, "codec.safetensors") for v, a in kept.items()}
        return LossyLearned(name, {v: str(path) for v, path in files.items()})


def _shipped_codec(codec: LossyCodec, content: ContentStore) -> LossyClassical | dict[float, str]:
    if isinstance(codec, LossyClassical):
        return codec
    assert isinstance(codec, LossyLearned)
    return {
        value: content.add([codec_bytes(load_codec(source, value))])
        for value, source in codec.sources.items()
    }


def weight_files(jobs: Iterable[Job]) -> tuple[str, ...]:
    """The local files that the configs of some jobs name."""
    configs: set[str | None] = set()
    for job in jobs:
        match job:
            case RestorationJob():
                configs.add(job.restorer.config.perceptual_weights)
            case SegmentationJob():
                configs.add(job.segmenter.config.encoder_weights)
            case _:
                pass
    return tuple(sorted(path for path in configs if path is not None))


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


def _compress(job: CompressJob, bench: Bench) -> CellRecord:
    keep_freed_memory()
    compression, copies = bench.compression(job.copy_), bench.copies(job.copy_)
    setting = compression.setting()
    compression.make(copies, job.copy_.shards(job.part))
    return CellRecord(
        key=job.key,
        params=job.params,
        status="finished",
        metrics={"rate/asked_bpp": setting.asked_bpp, "rate/matched_bpp": setting.bpp},
        provenance={
            "setting": f"{setting.value:g}",
            "regime": setting.regime,
            "codec": job.copy_.codec_name,
        },
    )


def _restore(job: RestoreJob, bench: Bench) -> CellRecord:
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
