"""Restoration sweeps as the engine sees them: nodes in, records out."""

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
from interfero.domains.copies import CopiedImage
from interfero.domains.images import Sample
from interfero.domains.labelled import LabelledDomain
from interfero.domains.labelled_file import labelled_blocks, read_labelled_file
from interfero.engine.node import Node
from interfero.engine.restoration.configs import PATHS, TrainingConfig
from interfero.engine.restoration.nodes import (
    Compressed,
    Restored,
    Restorer,
    Segmenter,
    TestCell,
    originals_of,
)
from interfero.engine.worker import Worker
from interfero.metrics.rate_distortion import psnr_db
from interfero.records import CellRecord
from interfero.store.content import ContentStore
from interfero.store.products import Products
from trainables.learning_bench import Bench
from trainables.learning_checks import check_models
from trainables.learning_scores import test_cell
from trainables.loop_keeper import Progress, Seeds
from trainables.paired_batches import Scene
from trainables.restoration import restore, train_restorer
from trainables.segmentation import train_segmenter

if TYPE_CHECKING:
    from interfero.engine.packs import Pack
    from interfero.engine.restoration.plan import RestorationPlan

TrainingT = TypeVar("TrainingT", bound=TrainingConfig)


@dataclass(frozen=True)
class RestorationRunner:
    """Does nodes; travels to workers of this machine with the originals.

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
    def from_plan(cls, plan: RestorationPlan) -> RestorationRunner:
        """The runner of a plan, every model of which can be built.

        Raises:
            ConfigError: as `check_models`.
        """
        nodes = list(plan.behind(plan.cells).values())
        check_models(nodes)
        seconds = plan.options.checkpoint_seconds
        return cls(plan.domains, plan.codecs, seconds, weight_files(nodes))

    def shipped(self, storage: Path) -> ShippedRestorationRunner:
        """The same for the nodes of a cluster, which need no file of this machine.

        Raises:
            StorageError: the storage cannot be written.
        """
        content = ContentStore(storage)
        return ShippedRestorationRunner(
            content,
            {name: content.add(labelled_blocks(d)) for name, d in self.domains.items()},
            {name: _shipped_codec(codec, content) for name, codec in self.codecs.items()},
            {path: content.add([Path(path).read_bytes()]) for path in self.weights},
            self.checkpoint_seconds,
        )

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a node, in order; of several workers, the first one gives them."""
        bench = Bench(self.domains, self.codecs, Products(worker.folder.parent), worker)
        for node in pack.nodes:
            started_at, started = time.time(), time.perf_counter()
            record = self._do(node, bench)
            if worker.rank == 0 and record is not None:
                yield record.model_copy(
                    update={"started_at": started_at, "seconds": time.perf_counter() - started}
                )

    def _do(self, node: Node, bench: Bench) -> CellRecord | None:
        match node:
            case Restorer():
                return self._train_restorer(node, bench)
            case Segmenter():
                return self._train_segmenter(node, bench)
            case _ if bench.worker.rank > 0:
                return None
            case Compressed():
                return _compress(node, bench)
            case Restored():
                return _restore(node, bench)
            case TestCell():
                return test_cell(node, bench)
            case _:
                raise TypeError(f"a {node.kind} node is no part of a restoration sweep")

    def _train_restorer(self, step: Restorer, bench: Bench) -> CellRecord:
        originals = bench.samples(step.compressed.originals)
        copies = bench.pixels(step.compressed)
        scenes = [Scene((c, s.pixels_HWC)) for c, s in zip(copies, originals, strict=True)]
        seeds = Seeds(step.training.data_seed, step.training.init_seed)
        model, progress, resumed = train_restorer(
            self._here(step.config), scenes, seeds, bench.worker, step.key, self.checkpoint_seconds
        )
        bench.save(step, model)
        return _trained(step, progress, resumed)

    def _train_segmenter(self, step: Segmenter, bench: Bench) -> CellRecord:
        scenes = [
            Scene((pixels,), sample.labels_HW)
            for images in step.images
            for pixels, sample in zip(
                bench.pixels(images), bench.samples(originals_of(images)), strict=True
            )
        ]
        seeds = Seeds(step.training.data_seed, step.training.init_seed)
        model, progress, resumed = train_segmenter(
            self._here(step.config), scenes, step.num_classes, seeds, bench.worker, step.key,
            self.checkpoint_seconds,
        )  # fmt: skip
        bench.save(step, model)
        return _trained(step, progress, resumed)

    def _here(self, config: TrainingT) -> TrainingT:
        """A config with the files that it names where this node has them."""
        named = {name: str(getattr(config, name, None)) for name in PATHS}
        moved = {n: str(self.places[path]) for n, path in named.items() if path in self.places}
        return config.model_copy(update=moved)


@dataclass(frozen=True)
class ShippedRestorationRunner:
    """Does nodes with images, codecs and weights that its node fetches by content."""

    content: ContentStore
    domains: dict[str, str]
    """Addresses, by name."""
    codecs: dict[str, LossyClassical | dict[float, str]]
    """Classical ones as they are, of learned ones the addresses by lambda; as `--codecs` names them."""
    weights: dict[str, str]
    """Addresses of files, by the path that configs have."""
    checkpoint_seconds: float

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a node, in order.

        Raises:
            StorageError: the storage does not hold what the driver has put there, whole.
        """
        domains = {
            name: read_labelled_file(self.content.fetch(address, "labelled.u8"))
            for name, address in self.domains.items()
        }
        codecs = {name: self._codec(name, kept) for name, kept in self.codecs.items()}
        places = {p: self.content.fetch(a, "weights.safetensors") for p, a in self.weights.items()}
        runner = RestorationRunner(domains, codecs, self.checkpoint_seconds, places=places)
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


def weight_files(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The local files that the configs of some nodes name."""
    configs: set[str | None] = set()
    for node in nodes:
        match node:
            case Restorer():
                configs.add(node.config.perceptual_weights)
            case Segmenter():
                configs.add(node.config.encoder_weights)
            case _:
                pass
    return tuple(sorted(path for path in configs if path is not None))


def _trained(node: Restorer | Segmenter, progress: Progress, resumed: int) -> CellRecord:
    last = {f"train/{name}": value for name, value in progress.curve[-1][1].items()}
    rate = progress.step / max(progress.seconds, 1e-9)
    return CellRecord(
        key=node.key,
        params=node.params,
        status="finished",
        metrics={**last, "train/steps_per_second": rate},
        curve=tuple(progress.curve),
        resumed_step=resumed,
        provenance=node.lineage,
    )


def _compress(node: Compressed, bench: Bench) -> CellRecord:
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
    metrics = {
        "restoration/psnr_db_compressed": _mean_psnr(originals, list(before.values())),
        "restoration/psnr_db": _mean_psnr(originals, after.images),
    }
    return CellRecord(
        key=step.key,
        params=step.params,
        status="finished",
        metrics=metrics,
        provenance=step.lineage,
    )


def _mean_psnr(originals: Sequence[Sample], copies: Sequence[CopiedImage]) -> float:
    values = [
        psnr_db(pixel_mse(copy.pixels_HWC, sample.pixels_HWC))
        for sample, copy in zip(originals, copies, strict=True)
    ]
    return float(np.mean(values))
