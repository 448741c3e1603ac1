"""What the stages of a sequence work with: codecs of other stages, and images that are rehearsed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from interfero.adaptation import load_adapter
from interfero.adaptation.cawf import CawfCodec, grown
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.ewc import EwcCodec
from interfero.adaptation.l2_sp import L2SpCodec
from interfero.adaptation.method import AdaptedCodec
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.codec import Codec
from interfero.codecs.coding import Coder, SourceCoder, decode, encode
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.domain import Domain
from interfero.domains.images import Sample
from interfero.domains.rehearsed import remembered
from interfero.engine.adaptation.nodes import ADAPTER_FILE, Block, Cell
from interfero.engine.sequence.nodes import (
    IMPORTANCE_FILE,
    Archive,
    Memory,
    Merged,
    MetDomain,
    Stage,
    Tested,
)
from interfero.errors import CodecError
from interfero.store.products import Products
from interfero.store.tensors import load_hashed, save_hashed
from trainables.workbench import Workbench

MAX_CODECS = 8
"""Codecs of stages that a process keeps, of some megabytes each."""
_CODECS: OrderedDict[tuple[Path, str], Codec] = OrderedDict()
"""Lives as long as the process: rows that follow each other need the same ones."""
MAX_DECODED = 256
"""Images of memories that a process keeps as their streams show them."""
_DECODED: OrderedDict[tuple[bytes, bytes | None, str], tuple[Sample, int]] = OrderedDict()
"""With the bytes of their streams, by codec, adapter and image."""


@dataclass(frozen=True)
class Remembered:
    """Images that are rehearsed, and what it takes to keep them."""

    samples: tuple[Sample, ...]
    num_bytes: int
    """Of pixels, or of streams."""


class StageBench(Workbench):
    """A workbench whose source codec is that of the stage before."""

    def __init__(
        self, codec: Codec, target: Domain, source: Domain, store: EvaluationStore, *,
        learned: tuple[Sample, ...], rehearsed: tuple[Sample, ...], earlier: tuple[Tensor, ...],
        anchor: Codec | None,
    ) -> None:  # fmt: skip
        """Keep them.

        Args:
            codec: What the stage goes on from.
            target: The domain it meets.
            source: The domain of the first codec.
            store: Where results by content are kept.
            learned: Images of the target side of its batches.
            rehearsed: Images of the source side.
            earlier: Importances of weights that add up from stage to stage.
            anchor: The codec that weights are pulled to, if not `codec`.
        """
        super().__init__(codec, lambda: codec, target, source, store)
        self._sides = learned, rehearsed
        self._earlier, self._anchor = earlier, anchor

    def learned(self, block: Block) -> tuple[Sample, ...]:
        """See `Workbench`."""
        return self._sides[0]

    def rehearsed(self, block: Block) -> tuple[Sample, ...]:
        """See `Workbench`."""
        return self._sides[1]

    def equip(self, adapted: AdaptedCodec, device: torch.device) -> None:
        """See `Workbench`."""
        if isinstance(adapted, EwcCodec):
            adapted.earlier = tuple(tensor.to(device) for tensor in self._earlier)
        if isinstance(adapted, L2SpCodec) and self._anchor is not None:
            model = copy.deepcopy(self._anchor.model)
            to_channels_last(model, device)
            adapted.anchor = (model,)

    def keep(self, adapted: AdaptedCodec, folder: Path) -> None:
        """See `Workbench`."""
        if isinstance(adapted, EwcCodec):
            tensors = {f"{i:04d}": tensor for i, tensor in enumerate(adapted.importance)}
            save_hashed(folder / IMPORTANCE_FILE, tensors, {})


@dataclass(frozen=True)
class SequenceBench:
    """Codecs and images of a sequence, as far as they are made."""

    domains: Mapping[str, Domain]
    """Target domains by name."""
    source: Domain
    load: Callable[[str, float], Codec]
    """Reads the source codec of a hash and a lambda anew."""
    storage: Path
    store: EvaluationStore
    checkpoint_seconds: float

    @property
    def products(self) -> Products:
        """What other nodes made."""
        return Products(self.storage)

    def file(self, node: Stage | Merged | Archive, name: str) -> Path:
        """A file of a node's product."""
        return self.products.place(node.key) / name

    def domain_of(self, tested: Tested) -> Domain:
        """A domain that is tested."""
        return self.source if tested.source else self.domains[tested.domain]

    def source_codec(self, archive: Archive) -> Codec:
        """The codec before anything was adapted."""
        return self._kept(
            archive.codec_hash, lambda: self.load(archive.codec_hash, archive.rd_lambda)
        )

    def first_codec(self, trained: Stage | Merged) -> Codec:
        """The same, of a training."""
        return self._source_of(trained.cell)

    def _source_of(self, cell: Cell) -> Codec:
        codec_hash, value = cell.identity.codec_hash, cell.block.rd_lambda
        return self._kept(codec_hash, lambda: self.load(codec_hash, value))

    def codec_before(self, trained: Stage | Merged) -> Codec:
        """What a training went on from."""
        before = trained.before if isinstance(trained, Stage) else None
        return self.codec_after(before) if before else self.first_codec(trained)

    def codec_after(self, trained: Stage | Merged) -> Codec:
        """What a training made, as a codec that can be adapted in turn.

        Raises:
            AdapterError: its file is damaged, or does not belong to the stage before.
            CodecError: it is an adapter that nothing can be trained on.
        """
        return self._kept(trained.key, lambda: self._as_codec(trained))

    def _as_codec(self, trained: Stage | Merged) -> Codec:
        adapted, before = self.adapted(trained), self.codec_before(trained)
        if isinstance(adapted, CawfCodec):
            return grown(before, adapted)
        if isinstance(adapted, CopiedCodec):
            return Codec(before.shape, before.rd_lambda, before.name, adapted.codec.eval())
        raise CodecError(
            f"an adapter of {before.name} leaves it as it was: the next stage can only go on from a codec "
            "that was changed, or that has grown; this is a bug"
        )

    def adapted(self, trained: Stage | Merged) -> AdaptedCodec:
        """What a training made, read from its file."""
        return load_adapter(self.file(trained, ADAPTER_FILE), self.codec_before(trained))[0]

    def _kept(self, key: str, make: Callable[[], Codec]) -> Codec:
        place = self.storage, key
        if place not in _CODECS:
            _CODECS[place] = make()
            while len(_CODECS) > MAX_CODECS:
                _CODECS.popitem(last=False)
        _CODECS.move_to_end(place)
        return _CODECS[place]

    def images(self, met: MetDomain, data_seed: int) -> tuple[Sample, ...]:
        """Training images of a domain that was met."""
        return self.domains[met.domain].split(met.num_images, data_seed).training

    def remembered(self, cell: Cell, newest: Stage | None, memory: Memory) -> Remembered:
        """What is kept of the source domain and of those that were met.

        Args:
            cell: Of any stage of the chain: it names the source codec and the seed.
            newest: The last stage that is over; None before the first.
            memory: What there is room for.

        Raises:
            StorageError, AdapterError: what an earlier stage made is gone or damaged.
        """
        seed = cell.block.data_seed
        stages = _chain(newest)
        domains = [
            self.source.split("all", seed).training,
            *(self.images(stage.met[-1], seed) for stage in stages),
        ]
        kept = remembered(domains, memory.num_images, memory.buffer, seed)
        if memory.form == "images":
            images = tuple(sample for domain in kept for sample in domain)
            return Remembered(images, sum(sample.pixels_HWC.nbytes for sample in images))
        # A stream is of the codec that was in service when its image was met: no later one can write it.
        coders: list[Coder] = [SourceCoder(self._source_of(cell)), *map(self.adapted, stages)]
        coded = [
            _as_decoded(coder, sample)
            for coder, domain in zip(coders, kept, strict=True)
            for sample in domain
        ]
        return Remembered(tuple(s for s, _ in coded), sum(size for _, size in coded))

    def source_bench(self, archive: Archive, target: Domain, other: Domain) -> Workbench:
        """A workbench of the source codec and two domains."""
        codec = self.source_codec(archive)
        return Workbench(codec, lambda: codec, target, other, self.store)

    def stage_bench(self, stage: Stage) -> StageBench:
        """The workbench of a stage and of those that train with it."""
        block, before = stage.cell.block, stage.before
        seed = block.data_seed
        own = self.domains[block.domain].split(block.num_images, seed).training
        met = before.met if before else ()
        source = self.source.split("all", seed).training
        # Of ewc: what its importances are of, the domain before.
        rehearsed = self.images(met[-1], seed) if met else source
        if stage.memory is not None:
            rehearsed = self.remembered(stage.cell, before, stage.memory).samples
        return StageBench(
            self.codec_before(stage), self.domains[block.domain], self.source, self.store,
            learned=self._union(stage, source) if stage.union else own,
            rehearsed=rehearsed,
            earlier=self._importance(before),
            anchor=self.first_codec(stage) if stage.anchor == "source" else None,
        )  # fmt: skip

    def _union(self, stage: Stage, source: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Images of all domains met and of the source, those of small ones repeated: each counts alike."""
        sides = [source, *(self.images(m, stage.cell.block.data_seed) for m in stage.union)]
        most = max(map(len, sides))
        return tuple(side[i % len(side)] for side in sides for i in range(most))

    def _importance(self, before: Stage | None) -> tuple[Tensor, ...]:
        if before is None or IMPORTANCE_FILE not in before.files:
            return ()
        tensors, _ = load_hashed(self.file(before, IMPORTANCE_FILE))
        return tuple(tensors[name] for name in sorted(tensors))


def _chain(newest: Stage | None) -> list[Stage]:
    """The stages that are over, the first one first."""
    stages: list[Stage] = []
    while newest is not None:
        stages.insert(0, newest)
        newest = newest.before
    return stages


def _as_decoded(coder: Coder, sample: Sample) -> tuple[Sample, int]:
    """An image as its stream shows it, and the bytes of the stream."""
    place = coder.codec_id, coder.adapter_id, sample.digest
    if place not in _DECODED:
        data = encode(coder, sample.pixels_HWC).data
        shown = decode(coder, data).pixels_HWC
        _DECODED[place] = replace(sample, pixels_HWC=shown, fine_HWC=None), len(data)
        while len(_DECODED) > MAX_DECODED:
            _DECODED.popitem(last=False)
    return _DECODED[place]
