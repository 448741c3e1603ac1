"""What is done for the nodes of a sequence of domains: stages, merged codecs, archives and rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from interfero.adaptation import find_method, save_adapter
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.merging import weight_changes
from interfero.codecs.coding import Coder, ImageScore, SourceCoder, mean_score, score_coded
from interfero.codecs.memory import keep_freed_memory
from interfero.domains.domain import Domain, spread
from interfero.engine.adaptation.nodes import ADAPTER_FILE
from interfero.engine.node import Node
from interfero.engine.sequence.nodes import (
    FEATURES_FILE,
    MEGAPIXELS,
    STREAMS_FILE,
    Archive,
    Merged,
    Stage,
    StageRow,
    Tested,
)
from interfero.engine.worker import Worker
from interfero.errors import InterferoError, StorageError
from interfero.records import CellRecord
from interfero.store.tensors import save_hashed
from trainables.adaptation import run_pack
from trainables.archives import ArchivedImage, archived, code_image, write_streams
from trainables.routing import GATE_IMAGES, gate_features
from trainables.sequence_bench import SequenceBench
from trainables.sequence_rows import row_results


def do_sequence_nodes(
    nodes: Sequence[Node], bench: SequenceBench, worker: Worker
) -> Iterator[CellRecord]:
    """One record a node, in order; of several workers, the first one gives them."""
    stages = [node for node in nodes if isinstance(node, Stage)]
    if stages:
        yield from run_pack(stages, bench.stage_bench(stages[0]), worker, bench.checkpoint_seconds)
        return
    if worker.rank > 0:
        return
    keep_freed_memory()
    for node in nodes:
        started_at, started = time.time(), time.perf_counter()
        record = _guarded(node, bench)
        seconds = time.perf_counter() - started
        yield record.model_copy(update={"started_at": started_at, "seconds": seconds})


def _guarded(node: Node, bench: SequenceBench) -> CellRecord:
    """A node that fails is a failed record: the others of its pack are done all the same."""
    came_to: dict[str, Any]
    try:
        came_to = {"status": "finished", **_do(node, bench)}
    except StorageError:
        # No failure of the node: what it needs is not there, or the disk is full.
        raise
    except (InterferoError, RuntimeError, ValueError) as error:
        came_to = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return CellRecord(key=node.key, params=node.params, **came_to)


def _do(node: Node, bench: SequenceBench) -> dict[str, Any]:
    match node:
        case Merged():
            return {"metrics": _merge(node, bench)}
        case Archive():
            return {"metrics": _archive(node, bench)}
        case StageRow():
            return row_results(node, bench)
        case _:
            raise TypeError(f"a {node.kind} node is no part of a sequence")


def _merge(node: Merged, bench: SequenceBench) -> dict[str, float]:
    """Make one codec of several, by a scale that validation images choose or that is given."""
    source = bench.first_codec(node)
    sums = {n: torch.zeros_like(p) for n, p in source.model.named_parameters()}
    for part in node.parts:
        for name, change in weight_changes(bench.adapted(part)).items():
            sums[name] += change

    def merged(scale: float) -> CopiedCodec:
        made = find_method("finetune").build(source, 0, 0)
        assert isinstance(made, CopiedCodec)
        with torch.no_grad():
            for name, value in made.codec.named_parameters():
                value += scale * sums[name]
        made.requires_grad_(False)
        made.refresh_tables()
        return made

    scale, losses = node.scales[0], {}
    if len(node.scales) > 1:
        losses = {value: _validation_excess(node, bench, merged(value)) for value in node.scales}
        scale = min(losses, key=lambda value: losses[value])
    names = [part.cell.block.domain for part in node.parts]
    record = {"scale": scale, "parts": [part.key for part in node.parts]}
    save_adapter(merged(scale), bench.file(node, ADAPTER_FILE), method="finetune", adapter_size=0,
                 record=record, domain="+".join(names))  # fmt: skip
    return {"merge/scale": scale, **{f"merge/val_loss_{s:g}": loss for s, loss in losses.items()}}


def _validation_excess(node: Merged, bench: SequenceBench, merged: CopiedCodec) -> float:
    """Loss on validation images over the source codec's, the mean over the source and all domains met."""
    seed, value = node.cell.block.data_seed, node.cell.block.rd_lambda
    source = SourceCoder(bench.first_codec(node))
    domains = [bench.source, *(bench.domains[part.cell.block.domain] for part in node.parts)]
    ratios = []
    for domain in domains:
        before, after = (_validated(coder, domain, seed, value) for coder in (source, merged))
        ratios.append(after / before)
    return sum(ratios) / len(ratios)


def _validated(coder: Coder, domain: Domain, data_seed: int, rd_lambda: float) -> float:
    scores = [score_coded(coder, sample) for sample in domain.split(1, data_seed).validation]
    return mean_score(scores, rd_lambda)["rd_loss"]


def _archive(node: Archive, bench: SequenceBench) -> dict[str, float]:
    """Code test images of every domain, and of validation images what they cost."""
    images: list[ArchivedImage] = []
    metrics: dict[str, float] = {}
    coded_by = _SourceArchive(node, bench) if node.trained is None else _TrainedArchive(node, bench)
    for tested in node.tested:
        images += coded_by.images(tested)
        scores = coded_by.validation(tested)
        metrics[f"val/{tested.domain}/rd_loss"] = mean_score(scores, node.rd_lambda)["rd_loss"]
    if node.trained is None:
        _keep_features(node, bench)
    write_streams(bench.file(node, STREAMS_FILE), images)
    return {**metrics, MEGAPIXELS: sum(image.num_pixels for image in images) / 1e6}


class _TrainedArchive:
    """Codes with what a training made."""

    def __init__(self, node: Archive, bench: SequenceBench) -> None:
        assert node.trained is not None
        self._node, self._bench = node, bench
        self._coder = bench.adapted(node.trained)

    def images(self, tested: Tested) -> list[ArchivedImage]:
        samples = spread(self._bench.domain_of(tested).test, tested.num_images)
        return [code_image(tested.domain, sample, self._coder) for sample in samples]

    def validation(self, tested: Tested) -> list[ImageScore]:
        split = self._bench.domain_of(tested).split(1, self._node.data_seed)
        return [score_coded(self._coder, sample) for sample in split.validation]


class _SourceArchive:
    """Codes with the source codec, whose results every sweep of the storage finds by content."""

    def __init__(self, node: Archive, bench: SequenceBench) -> None:
        self._node, self._bench = node, bench
        self._workbench = bench.source_bench(node, bench.source, bench.source)

    def images(self, tested: Tested) -> list[ArchivedImage]:
        domain = self._bench.domain_of(tested)
        return [
            archived(tested.domain, r.sample, r.coded, r.decoded)
            for r in self._workbench.references(domain, tested.num_images)
        ]

    def validation(self, tested: Tested) -> list[ImageScore]:
        return self._workbench.validated(self._bench.domain_of(tested), self._node.data_seed)


def _keep_features(node: Archive, bench: SequenceBench) -> None:
    """What a gate learns from, and what it will see of test images."""
    codec = bench.source_codec(node)
    tensors = {}
    for tested in node.tested:
        domain = bench.domain_of(tested)
        training = domain.split("all", node.data_seed).training[:GATE_IMAGES]
        sides = {"train": training, "test": spread(domain.test, tested.num_images)}
        for side, samples in sides.items():
            features = np.ascontiguousarray(gate_features(codec, samples))
            tensors[f"{side}/{tested.domain}"] = torch.from_numpy(features)
    save_hashed(bench.file(node, FEATURES_FILE), tensors, {})
