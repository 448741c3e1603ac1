"""`mlflow.data.get_source` of a run's data set: the images that the run used, loaded again.

MLflow finds this class by the package's entry point `mlflow.dataset_source`.
"""

from __future__ import annotations

from typing import Any

from mlflow.data.dataset_source import DatasetSource

from interfero.domains.images import Sample
from interfero.tracking.datasets import SOURCE_TYPE, load_samples


class DomainSource(DatasetSource):
    """Images of a domain, as one part of a sweep used them."""

    def __init__(self, place: dict[str, Any]) -> None:
        """Keep where they are, see `load_samples`."""
        self.place = place

    @staticmethod
    def _get_source_type() -> str:
        return SOURCE_TYPE

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> DomainSource:
        raise NotImplementedError("no other object names images of a sweep")

    def to_dict(self) -> dict[str, Any]:
        """See `DatasetSource`."""
        return self.place

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> DomainSource:
        """See `DatasetSource`."""
        return cls(source_dict)

    def load(self) -> tuple[Sample, ...]:
        """The images.

        Raises:
            DomainError: they are not there any more, or others than the run used.
        """
        return load_samples(self.place)
