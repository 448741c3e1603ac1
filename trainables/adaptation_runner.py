"""Adaptation as the engine sees it: packs in, records out, and everything warm in between."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interfero.codecs.catalogue import absolute_source, load_codec
from interfero.codecs.checkpoint import codec_bytes
from interfero.codecs.codec import Codec
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.domain import Domain
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.engine.adaptation.nodes import Cell, Distance, Reference, Train
from interfero.engine.worker import Worker
from interfero.errors import CodecError
from interfero.records import CellRecord, Timing
from interfero.store.content import ContentStore
from trainables.adaptation import run_pack, run_trainings, time_steps
from trainables.resuming import CHECKPOINT_SECONDS
from trainables.timing import reference_timing
from trainables.workbench import Workbench

if TYPE_CHECKING:
    from interfero.engine.adaptation.plan import AdaptationPlan
    from interfero.engine.packs import Pack

MAX_BENCHES = 8
"""Workbenches a process keeps: a codec of a few megabytes and coded test images each."""

EVALUATIONS = "evaluations"
"""Folder beside the sweeps of a storage: what the source codec does to test images, by content."""

_BENCHES: OrderedDict[tuple[str, str, str, Path], Workbench] = OrderedDict()
"""Lives as long as the process: a warm actor codes the source images of a block once."""


@dataclass(frozen=True)
class AdaptationRunner:
    """Trains packs of adaptation cells; travels to workers of this machine with its domains."""

    source: str
    domains: dict[str, Domain]
    source_domain: Domain
    lambdas: tuple[float, ...] = ()
    """Of the codecs that the plan needs."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Seconds of training between checkpoints."""

    @classmethod
    def from_plan(cls, plan: AdaptationPlan) -> AdaptationRunner:
        """The runner of a plan."""
        # Workers run in folders of their own: a path must not depend on where the driver started.
        name = absolute_source(plan.options.source)
        seconds = plan.options.checkpoint_seconds
        return cls(name, plan.domains, plan.source_domain, tuple(plan.codecs), seconds)

    def shipped(self, storage: Path) -> ShippedRunner:
        """The same for the nodes of a cluster, which need neither this machine's images nor its codecs.

        Raises:
            StorageError: the storage cannot be written.
        """
        content = ContentStore(storage)
        codecs = {v: content.add([codec_bytes(load_codec(self.source, v))]) for v in self.lambdas}
        domains = {name: content.add(domain_blocks(d)) for name, d in self.domains.items()}
        source_domain = content.add(domain_blocks(self.source_domain))
        return ShippedRunner(content, codecs, domains, source_domain, self.checkpoint_seconds)

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a node, in order."""
        first, seconds = pack.nodes[0], self.checkpoint_seconds
        if isinstance(first, Cell):
            cells = [node for node in pack.nodes if isinstance(node, Cell)]
            yield from run_pack(cells, self._bench_of(first, worker), worker, seconds)
        elif isinstance(first, Train):
            trainings = [node for node in pack.nodes if isinstance(node, Train)]
            yield from run_trainings(trainings, self._bench_of(first.cell, worker), worker, seconds)
        elif worker.rank == 0:
            for node in pack.nodes:
                if isinstance(node, Reference | Distance):
                    yield self._look(node, worker)

    def time_steps(self, pack: Pack, worker: Worker) -> list[Timing]:
        """What a step of each cell takes; nothing is kept or evaluated."""
        cells = [node for node in pack.nodes if isinstance(node, Cell)]
        return time_steps(cells, self._bench_of(cells[0], worker), worker)

    def _look(self, node: Reference | Distance, worker: Worker) -> CellRecord:
        """What the source codec makes of a domain; kept by content, where cells find it."""
        bench = self._bench(node.codec_hash, node.rd_lambda, self._named(node), worker)
        started_at, started = time.time(), time.perf_counter()
        metrics: dict[str, float] = {}
        timing = None
        if isinstance(node, Distance):
            metrics = bench.distance.metrics
        else:
            before = bench.source_seconds, bench.source_megapixels
            bench.references(bench.target, node.num_images)
            bench.estimates(bench.target, node.data_seed)
            spent, seen = bench.source_seconds - before[0], bench.source_megapixels - before[1]
            metrics = {"reference/megapixels": seen}
            timing = reference_timing(bench.codec, node, worker, spent, seen)
        return CellRecord(
            key=node.key,
            params=node.params,
            status="finished",
            metrics=metrics,
            started_at=started_at,
            seconds=time.perf_counter() - started,
            timing=timing,
            provenance={"domain": node.domain},
        )

    def _named(self, node: Reference | Distance) -> Domain:
        """The domain that a node looks at; the source domain may bear a target's name."""
        source = self.source_domain
        return source if node.domain_hash == source.fingerprint else self.domains[node.domain]

    def _bench_of(self, cell: Cell, worker: Worker) -> Workbench:
        domain = self.domains[cell.block.domain]
        return self._bench(cell.identity.codec_hash, cell.block.rd_lambda, domain, worker)

    def _bench(self, codec_hash: str, value: float, target: Domain, worker: Worker) -> Workbench:
        evaluations = worker.folder.parent / EVALUATIONS
        key = (codec_hash, target.fingerprint, self.source_domain.fingerprint, evaluations)
        if key not in _BENCHES:

            def load() -> Codec:
                codec = load_codec(self.source, value)
                if codec.weights_hash != codec_hash:
                    raise CodecError(
                        f"{self.source} at lambda {value:g} is now {codec.weights_hash}, the sweep "
                        f"was planned with {codec_hash}: put the old file back, or start another --name"
                    )
                return codec

            _BENCHES[key] = Workbench(
                load(), load, target, self.source_domain, EvaluationStore(evaluations)
            )
            while len(_BENCHES) > MAX_BENCHES:
                _BENCHES.popitem(last=False)
        _BENCHES.move_to_end(key)
        return _BENCHES[key]


@dataclass(frozen=True)
class ShippedRunner:
    """Trains packs of adaptation cells with images and codecs that its node fetches by content."""

    content: ContentStore
    codecs: dict[float, str]
    """Addresses, by lambda."""
    domains: dict[str, str]
    """Addresses, by name."""
    source_domain: str
    checkpoint_seconds: float

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a cell, in order.

        Raises:
            StorageError: the storage does not hold what the driver has put there, whole.
        """
        value, domain = _place(pack)
        here = {domain: self._domain(self.domains[domain])} if domain in self.domains else {}
        runner = AdaptationRunner(
            str(self.content.fetch(self.codecs[value], "codec.safetensors")),
            here,
            self._domain(self.source_domain),
            (value,),
            self.checkpoint_seconds,
        )
        return runner(pack, worker)

    def _domain(self, address: str) -> Domain:
        return read_domain_file(self.content.fetch(address, "images.u8"))


def _place(pack: Pack) -> tuple[float, str]:
    """Lambda and domain of a pack's nodes."""
    node = pack.nodes[0]
    if isinstance(node, Reference | Distance):
        return node.rd_lambda, node.domain
    cell = node.cell if isinstance(node, Train) else node
    assert isinstance(cell, Cell)
    return cell.block.rd_lambda, cell.block.domain
