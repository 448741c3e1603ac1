"""The cells of a restoration sweep, each with every node behind it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from interfero.codecs.lossy import LossyCodec, identity_hash
from interfero.domains.labelled import LabelledDomain, Portion
from interfero.engine.code import MODEL_LIBRARIES, library_versions
from interfero.engine.options.restoration import (
    OWN,
    Restoration,
    RestorationOptions,
    configurations_of,
)
from interfero.engine.restoration.configs import (
    Configuration,
    RestorationSplit,
    SegmentationConfig,
)
from interfero.engine.restoration.nodes import (
    ORIGINAL,
    Compressed,
    FineTuned,
    Images,
    LearnedFrom,
    Model,
    Originals,
    Restored,
    Restorer,
    Segmenter,
    TaskCodec,
    TaskCoded,
    TestCell,
    Training,
)
from interfero.engine.restoration.training_configs import (
    finetuning_config,
    restoration_config,
    task_codec_config,
)
from interfero.metrics.tasks import task_for


@dataclass(frozen=True)
class StepCode:
    """Hashes of the code behind each kind of node."""

    copies: str
    restoration: str
    segmentation: str
    adapting: str = ""
    """Sweeps of earlier releases have none."""

    @property
    def text(self) -> str:
        """The hashes in one text, as settings keep them."""
        return f"{self.copies} {self.restoration} {self.segmentation} {self.adapting}"


@dataclass(frozen=True)
class _Restoring:
    """What restores, where something does."""

    restoration: Restoration
    split: RestorationSplit
    seed: int
    codec: str
    """The codec of the images that it learns from; `OWN` is that of the images it restores."""


@dataclass(frozen=True)
class _Adapting:
    """How a codec is adapted for a model, where one is."""

    method: str
    task_weight: float


@dataclass(frozen=True)
class _Point:
    """Where a cell of a domain lies."""

    configuration: Configuration
    codec: str
    rate: float
    data_seed: int
    init_seed: int
    restoring: _Restoring | None
    few: int
    """Images of fine-tuning, 0 without one."""
    adapting: _Adapting | None


@dataclass(frozen=True)
class CellMaker:
    """Makes the cells of a domain."""

    options: RestorationOptions
    segmentation: SegmentationConfig
    codecs: dict[str, LossyCodec]
    code: StepCode

    def cells(self, domain: LabelledDomain) -> Iterator[TestCell]:
        """Configurations x codecs x rates x restorations x seeds, as far as each has them."""
        o = self.options
        for configuration in configurations_of(o):
            points = itertools.product(
                o.codecs, o.rates, o.data_seeds, o.init_seeds, self._restorings(configuration),
                self._few(configuration, domain), self._adaptings(configuration),
            )  # fmt: skip
            for point in points:
                yield self._cell(domain, _Point(configuration, *point))

    def _few(self, configuration: Configuration, domain: LabelledDomain) -> tuple[int, ...]:
        """How many images a model is fine-tuned on; 0 where it is not."""
        if not configuration.startswith("F"):
            return (0,)
        every = len(domain.train)
        return tuple(min(asked, every) or every for asked in self.options.finetune_images)

    def _adaptings(self, configuration: Configuration) -> list[_Adapting | None]:
        if "T" not in configuration:
            return [None]
        found = itertools.product(self.options.task_methods, self.options.task_weights)
        return [_Adapting(*each) for each in found]

    def _restorings(self, configuration: Configuration) -> list[_Restoring | None]:
        if "R" not in configuration:
            return [None]
        o = self.options
        found = itertools.product(
            o.restorations, o.restoration_splits, o.restorer_seeds, o.restorer_codecs
        )
        return [_Restoring(*each) for each in found]

    def _cell(self, domain: LabelledDomain, point: _Point) -> TestCell:
        trained, tested = point.configuration
        (tested_on,) = self._images(domain, "test", tested, point)
        lossy = point.configuration != "OO"
        restoring = point.restoring
        return TestCell(
            configuration=point.configuration,
            segmenter=self._model(domain, trained, point),
            tested_on=tested_on,
            codec=self.codecs[point.codec].name if lossy else ORIGINAL,
            rate_bpp=point.rate if lossy and point.configuration != "AO" else None,
            restoration=restoring.restoration if restoring else "none",
            restoration_split=restoring.split if restoring else "none",
            restorer_seed=restoring.seed if restoring else 0,
            variant=self._variant(point),
            data_seed=point.data_seed,
            init_seed=point.init_seed,
            code=self.code.segmentation,
        )

    def _variant(self, point: _Point) -> str:
        """What tells a line from others of its configuration."""
        if point.few:
            return f"{point.few} images"
        if point.adapting:
            config = task_codec_config(self.options, *astuple(point.adapting))
            size = f" {config.adapter_size}" if config.adapter_size else ""
            return f"{config.method}{size} task {config.task_weight:g}"
        if point.configuration.startswith("A"):
            return " ".join(f"{rate:g}" for rate in self._rates)
        foreign = point.restoring and self._learned_from(point)
        if foreign and foreign != point.codec:
            return f"restorer of {self.codecs[foreign].name}"
        return "none"

    @property
    def _rates(self) -> list[float]:
        """Rates that one model is trained on, in one order: it does not depend on that of the options."""
        return sorted(self.options.rates)

    def _learned_from(self, point: _Point) -> str:
        """The codec of the images that the point's restorer learns from."""
        assert point.restoring is not None
        return point.codec if point.restoring.codec == OWN else point.restoring.codec

    def _learned_images(
        self, domain: LabelledDomain, letter: str, point: _Point
    ) -> tuple[LearnedFrom, ...]:
        """Training images of a letter: no model is trained on what a codec adapted for a model makes."""
        found = self._images(domain, "train", letter, point)
        return tuple(images for images in found if not isinstance(images, TaskCoded))

    def _images(
        self, domain: LabelledDomain, portion: Portion, letter: str, point: _Point
    ) -> tuple[Images, ...]:
        """Those of a letter; several kinds are mixed."""
        originals = self._originals(domain, portion)
        compressed = self._compressed(domain, portion, point.codec, point.rate)
        match letter:
            case "O":
                return (originals,)
            case "C" | "F":
                return (compressed,)
            case "M":
                return (originals, compressed)
            case "T":
                return (self._task_coded(domain, compressed, point),)
            case "A":
                return tuple(
                    self._compressed(domain, portion, point.codec, rate) for rate in self._rates
                )
        return (Restored(compressed=compressed, restorer=self._restorer(domain, point)),)

    def _model(self, domain: LabelledDomain, letter: str, point: _Point) -> Model:
        """What is trained on the images of a letter."""
        config = self.segmentation.model_copy(update={"task": task_for(domain.label_kind).name})
        images = self._learned_images(domain, letter, point)
        training = Training(
            data_seed=point.data_seed,
            init_seed=point.init_seed,
            code=self.code.segmentation,
            versions=library_versions(MODEL_LIBRARIES),
        )
        labels_hash = domain.fingerprint if domain.images_of else ""
        if letter != "F":
            return Segmenter(
                images=images,
                config=config,
                num_classes=len(domain.classes),
                labels_hash=labels_hash,
                training=training,
            )
        deployed = self._model(domain, "O", point)
        assert isinstance(deployed, Segmenter)
        return FineTuned(
            start=deployed,
            few=point.few,
            images=images,
            config=finetuning_config(self.options, config),
            num_classes=len(domain.classes),
            labels_hash=labels_hash,
            training=training,
        )

    def _task_coded(
        self, domain: LabelledDomain, compressed: Compressed, point: _Point
    ) -> TaskCoded:
        """Images of a portion after a codec that was adapted for the model of originals."""
        assert point.adapting is not None
        deployed = self._model(domain, "O", point)
        assert isinstance(deployed, Segmenter)
        adapter = TaskCodec(
            segmenter=deployed,
            compressed=self._compressed(domain, "train", point.codec, point.rate),
            config=task_codec_config(self.options, *astuple(point.adapting)),
            training=Training(
                data_seed=point.data_seed,
                init_seed=point.init_seed,
                code=self.code.adapting,
                versions=library_versions(),
            ),
        )
        own = compressed.model_dump(exclude={"node", "originals"})
        return TaskCoded(originals=compressed.originals, adapter=adapter, **own)

    def _originals(self, domain: LabelledDomain, portion: Portion) -> Originals:
        return Originals(
            domain=domain.name,
            domain_hash=domain.images_hash,
            portion=portion,
            num_images=len(domain.portion(portion)),
        )

    def _compressed(
        self, domain: LabelledDomain, portion: Portion, codec: str, rate: float
    ) -> Compressed:
        return Compressed(
            originals=self._originals(domain, portion),
            codec=codec,
            codec_name=self.codecs[codec].name,
            codec_hash=identity_hash(self.codecs[codec]),
            rate_bpp=rate,
            code=self.code.copies,
        )

    def _restorer(self, domain: LabelledDomain, point: _Point) -> Restorer:
        assert point.restoring is not None
        restoring, codec = point.restoring, self._learned_from(point)
        on: Portion = "restoration" if restoring.split == "disjoint" else "train"
        other: Portion = "train" if restoring.split == "disjoint" else "restoration"
        config = restoration_config(self.options, restoring.restoration)
        held_out = self._compressed(domain, other, codec, point.rate)
        return Restorer(
            compressed=self._compressed(domain, on, codec, point.rate),
            held_out=held_out if config.validations else None,
            config=config,
            # Seeds of segmentation models draw no other restorer.
            training=Training(
                data_seed=point.data_seed,
                init_seed=restoring.seed,
                code=self.code.restoration,
                versions=library_versions(),
            ),
        )
