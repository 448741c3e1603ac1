"""Trials as the engine sees them: packs of nodes of any kind in, records out, everything warm in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from interfero.codecs.catalogue import absolute_source, load_codec
from interfero.codecs.checkpoint import codec_bytes
from interfero.codecs.codec import Codec
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.codecs.lossy import LossyCodec, LossyLearned
from interfero.domains.domain import Domain
from interfero.domains.labelled import LabelledDomain
from interfero.domains.labelled_file import labelled_blocks, read_labelled_file
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.engine.adaptation.nodes import Cell, Distance, Reference, Train
from interfero.engine.sequence.nodes import Archive, Merged, Stage, StageRow
from interfero.engine.worker import Worker
from interfero.errors import CodecError
from interfero.records import CellRecord, Timing
from interfero.store.content import ContentStore
from interfero.store.products import Products
from trainables.adaptation import look, run_pack, time_steps
from trainables.loop import CHECKPOINT_SECONDS
from trainables.workbench import Workbench

if TYPE_CHECKING:
    from interfero.engine.adaptation.plan import AdaptationPlan
    from interfero.engine.packs import Pack
    from interfero.engine.restoration.plan import RestorationPlan
    from trainables.sequence_bench import SequenceBench

K = TypeVar("K", str, float)
V = TypeVar("V")

SOURCE = "the source"
"""Names the source codec and the source domain of an adaptation sweep; no user's name has a space."""

MAX_BENCHES = 8
"""Workbenches a process keeps: a codec of a few megabytes and coded test images each."""

EVALUATIONS = "evaluations"
"""Folder beside the sweeps of a storage: what the source codec does to test images, by content."""

_BENCHES: OrderedDict[tuple[str, str, str, Path], Workbench] = OrderedDict()
"""Lives as long as the process: a warm actor codes the source images of a block once."""


@dataclass(frozen=True)
class Fetched(Mapping[K, V]):
    """What a node of a cluster fetches from the storage by content, each time that it is asked for."""

    content: ContentStore
    addresses: Mapping[K, str]
    file: str
    """Name of the fetched file."""
    read: Callable[[Path], V]

    def __getitem__(self, name: K) -> V:
        """Read one.

        Raises:
            StorageError: the storage does not hold what the driver has put there, whole.
        """
        return self.read(self.content.fetch(self.addresses[name], self.file))

    def __iter__(self) -> Iterator[K]:
        """Their names."""
        return iter(self.addresses)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.addresses)


@dataclass(frozen=True)
class Runner:
    """Does nodes of any kind; travels to workers of this machine with the images that they start from.

    What other nodes made it finds in the storage.
    """

    domains: Mapping[str, Domain] = field(default_factory=dict)
    """The target domains of an adaptation sweep by name, and its source domain as `SOURCE`."""
    labelled: Mapping[str, LabelledDomain] = field(default_factory=dict)
    """Those of a restoration sweep, by name."""
    codecs: Mapping[str, LossyCodec] = field(default_factory=dict)
    """As `--codecs` names them; of an adaptation sweep `SOURCE` alone."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Files of weights that configs name, and where this node has them."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """Seconds of training between checkpoints."""

    @classmethod
    def of_adaptation(cls, plan: AdaptationPlan) -> Runner:
        """The runner of a plan that adapts a codec."""
        # Workers run in folders of their own: a path must not depend on where the driver started.
        source = absolute_source(plan.options.source)
        return cls(
            domains={**plan.domains, SOURCE: plan.source_domain},
            codecs={SOURCE: LossyLearned(source, dict.fromkeys(plan.codecs, source))},
            checkpoint_seconds=plan.options.checkpoint_seconds,
        )

    @classmethod
    def of_restoration(cls, plan: RestorationPlan) -> Runner:
        """The runner of a plan of segmentation models, every one of which can be built.

        Raises:
            ConfigError: as `check_models`; CodecError: as `check_adapters`.
        """
        from trainables.model_checks import check_adapters, check_models, weight_files

        nodes = list(plan.behind(plan.cells).values())
        check_models(nodes)
        check_adapters(nodes, plan.codecs)
        return cls(
            labelled=plan.domains,
            codecs=plan.codecs,
            files={path: Path(path) for path in weight_files(nodes)},
            checkpoint_seconds=plan.options.checkpoint_seconds,
        )

    def shipped(self, storage: Path) -> Runner:
        """The same for the nodes of a cluster, which need no file of this machine.

        Raises:
            StorageError: the storage cannot be written.
        """
        content = ContentStore(storage)
        domains = {name: content.add(domain_blocks(d)) for name, d in self.domains.items()}
        labelled = {name: content.add(labelled_blocks(d)) for name, d in self.labelled.items()}
        files = {name: content.add([path.read_bytes()]) for name, path in self.files.items()}
        return replace(
            self,
            domains=Fetched(content, domains, "images.u8", read_domain_file),
            labelled=Fetched(content, labelled, "labelled.u8", read_labelled_file),
            codecs={name: _shipped_codec(codec, content) for name, codec in self.codecs.items()},
            files=Fetched(content, files, "weights.safetensors", Path),
        )

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a node, in order; of several workers, the first one gives them."""
        first = pack.nodes[0]
        if isinstance(first, Cell | Train):
            nodes = [node for node in pack.nodes if isinstance(node, Cell | Train)]
            cell = first.cell if isinstance(first, Train) else first
            bench = self._bench_of(cell, worker)
            yield from run_pack(nodes, bench, worker, self.checkpoint_seconds, pack.continued)
        elif isinstance(first, Stage | Merged | Archive | StageRow):
            # What a single adaptation does not need is not loaded for it.
            from trainables.sequence_nodes import do_sequence_nodes

            yield from do_sequence_nodes(pack.nodes, self._sequence_bench(worker), worker)
        elif isinstance(first, Reference | Distance):
            if worker.rank == 0:
                nodes_seen = [n for n in pack.nodes if isinstance(n, Reference | Distance)]
                yield from (self._look(node, worker) for node in nodes_seen)
        else:
            # Segmentation models take seconds to import, and adaptation needs none.
            from trainables.restoration_bench import Bench
            from trainables.restoration_nodes import do_nodes

            products = Products(worker.folder.parent)
            models = Bench(self.labelled, self.codecs, self.files, products, worker)
            yield from do_nodes(pack.nodes, models, self.checkpoint_seconds)

    def time_steps(self, pack: Pack, worker: Worker) -> list[Timing]:
        """What a step of each cell takes; nothing is kept or evaluated."""
        cells = [node for node in pack.nodes if isinstance(node, Cell)]
        return time_steps(cells, self._bench_of(cells[0], worker), worker)

    def _look(self, node: Reference | Distance, worker: Worker) -> CellRecord:
        source = self.domains[SOURCE]
        # The source domain may bear a target's name.
        seen = source if node.domain_hash == source.fingerprint else self.domains[node.domain]
        return look(node, self._bench(node.codec_hash, node.rd_lambda, seen, worker), worker)

    def _bench_of(self, cell: Cell, worker: Worker) -> Workbench:
        domain = self.domains[cell.block.domain]
        return self._bench(cell.identity.codec_hash, cell.block.rd_lambda, domain, worker)

    def _sequence_bench(self, worker: Worker) -> SequenceBench:
        from trainables.sequence_bench import SequenceBench

        targets = {name: d for name, d in self.domains.items() if name != SOURCE}
        evaluations = EvaluationStore(worker.folder.parent / EVALUATIONS)
        return SequenceBench(
            targets, self.domains[SOURCE], self._load, worker.folder.parent, evaluations,
            self.checkpoint_seconds,
        )  # fmt: skip

    def _load(self, codec_hash: str, value: float) -> Codec:
        """The source codec at a lambda, read anew.

        Raises:
            CodecError: it is no longer the one that the sweep was planned with.
        """
        codec = self.codecs[SOURCE]
        assert isinstance(codec, LossyLearned)
        loaded = load_codec(codec.sources[value], value)
        if loaded.weights_hash != codec_hash:
            raise CodecError(
                f"{codec.name} at lambda {value:g} is now {loaded.weights_hash}, the sweep "
                f"was planned with {codec_hash}: put the old file back, or start another --name"
            )
        return loaded

    def _bench(self, codec_hash: str, value: float, target: Domain, worker: Worker) -> Workbench:
        evaluations, source = worker.folder.parent / EVALUATIONS, self.domains[SOURCE]
        key = (codec_hash, target.fingerprint, source.fingerprint, evaluations)
        if key not in _BENCHES:
            load = partial(self._load, codec_hash, value)
            _BENCHES[key] = Workbench(
                load(), load, target, source, EvaluationStore(evaluations), self._load
            )
            while len(_BENCHES) > MAX_BENCHES:
                _BENCHES.popitem(last=False)
        _BENCHES.move_to_end(key)
        return _BENCHES[key]


def _shipped_codec(codec: LossyCodec, content: ContentStore) -> LossyCodec:
    """Of a learned codec, the storage has a file for each lambda; a classical one is installed."""
    if not isinstance(codec, LossyLearned):
        return codec
    addresses = {
        value: content.add([codec_bytes(load_codec(source, value))])
        for value, source in codec.sources.items()
    }
    return LossyLearned(codec.name, Fetched(content, addresses, "codec.safetensors", str))
