"""Adaptation as the engine sees it: packs in, records out, and everything warm in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interfero.codecs.catalogue import bundled_names, load_codec
from interfero.codecs.checkpoint import codec_bytes
from interfero.codecs.codec import Codec
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.domain import Domain
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.engine.cells import Pack
from interfero.engine.worker import Worker
from interfero.errors import CodecError
from interfero.records import CellRecord, Timing
from interfero.store.content import ContentStore
from trainables import (
    adaptation,
    attribution,
    evaluation,
    finishing,
    fusing,
    member,
    resuming,
    schedule,
    workbench,
)
from trainables.adaptation import run_pack, time_steps
from trainables.resuming import CHECKPOINT_SECONDS
from trainables.workbench import Workbench

if TYPE_CHECKING:
    from interfero.engine.planning import Plan

_MODULES = (
    adaptation, attribution, evaluation, finishing, fusing, member, resuming, schedule, workbench,
)  # fmt: skip
ADAPTATION_CODE = tuple(Path(str(m.__file__)) for m in _MODULES)
"""Files whose code decides an adaptation cell's numbers."""

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
    def from_plan(cls, plan: Plan) -> AdaptationRunner:
        """The runner of a plan."""
        source = Path(plan.options.source)
        # Workers run in folders of their own: a path must not depend on where the driver started.
        name = (
            str(source.resolve())
            if source.exists() and plan.options.source not in bundled_names()
            else plan.options.source
        )
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
        """One record a cell, in order."""
        bench = self._bench(pack, worker)
        return run_pack(pack.cells, bench, worker, self.checkpoint_seconds)

    def time_steps(self, pack: Pack, worker: Worker) -> list[Timing]:
        """What a step of each cell takes; nothing is kept or evaluated."""
        return time_steps(pack.cells, self._bench(pack, worker), worker)

    def _bench(self, pack: Pack, worker: Worker) -> Workbench:
        identity, value = pack.cells[0].identity, pack.block.rd_lambda
        evaluations = worker.folder.parent / EVALUATIONS
        domains = (identity.domain_hash, identity.source_domain_hash)
        key = (identity.codec_hash, *domains, evaluations)
        if key not in _BENCHES:

            def load() -> Codec:
                codec = load_codec(self.source, value)
                if codec.weights_hash != identity.codec_hash:
                    raise CodecError(
                        f"{self.source} at lambda {value:g} is now {codec.weights_hash}, the sweep "
                        f"was planned with {identity.codec_hash}: put the old file back, or start "
                        "another --name"
                    )
                return codec

            _BENCHES[key] = Workbench(
                load(),
                load,
                self.domains[pack.block.domain],
                self.source_domain,
                EvaluationStore(evaluations),
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
        value, domain = pack.block.rd_lambda, pack.block.domain
        runner = AdaptationRunner(
            str(self.content.fetch(self.codecs[value], "codec.safetensors")),
            {domain: self._domain(self.domains[domain])},
            self._domain(self.source_domain),
            (value,),
            self.checkpoint_seconds,
        )
        return runner(pack, worker)

    def _domain(self, address: str) -> Domain:
        return read_domain_file(self.content.fetch(address, "images.u8"))
