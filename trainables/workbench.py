"""What stays loaded between the cells of a block: codec, domains, what the source codec does to images."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import torch
from compressai.models import CompressionModel

from interfero.adaptation.method import AdaptedCodec
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.codec import Codec
from interfero.codecs.coding import (
    Coded,
    Coder,
    Decoded,
    ImageScore,
    SourceCoder,
    chroma_mse,
    decode,
    encode,
    pixel_mse,
    score_coded,
)
from interfero.codecs.domain_distance import DomainDistance, domain_distance
from interfero.codecs.evaluation_store import (
    Entry,
    EvaluationKey,
    EvaluationStore,
    codec_identity,
)
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample, UInt8Array
from interfero.engine.adaptation.nodes import Block, Rate
from interfero.engine.timing import megapixels


@dataclass(frozen=True)
class ReferenceImage:
    """One image as the source codec codes it."""

    sample: Sample
    coded: Coded
    decoded: Decoded
    score: ImageScore


class Workbench:
    """What stays loaded between the cells of a block: codec, domains, the source codec's results."""

    def __init__(
        self,
        codec: Codec,
        reload_codec: Callable[[], Codec],
        target: Domain,
        source: Domain,
        store: EvaluationStore | None = None,
        load_codec: Callable[[str, float], Codec] | None = None,
    ) -> None:
        """Keep them; references are computed at first use.

        Args:
            codec: The source codec, for coding.
            reload_codec: Reads it from disk again, past every cache.
            target: The domain to adapt to.
            source: The domain whose images may get worse.
            store: Where the source codec's results are kept, for every block and sweep that
                needs them.
            load_codec: Reads the source codec of another lambda, by the hash of its weights and lambda.
        """
        self.codec = codec
        self.reload_codec = reload_codec
        self.target = target
        self.source = source
        self.source_seconds = 0.0
        """Spent on the source codec's results, those that were kept left out."""
        self.source_megapixels = 0.0
        """What they were computed on."""
        self._store = store
        self._load_codec = load_codec
        self._others: dict[str, CompressionModel] = {}
        self._training_codec: Codec | None = None
        self._references: dict[tuple[str, int], tuple[ReferenceImage, ...]] = {}
        self._validated: dict[tuple[str, int], list[ImageScore]] = {}
        self._distance: DomainDistance | None = None

    @property
    def distance(self) -> DomainDistance:
        """Of the target from the source domain, as the source codec sees it."""
        if self._distance is None:
            self._distance = self._kept_distance()
        return self._distance

    def _kept_distance(self) -> DomainDistance:
        if self._store is None:
            return domain_distance(self.codec, self.target, self.source)

        def measure() -> Entry:
            return Entry(asdict(domain_distance(self.codec, self.target, self.source)))

        both = f"{self.target.fingerprint} {self.source.fingerprint}"
        key = EvaluationKey(codec_identity(self.codec), both, {"kind": "distance"})
        entry = self._store.fetch(key, measure)
        measured = {
            f.name: entry.number(f.name) for f in fields(DomainDistance) if f.name != "chroma_sd"
        }
        return DomainDistance(**measured, chroma_sd=entry.numbers.get("chroma_sd"))

    def training_codec(self, device: torch.device) -> Codec:
        """A replica on a device, in the memory format that trains fastest; never codes."""
        if self._training_codec is None:
            model = copy.deepcopy(self.codec.model)
            to_channels_last(model, device)
            shape, rd_lambda, name = self.codec.shape, self.codec.rd_lambda, self.codec.name
            self._training_codec = Codec(shape, rd_lambda, name, model)
        return self._training_codec

    def training_models(
        self, rates: Sequence[Rate], device: torch.device
    ) -> dict[float, CompressionModel]:
        """Replicas of the source codecs of several lambdas, by lambda; as `training_codec`.

        Raises:
            CodecError: one of them has changed since the sweep was planned.
        """
        found = {}
        for rate in rates:
            if rate.codec_hash == self.codec.weights_hash:
                found[rate.rd_lambda] = self.training_codec(device).model
                continue
            if rate.codec_hash not in self._others:
                assert self._load_codec is not None, "a workbench of one lambda"
                model = self._load_codec(rate.codec_hash, rate.rd_lambda).model
                to_channels_last(model, device)
                self._others[rate.codec_hash] = model
            found[rate.rd_lambda] = self._others[rate.codec_hash]
        return found

    def learned(self, block: Block) -> tuple[Sample, ...]:
        """Images of the target side of a block's batches."""
        return self.target.split(block.num_images, block.data_seed).training

    def rehearsed(self, block: Block) -> tuple[Sample, ...]:
        """Images of the source side of a block's batches."""
        return self.source.split("all", block.data_seed).training

    def equip(self, adapted: AdaptedCodec, device: torch.device) -> None:
        """Give a codec that is about to train what its method knows besides; nothing of a single domain."""

    def keep(self, adapted: AdaptedCodec, folder: Path) -> None:
        """Write what later trainings need of a trained codec besides its adapter file; nothing here."""

    def references(self, domain: Domain, limit: int) -> tuple[ReferenceImage, ...]:
        """The domain's test images as the source codec codes them, at most `limit`."""
        key = (domain.fingerprint, limit)
        if key not in self._references:
            identity, coder = codec_identity(self.codec), SourceCoder(self.codec)
            samples = spread(domain.test, limit)
            self._references[key] = tuple(
                _reference(s, self._kept(identity, "reference", s, partial(_coded_entry, coder)))
                for s in samples
            )
        return self._references[key]

    def validation(self, domain: Domain, data_seed: int) -> tuple[Sample, ...]:
        """Validation images of a data seed."""
        return domain.split(1, data_seed).validation

    def validated(self, domain: Domain, data_seed: int) -> list[ImageScore]:
        """The source codec's scores on validation images, coded as those of a test are."""
        key = (domain.fingerprint, data_seed)
        if key not in self._validated:
            identity, coder = codec_identity(self.codec), SourceCoder(self.codec)
            samples = self.validation(domain, data_seed)
            self._validated[key] = [
                _scored(s, self._kept(identity, "validation", s, partial(_scored_entry, coder)))
                for s in samples
            ]
        return self._validated[key]

    def _kept(
        self, identity: str, kind: str, sample: Sample, compute: Callable[[Sample], Entry]
    ) -> Entry:
        def timed() -> Entry:
            started = time.perf_counter()
            entry = compute(sample)
            self.source_seconds += time.perf_counter() - started
            self.source_megapixels += megapixels([sample])
            return entry

        if self._store is None:
            return timed()
        return self._store.fetch(EvaluationKey(identity, sample.digest, {"kind": kind}), timed)


def _coded_entry(coder: Coder, sample: Sample) -> Entry:
    """One image coded and decoded."""
    coded = encode(coder, sample.pixels_HWC)
    decoded = decode(coder, coded.data)
    return Entry({}, (coded.data,), coded.symbols, decoded.symbols, decoded.pixels_HWC)


def _reference(sample: Sample, entry: Entry) -> ReferenceImage:
    coded = Coded(entry.streams[0], entry.symbols)
    decoded = Decoded(entry.picture(), entry.decoded_symbols)
    return ReferenceImage(sample, coded, decoded, score(sample, coded, decoded.pixels_HWC))


def _scored_entry(coder: Coder, sample: Sample) -> Entry:
    found = score_coded(coder, sample)
    return Entry({"bpp": found.bpp, "mse": found.mse})


def _scored(sample: Sample, entry: Entry) -> ImageScore:
    """The numbers under the sample's present name: the store knows it by content."""
    return ImageScore(sample.name, sample.source_image, entry.number("bpp"), entry.number("mse"))


def score(sample: Sample, coded: Coded, pixels: UInt8Array) -> ImageScore:
    """Of one image: its coded rate, and the error of what was decoded."""
    height, width = sample.pixels_HWC.shape[:2]
    bpp = 8 * len(coded.data) / (height * width)
    original = sample.pixels_HWC
    errors = pixel_mse(pixels, original), chroma_mse(pixels, original)
    return ImageScore(sample.name, sample.source_image, bpp, *errors)
