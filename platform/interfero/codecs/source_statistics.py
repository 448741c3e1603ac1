"""What distances from a source domain are measured from, as a file: no image of it is needed any more.

A map of cells that travels without its source images has such a file beside it, so that `interfero predict`
can say how far a new domain lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from interfero.codecs.codec import Codec
from interfero.codecs.domain_distance import Description, describe
from interfero.domains.domain import Domain
from interfero.errors import StorageError
from interfero.store.tensors import load_tensors, save_tensors

FILE = "source.safetensors"
"""Beside the `cells.parquet` of a map."""
FORMAT = "interfero-source-statistics-1"
_ARRAYS = ("counts", "mean", "covariance", "deviation")


@dataclass(frozen=True)
class SourceStatistics:
    """One source domain as one codec sees it at several lambdas."""

    domain: str
    """Its name."""
    domain_hash: str
    """Hash of the domain's images and splits."""
    by_codec: Mapping[str, Description]
    """Descriptions by the hash of the codec's weights."""

    @classmethod
    def measured(cls, source: Domain, codecs: list[Codec]) -> SourceStatistics:
        """Measure the statistics of a domain with several codecs."""
        found = {codec.weights_hash: describe(codec, source) for codec in codecs}
        return cls(source.name, source.fingerprint, found)

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            StorageError: it cannot be written.
        """
        tensors = {
            f"{key}.{name}": torch.from_numpy(getattr(described, name))
            for key, described in self.by_codec.items()
            for name in _ARRAYS
        }
        losses = {key: described.loss for key, described in self.by_codec.items()}
        metadata = {"format": FORMAT, "domain": self.domain, "domain_hash": self.domain_hash}
        save_tensors(path, tensors, {**metadata, "losses": losses})

    @classmethod
    def load(cls, path: Path) -> SourceStatistics:
        """Read the file.

        Raises:
            StorageError: it is damaged, or of another kind.
        """
        tensors, metadata = load_tensors(path)
        try:
            if metadata["format"] != FORMAT:
                raise KeyError(metadata["format"])
            by_codec = {
                key: Description(
                    float(loss), *(np.asarray(tensors[f"{key}.{name}"].numpy()) for name in _ARRAYS)
                )
                for key, loss in metadata["losses"].items()
            }
            return cls(metadata["domain"], metadata["domain_hash"], by_codec)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"{path} holds no statistics of a source domain ({error!r}): make it again with "
                "tools/describe_source.py"
            ) from error
