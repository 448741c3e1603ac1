"""The best adapters in MLflow's model registry, written once, when a sweep ends."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking.client import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from interfero.codecs.codec import Codec
from interfero.redaction import masked
from interfero.store.keys import bytes_key, content_key
from interfero.tracking.adapter_model import FORMAT, write_adapter_model
from interfero.versions import library_version

ALIAS = "best"
ARTIFACT_FOLDER = "model"
"""Below the artifacts of the cell's run."""
CONTENT_TAG = "interfero.content"
"""Hash of adapter and source codec: what has the same is the same version."""
SCORE_TAG = "interfero.validation_gain_percent"
FORGETS_TAG = "interfero.forgets"
COMPARED_BY = ("interfero.domain_hash", "interfero.codec_hash", "interfero.data_seed")
"""Tags that two versions have in common if their validation gains can be compared."""
LOADER = "interfero.tracking.adapter_model"
REQUIRED = ("torch", "compressai", "numpy", "pandas")
AWAIT_S = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdapterEntry:
    """An adapter for the registry."""

    name: str
    """Of the registered model, see `model_name`."""
    key: str
    """Of its cell."""
    file: Path
    """The adapter."""
    codec: Codec
    """Its source codec."""
    tags: Mapping[str, str]
    """Of the version; those of `COMPARED_BY`, `SCORE_TAG` and `FORGETS_TAG` decide who has the alias."""
    description: str
    """Markdown."""


def model_name(domain: str, codec: str, rd_lambda: float) -> str:
    """`histology-mbt2018-mean-lambda0.013`; what registries refuse in names is replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{domain}-{codec}-lambda{rd_lambda:g}")


class Registry:
    """The registry of a tracking server, or the one that MLFLOW_REGISTRY_URI names."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)

    def register(self, entries: Sequence[AdapterEntry], run_ids: Mapping[str, str]) -> list[str]:
        """Register adapters, and say what came of it, a line each; a registry that refuses is no error.

        Args:
            entries: The adapters.
            run_ids: Run of each cell, by key.
        """
        lines = []
        for entry in entries:
            # Registries and artifact stores fail with whatever their own libraries raise.
            try:
                lines.append(self._register(entry, run_ids[entry.key]))
            except Exception as error:
                text = masked(" ".join(str(error).split()), self._uri)[:300]
                return [*lines, f"not in the model registry: {entry.name} ({text})"]
        return lines

    def _register(self, entry: AdapterEntry, run_id: str) -> str:
        known = self._versions(entry.name)
        adapter = entry.file.read_bytes()
        content = content_key([FORMAT, bytes_key(adapter), entry.codec.weights_hash])
        found = next((v for v in known if v.tags.get(CONTENT_TAG) == content), None)
        if found is None:
            found = self._create(entry, adapter, content, run_id)
        holder = next((v for v in known if ALIAS in v.aliases), None)
        address = f"models:/{entry.name}/{found.version}"
        if holder is None or not _keeps_alias(holder.tags, entry.tags):
            if holder is None or holder.version != found.version:
                self._client.set_registered_model_alias(entry.name, ALIAS, str(found.version))
            return f"in the model registry: models:/{entry.name}@{ALIAS} (version {found.version})"
        if holder.version == found.version:
            return f"in the model registry: models:/{entry.name}@{ALIAS} (version {found.version})"
        return (
            f"in the model registry: {address}; @{ALIAS} stays with version {holder.version}, which gains "
            f"more on the same validation images ({holder.tags[SCORE_TAG]} %)"
        )

    def _versions(self, name: str) -> list[ModelVersion]:
        """All versions with their aliases; makes the registered model if there is none."""
        try:
            aliases = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(name)
            return []
        token: str | None = None
        found: list[ModelVersion] = []
        while token != "":
            page = self._client.search_model_versions(f"name = '{name}'", page_token=token)
            found.extend(page)
            token = page.token or ""
        for one in found:
            one.aliases = [
                alias for alias, held in aliases.items() if int(held) == int(one.version)
            ]
        return found

    def _create(
        self, entry: AdapterEntry, adapter: bytes, content: str, run_id: str
    ) -> ModelVersion:
        with tempfile.TemporaryDirectory() as folder:
            model = save_model(entry, adapter, Path(folder))
            self._client.log_artifacts(run_id, str(model), ARTIFACT_FOLDER)
        root = self._client.get_run(run_id).info.artifact_uri
        return self._client.create_model_version(
            entry.name,
            f"{root}/{ARTIFACT_FOLDER}",
            run_id,
            tags={**entry.tags, CONTENT_TAG: content},
            description=entry.description,
            await_creation_for=AWAIT_S,
        )


def save_model(entry: AdapterEntry, adapter: bytes, folder: Path) -> Path:
    """Write the folder of an MLflow model, and return it."""
    data, model = folder / "data", folder / "model"
    write_adapter_model(data, adapter, entry.codec)
    with warnings.catch_warnings():
        # It asks for an example of the input, which nothing reads: the signature is there.
        warnings.filterwarnings("ignore", ".*input example was not provided", UserWarning)
        mlflow.pyfunc.save_model(
            model,
            loader_module=LOADER,
            data_path=str(data),
            signature=signature(),
            pip_requirements=[
                f"interfero=={version('interfero')}",
                *(f"{name}=={library_version(name)}" for name in REQUIRED),
            ],
            metadata=dict(entry.tags),
        )
    return model


def signature() -> ModelSignature:
    """Rows of an image to encode, or of a stream to decode; MLflow lets arrays pass where bytes are."""
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.binary, "image", required=False),
                ColSpec(DataType.binary, "stream", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(DataType.binary, "stream"),
                ColSpec(DataType.binary, "image"),
                ColSpec(DataType.double, "bpp"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("mode", DataType.string, "target"),
                ParamSpec("pictures", DataType.string, "arrays"),
            ]
        ),
    )


def _keeps_alias(holder: Mapping[str, Any], other: Mapping[str, str]) -> bool:
    """Whether the version that has the alias is better than another, by validation.

    Gains on other images say nothing about it: then the newest sweep has the alias.
    """
    if any(holder.get(name) != other.get(name) for name in COMPARED_BY):
        return False
    return _merit(holder) > _merit(other)


def _merit(tags: Mapping[str, Any]) -> tuple[bool, float]:
    return tags.get(FORGETS_TAG) != "true", float(tags.get(SCORE_TAG, "-inf"))
