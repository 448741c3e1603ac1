"""What the nodes of a pack share: originals, products of earlier nodes, and models that were loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from interfero.codecs.compressed import Compression
from interfero.codecs.lossy import LossyCodec, identity_hash
from interfero.domains.copies import Copies
from interfero.domains.images import UInt8Array
from interfero.domains.labelled import LabelledDomain, LabelledSample
from interfero.engine.restoration.configs import PATHS, TrainingConfig
from interfero.engine.restoration.nodes import (
    Compressed,
    Copied,
    Images,
    Originals,
    Restored,
    Restorer,
    TaskCoded,
    TrainedModel,
    originals_of,
)
from interfero.engine.restoration.rates import compression_of, settings_folder
from interfero.engine.worker import Worker
from interfero.errors import CodecError
from interfero.store.products import MODEL_FILE, Products
from interfero.store.tensors import load_hashed, save_hashed
from trainables.restoration_networks import build_generator
from trainables.segmentation import build_started
from trainables.task_codecs import LossyAdapted

TrainingT = TypeVar("TrainingT", bound=TrainingConfig)


class Bench:
    """What nodes of a pack share: originals, products, and models that were loaded."""

    def __init__(
        self,
        domains: Mapping[str, LabelledDomain],
        codecs: Mapping[str, LossyCodec],
        files: Mapping[str, Path],
        products: Products,
        worker: Worker,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            domains: By name.
            codecs: As `--codecs` names them.
            files: Where this node has the files that configs name.
            products: What other nodes made.
            worker: This process.
        """
        self.products, self.worker = products, worker
        self._given, self._codecs, self._files = domains, codecs, files
        self._domains: dict[str, LabelledDomain] = {}
        self._models: dict[str, nn.Module] = {}

    def domain(self, originals: Originals) -> LabelledDomain:
        """The labelled domain of images."""
        name = originals.domain
        if name not in self._domains:
            self._domains[name] = self._given[name]
        return self._domains[name]

    def samples(self, originals: Originals) -> tuple[LabelledSample, ...]:
        """Originals with their labels."""
        return self.domain(originals).portion(originals.portion)

    def copies(self, images: Compressed | TaskCoded | Restored) -> Copies:
        """Where the copies of images are kept."""
        originals = originals_of(images)
        split = "test" if originals.portion == "test" else "train"
        return Copies(self.products.place(images.product), self.samples(originals), split)

    def codec(self, images: Copied) -> LossyCodec:
        """The codec that `--codecs` names for some copies.

        Raises:
            CodecError: it is another than the one that the sweep was planned with.
        """
        codec = self._codecs[images.codec]
        if identity_hash(codec) != images.codec_hash:
            raise CodecError(
                f"codec {images.codec} is now {codec.identity}, and was another when the sweep was "
                "planned: put the old file back, or start another --name"
            )
        return codec

    def compression(self, images: Copied) -> Compression:
        """The codec at its rate, adapted where an adapter belongs to the copies.

        Raises:
            CodecError: as `codec`; AdapterError: the adapter file is damaged.
        """
        codec, domain = self.codec(images), self.domain(images.originals)
        found = compression_of(images, codec, domain, settings_folder(self.products))
        if not isinstance(images, TaskCoded):
            return found
        adapter = self.products.place(images.adapter.key) / MODEL_FILE
        return replace(found, codec=LossyAdapted.load(codec, found.setting(), adapter))

    def pixels(self, images: Images) -> Sequence[UInt8Array]:
        """Images as a model is given them."""
        if isinstance(images, Originals):
            return [sample.pixels_HWC for sample in self.samples(images)]
        return [copy.pixels_HWC for copy in self.copies(images).images]

    def here(self, config: TrainingT) -> TrainingT:
        """A config with the files that it names where this node has them."""
        named = {name: str(getattr(config, name, None)) for name in PATHS}
        moved = {n: str(self._files[path]) for n, path in named.items() if path in self._files}
        return config.model_copy(update=moved)

    def save(self, node: Restorer | TrainedModel, model: nn.Module) -> None:
        """Keep a model, once."""
        if self.worker.rank == 0:
            path = self.products.place(node.key) / MODEL_FILE
            save_hashed(path, model.state_dict(), {"key": node.key, **node.lineage})

    def state(self, step: Restorer | TrainedModel) -> dict[str, Tensor]:
        """The weights and buffers of a trained model."""
        tensors, _ = load_hashed(self.products.place(step.key) / MODEL_FILE)
        return tensors

    def model(self, step: Restorer | TrainedModel) -> nn.Module:
        """A trained model, in evaluation mode."""
        if step.key not in self._models:
            if isinstance(step, Restorer):
                model = build_generator(step.config)
                model.load_state_dict(self.state(step))
            else:
                model = build_started(step.config, step.num_classes, 0, self.state(step))
            self._models[step.key] = model.to(self.worker.device).eval()
        return self._models[step.key]
