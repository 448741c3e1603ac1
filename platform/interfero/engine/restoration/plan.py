"""The plan of a restoration sweep: its cells, and every node that they need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfero.codecs.lossy import LossyCodec, find_lossy, identity_hash
from interfero.domains.labelled import LabelledDomain, Portion
from interfero.domains.labelled_catalogue import load_labelled
from interfero.domains.memory import GIB, MemoryBudget
from interfero.engine.code import MODEL_LIBRARIES, library_versions
from interfero.engine.node import Node
from interfero.engine.options.restoration import (
    Restoration,
    RestorationOptions,
    configurations_of,
)
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.restoration.configs import (
    Configuration,
    RestorationConfig,
    RestorationSplit,
    SegmentationConfig,
)
from interfero.engine.restoration.nodes import (
    Compressed,
    FineTuned,
    Images,
    Model,
    Originals,
    Restored,
    Restorer,
    Segmenter,
    TestCell,
    Training,
    needs_of,
)
from interfero.engine.restoration.pretrained import encoder_file
from interfero.errors import ConfigError
from interfero.metrics.tasks import task_for
from interfero.store.keys import bytes_key

ORIGINAL = "original"
"""Codec of cells that no codec takes part in."""
_ORDER = ("compress", "restoration", "restore", "segmentation", "finetune", "test")
"""Long chains first: a restorer is waited for by more than a model is."""


@dataclass(frozen=True)
class StepCode:
    """Hashes of the code behind each kind of node."""

    copies: str
    restoration: str
    segmentation: str

    @property
    def text(self) -> str:
        """The hashes in one text, as settings keep them."""
        return f"{self.copies} {self.restoration} {self.segmentation}"


@dataclass(frozen=True)
class RestorationPlan(Plan):
    """A sweep about learning from compressed and restored images, resolved."""

    options: RestorationOptions
    domains: dict[str, LabelledDomain]
    codecs: dict[str, LossyCodec]
    """As `--codecs` names them."""
    cells: tuple[TestCell, ...]
    step_code: StepCode

    @property
    def leaves(self) -> Sequence[TestCell]:
        """See `Plan`."""
        return self.cells

    @property
    def num_cells(self) -> int:
        """See `Plan`."""
        return len(self.cells)

    @property
    def code(self) -> str:
        """See `Plan`."""
        return self.step_code.text

    @property
    def content(self) -> dict[str, str]:
        """See `Plan`."""
        return {
            **{f"codec {c.name}": c.identity for c in self.codecs.values()},
            **{f"domain {n}": d.fingerprint for n, d in self.domains.items()},
            **{f"version of {n}": v for n, v in library_versions(MODEL_LIBRARIES).items()},
        }

    def needs(self, node: Node) -> tuple[Node, ...]:
        """See `Plan`."""
        return needs_of(node)

    def packs(
        self, cells: Sequence[Node], done: Set[str] = frozenset(), at_once: int | None = None
    ) -> list[Pack]:
        """See `Plan`: a node each, and the cells that test one model together; long chains first."""
        tests: dict[str, list[TestCell]] = {}
        for cell in cells:
            assert isinstance(cell, TestCell)
            tests.setdefault(cell.segmenter.key, []).append(cell)
        groups: list[tuple[Node, ...]] = [(node,) for node in self.behind(cells, done).values()]
        groups += [tuple(members) for members in tests.values()]
        packs = [
            Pack.of(nodes, {need.key for node in nodes for need in self.needs(node)} - done)
            for nodes in groups
        ]
        return sorted(packs, key=lambda p: _ORDER.index(p.nodes[0].kind))


def make_plan(options: RestorationOptions, code: StepCode) -> RestorationPlan:
    """Check everything that can be checked before training, and list the cells.

    Raises:
        ConfigError, DomainError, CodecError: names the value, the rule and the remedy.
    """
    options.check()
    segmentation = segmentation_config(options)
    codecs = {name: find_lossy(name) for name in options.codecs}
    names = [codec.name for codec in codecs.values()]
    if len(set(names)) < len(names):
        raise ConfigError(f"--codecs names one codec twice: {', '.join(options.codecs)}")
    given = options.max_domain_memory
    budget = MemoryBudget(None if given is None else int(given * GIB))
    domains: dict[str, LabelledDomain] = {}
    for spec in options.domains:
        domain = load_labelled(
            spec, max_images=options.max_images, max_side=options.max_side, budget=budget
        )
        if domain.name in domains:
            raise ConfigError(f"--domains names one domain twice: {', '.join(options.domains)}")
        domains[domain.name] = domain
    maker = _Maker(options, segmentation, codecs, code)
    cells: dict[str, TestCell] = {}
    for domain in domains.values():
        for cell in maker.cells(domain):
            cells.setdefault(cell.key, cell)
    return RestorationPlan(options, domains, codecs, tuple(cells.values()), code)


@dataclass(frozen=True)
class _Point:
    """Where a cell of a domain lies."""

    configuration: Configuration
    codec: str
    rate: float
    data_seed: int
    init_seed: int
    restoration: Restoration | Literal["none"]
    split: RestorationSplit | Literal["none"]
    few: int
    """Images of fine-tuning, 0 without one."""


@dataclass(frozen=True)
class _Maker:
    """Makes the cells of a domain."""

    options: RestorationOptions
    segmentation: SegmentationConfig
    codecs: dict[str, LossyCodec]
    code: StepCode

    def cells(self, domain: LabelledDomain) -> Iterator[TestCell]:
        """Configurations x codecs x rates x restorations x seeds, as far as each has them."""
        o = self.options
        for configuration in configurations_of(o):
            points = itertools.product(o.codecs, o.rates, o.data_seeds, o.init_seeds)
            for codec, rate, data_seed, init_seed in points:
                for restoration, split in self._restorations(configuration):
                    for few in self._few(configuration, domain):
                        point = _Point(
                            configuration,
                            codec,
                            rate,
                            data_seed,
                            init_seed,
                            restoration,
                            split,
                            few,
                        )
                        yield self._cell(domain, point)

    def _few(self, configuration: Configuration, domain: LabelledDomain) -> tuple[int, ...]:
        """How many images a model is fine-tuned on; 0 where it is not."""
        if not configuration.startswith("F"):
            return (0,)
        every = len(domain.train)
        return tuple(min(asked, every) or every for asked in self.options.finetune_images)

    def _restorations(
        self, configuration: Configuration
    ) -> list[tuple[Restoration | Literal["none"], RestorationSplit | Literal["none"]]]:
        if configuration not in ("RO", "RR"):
            return [("none", "none")]
        return list(itertools.product(self.options.restorations, self.options.restoration_splits))

    def _cell(self, domain: LabelledDomain, point: _Point) -> TestCell:
        trained, tested = point.configuration
        (tested_on,) = self._images(domain, "test", tested, point)
        lossy = point.configuration != "OO"
        return TestCell(
            configuration=point.configuration,
            segmenter=self._model(domain, trained, point),
            tested_on=tested_on,
            codec=self.codecs[point.codec].name if lossy else ORIGINAL,
            rate_bpp=point.rate if lossy else None,
            restoration=point.restoration,
            restoration_split=point.split,
            variant=f"{point.few} images" if point.few else "none",
            data_seed=point.data_seed,
            init_seed=point.init_seed,
            code=self.code.segmentation,
        )

    def _images(
        self, domain: LabelledDomain, portion: Portion, letter: str, point: _Point
    ) -> tuple[Images, ...]:
        """Those of a letter; two kinds are mixed."""
        originals = self._originals(domain, portion)
        compressed = self._compressed(domain, portion, point.codec, point.rate)
        match letter:
            case "O":
                return (originals,)
            case "C" | "F":
                return (compressed,)
            case "M":
                return (originals, compressed)
        assert point.restoration != "none"
        on: Portion = "restoration" if point.split == "disjoint" else "train"
        learned_from = self._compressed(domain, on, point.codec, point.rate)
        restorer = self._restorer(learned_from, point.restoration, point.data_seed)
        return (Restored(compressed=compressed, restorer=restorer),)

    def _model(self, domain: LabelledDomain, letter: str, point: _Point) -> Model:
        """What is trained on the images of a letter."""
        config = self.segmentation.model_copy(update={"task": task_for(domain.label_kind).name})
        images = self._images(domain, "train", letter, point)
        training = Training(
            data_seed=point.data_seed,
            init_seed=point.init_seed,
            code=self.code.segmentation,
            versions=library_versions(MODEL_LIBRARIES),
        )
        if letter != "F":
            return Segmenter(
                images=images, config=config, num_classes=len(domain.classes), training=training
            )
        deployed = self._model(domain, "O", point)
        assert isinstance(deployed, Segmenter)
        return FineTuned(
            start=deployed,
            few=point.few,
            images=images,
            config=finetuning_config(self.options, config),
            num_classes=len(domain.classes),
            training=training,
        )

    def _originals(self, domain: LabelledDomain, portion: Portion) -> Originals:
        return Originals(
            domain=domain.name,
            domain_hash=domain.fingerprint,
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

    def _restorer(
        self, compressed: Compressed, restoration: Restoration, data_seed: int
    ) -> Restorer:
        # One model a rate and codec: seeds of segmentation models do not draw another restorer.
        training = Training(
            data_seed=data_seed,
            init_seed=0,
            code=self.code.restoration,
            versions=library_versions(),
        )
        config = restoration_config(self.options, restoration)
        return Restorer(compressed=compressed, config=config, training=training)


def segmentation_config(options: RestorationOptions) -> SegmentationConfig:
    """How the sweep's segmentation models are trained.

    Raises:
        ConfigError: the weights of their encoder are not there.
    """
    weights = encoder_file(options.encoder, options.encoder_weights)
    return SegmentationConfig(
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        learning_rate=options.learning_rate,
        precision=options.precision,
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        workers=options.workers_per_trial,
        architecture=options.architecture,
        encoder=options.encoder,
        encoder_depth=options.encoder_depth,
        decoder_width=options.decoder_width,
        encoder_weights=None if weights is None else str(weights),
        encoder_hash=_file_hash("--encoder-weights", weights),
        encoder_rate=options.encoder_rate,
        class_weights=options.class_weights,
        augmentations=options.augmentations,
        schedule=options.schedule,
        ema_decay=options.ema_decay,
        validations=options.validations,
    )


def finetuning_config(
    options: RestorationOptions, config: SegmentationConfig
) -> SegmentationConfig:
    """How a model that was trained by a config is fine-tuned."""
    return config.model_copy(
        update={
            "num_steps": options.finetune_steps,
            "learning_rate": options.finetune_rate * options.learning_rate,
        }
    )


def restoration_config(options: RestorationOptions, restoration: Restoration) -> RestorationConfig:
    """How the sweep's restorers are trained."""
    config = RestorationConfig(
        num_steps=options.restoration_steps,
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        learning_rate=options.restoration_learning_rate,
        precision=options.precision,
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        workers=options.workers_per_trial,
        generator=options.generator,
    )
    if restoration == "regression":
        return config.model_copy(
            update={"adversary": "none", "adversarial_weight": 0.0, "feature_weight": 0.0}
        )
    return config.model_copy(
        update={
            "adversary": options.adversary,
            "adversarial_weight": options.adversarial_weight,
            "feature_weight": options.feature_weight,
            "perceptual_weight": options.perceptual_weight,
            "perceptual_weights": _resolved(options.perceptual_weights),
            "perceptual_hash": _file_hash("--perceptual-weights", options.perceptual_weights),
        }
    )


def _resolved(path: str | None) -> str | None:
    # Workers run in folders of their own.
    return None if path is None else str(Path(path).expanduser().resolve())


def _file_hash(option: str, path: str | Path | None) -> str:
    if path is None:
        return ""
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be read ({error.strerror})") from error
    return bytes_key(data)
