"""Compressed copies of a domain, by any codec at an asked rate, each image really coded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from interfero.codecs.lossy import LossyCodec, Setting
from interfero.domains.copies import CopiedImage, Copies, Transform
from interfero.domains.domain import Domain, spread
from interfero.domains.images import Sample
from interfero.errors import StorageError
from interfero.store.content import cached
from interfero.store.files import read_json, write_json
from interfero.store.keyed import KeyedStore
from interfero.store.keys import content_key

RATES = "rates"
"""Folder of the node's cache."""
MATCHED_IMAGES = 32
"""Training images that a rate is matched on, at most."""


@dataclass(frozen=True)
class Compression:
    """A codec at an asked rate, matched on training images: what all copies of a domain share."""

    codec: LossyCodec
    rate_bpp: float
    training: tuple[Sample, ...]
    """The rate is matched on these, `MATCHED_IMAGES` of them at most, and on no test image."""
    folder: Path
    """Keeps the setting that was found."""
    code: str = ""
    """Hash of the code that searches, where one folder outlives it."""
    asks_node: bool = False
    """Whether the node's cache is asked for what another folder's search found, and told; needs `code`."""

    def setting(self) -> Setting:
        """The codec's setting; searched once a folder, whoever asks first.

        Raises:
            CodecError: the codec comes no nearer to the rate.
            StorageError: the folder cannot be written.
        """

        def read(path: Path) -> Setting:
            return Setting(**read_json(path))

        def search(path: Path) -> None:
            found = self.codec.setting_for(spread(self.training, MATCHED_IMAGES), self.rate_bpp)
            write_json(path, asdict(found))

        def take_over(path: Path) -> None:
            try:
                found = cached(RATES, ".json").fetch(self._key, read, search)
            except StorageError:
                # A cache is a short cut.
                search(path)
            else:
                write_json(path, asdict(found))

        # A key without the code that searches must not outlive it.
        make = take_over if self.asks_node and self.code else search
        return KeyedStore(self.folder, ".json").fetch(self._key, read, make)

    def make(
        self,
        copies: Copies,
        shards: Sequence[int] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> None:
        """Make what is missing of a copy; see `Copies.make`."""
        setting = self.setting()
        copies.make(coded_at(self.codec, setting), self.lineage(setting), shards, poll)

    def lineage(self, setting: Setting) -> dict[str, Any]:
        """Codec, setting, rate asked for and found."""
        return {"step": "compress", "codec": self.codec.name, "identity": self.codec.identity,
                **asdict(setting)}  # fmt: skip

    @property
    def _key(self) -> str:
        digests = [sample.digest for sample in self.training]
        return content_key([self.codec.identity, self.rate_bpp, digests, MATCHED_IMAGES, self.code])


def coded_at(codec: LossyCodec, setting: Setting) -> Transform:
    """What makes copies of images at one setting of a codec."""

    def transform(samples: Sequence[Sample]) -> list[CopiedImage]:
        coded = codec.transcode_all([sample.pixels_HWC for sample in samples], setting)
        return [CopiedImage(one.pixels_HWC, one.num_bytes) for one in coded]

    return transform


def compressed(domain: Domain, codec: LossyCodec, rate_bpp: float, folder: Path) -> Domain:
    """A domain as it looks after compression; what is in `folder` already is not coded again.

    Args:
        domain: The originals.
        codec: Any codec.
        rate_bpp: Asked mean rate over training images; the notes say which was reached.
        folder: For copies of this and other domains: they lie in subfolders named by content.

    Raises:
        CodecError: the codec comes no nearer to the rate.
        StorageError: the folder cannot be written.
    """
    compression = Compression(codec, rate_bpp, domain.train, folder)
    parts: dict[str, tuple[Sample, ...]] = {}
    reached: dict[str, float] = {}
    for split, samples in (("train", domain.train), ("test", domain.test)):
        key = content_key([compression._key, split, [sample.digest for sample in samples]])
        copies = Copies(folder / key, samples, split)
        compression.make(copies)
        parts[split] = tuple(
            Sample(sample.name, sample.group, copy.pixels_HWC, source_image=sample.source_image)
            for sample, copy in zip(samples, copies.images, strict=True)
        )
        reached[split] = copies.mean_bpp
    rates = ", ".join(f"{split} {bpp:.3f}" for split, bpp in reached.items())
    regime = compression.setting().regime
    way = f" at {regime}" if regime else ""
    note = f"compressed by {codec.name}{way}, asked for {rate_bpp:g} bpp, reached {rates}"
    return replace(
        domain,
        name=f"{domain.name}-{codec.name}-{rate_bpp:g}",
        train=parts["train"],
        test=parts["test"],
        notes=(*domain.notes, note),
        reserve={},
    )
