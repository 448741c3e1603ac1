"""Images as MLflow data sets: what a run was adapted to, chosen by, and tested on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interfero.domains.domain import spread
from interfero.domains.images import ImageRules, Sample
from interfero.domains.pixel_mapping import PixelMapping
from interfero.errors import DomainError
from interfero.redaction import without_secrets
from interfero.store.keys import new_digest
from interfero.tracking.operations import DatasetUse

SOURCE_TYPE = "interfero"
"""Data sets that `interfero.tracking.dataset_source` loads again."""
LOCAL_TYPE = "local"
"""MLflow's own type of files and folders: `{"uri": PATH}`."""
DIGEST_DIGITS = 32
"""MLflow keeps 36 characters."""


def samples_digest(samples: Sequence[Sample]) -> str:
    """Content hash of some images with their names, in whatever order they come."""
    digest = new_digest(DIGEST_DIGITS)
    digest.update("\n".join(sorted(f"{s.name} {s.digest}" for s in samples)).encode())
    return digest.hexdigest()


def dataset_of(
    name: str, samples: Sequence[Sample], context: str, place: Mapping[str, Any], *,
    unit: str = "images", labels: bool = False,
) -> DatasetUse:  # fmt: skip
    """Some images of a domain as a data set.

    Args:
        name: The domain's.
        samples: The images.
        context: What they are for.
        place: How they are found again, see `load_samples`.
        unit: What one image is.
        labels: Whether each has a label map.
    """
    digest = samples_digest(samples)
    heights_widths = [sample.pixels_HWC.shape[:2] for sample in samples]
    channels = int(samples[0].pixels_HWC.shape[2])
    profile = {
        f"num_{unit}": len(samples),
        "num_source_images": len({sample.source_image for sample in samples}),
        "megapixels": round(sum(h * w for h, w in heights_widths) / 1e6, 3),
        "bytes_as_pixels": sum(h * w for h, w in heights_widths) * channels,
    }
    return DatasetUse(
        name=name,
        digest=digest,
        source_type=SOURCE_TYPE,
        source=json.dumps({**place, "digest": digest}, sort_keys=True),
        data_schema=image_schema(channels, labels=labels),
        profile=json.dumps(profile),
        context=context,
    )


def absolute_spec(spec: str) -> str:
    """What a user typed for a domain, for a process in another folder, and without a secret."""
    # First: a path has no two slashes in a row, and an address without them is not known as one.
    name, given, path = without_secrets(spec).partition("=")
    return f"{name}={Path(path).expanduser().absolute()}" if given else name


def load_samples(place: Mapping[str, Any]) -> tuple[Sample, ...]:
    """The images of a data set, loaded again.

    Args:
        place: `domain`, what a user types for it (`NAME` or `NAME=PATH`); `part`: `adapt` and `validation`
            (with `num_images` and `data_seed`), `test` (with `num_images`) or `all`, and of a labelled
            domain (`labelled`, with `max_images` and `max_side`) a portion; `digest` of the images; `rules`,
            how files become pixels, where the sweep stated it.

    Raises:
        DomainError: they are not there any more, or others than the run used.
    """
    samples = _labelled(place) if place.get("labelled") else _unlabelled(place)
    if samples_digest(samples) != place["digest"]:
        raise DomainError(
            f"{place['domain']} has other images than the run used (digest {place['digest']}): restore the "
            "files as they were"
        )
    return samples


def _labelled(place: Mapping[str, Any]) -> tuple[Sample, ...]:
    from interfero.domains.labelled_catalogue import load_labelled
    from interfero.domains.views import OWN, VIEWS

    limits = {name: place[name] for name in ("max_images", "max_side")}
    domain = load_labelled(place["domain"], **limits)
    # Runs of earlier releases name no task.
    return VIEWS[place.get("task", OWN)](domain).portion(place["part"])


def _unlabelled(place: Mapping[str, Any]) -> tuple[Sample, ...]:
    from interfero.domains.catalogue import load_domain

    part, count, seed = place["part"], place.get("num_images", 0), place.get("data_seed", 0)
    stated = dict(place.get("rules", {}))
    declared: dict[str, Any] = {k: tuple(v) for k, v in stated.pop("mapping", {}).items()}
    rules = ImageRules(**stated, mapping=PixelMapping(**declared))
    wanted = count if part == "adapt" else 0
    domain = load_domain(place["domain"], rules, num_images=wanted, data_seeds=(seed,))
    if part == "all":
        return (*domain.train, *domain.test)
    if part == "test":
        return spread(domain.test, count)
    split = domain.split(count, seed)
    return split.training if part == "adapt" else split.validation


def copies_of(
    name: str, digest: str, folder: str, context: str, num_images: int, *, labels: bool = False
) -> DatasetUse:
    """Compressed or restored images, which are a folder of Parquet files (`Copies`).

    Args:
        name: What to call them.
        digest: The key of the copy.
        folder: Where it is, or will be.
        context: What they are for.
        num_images: In it.
        labels: Whether each has a label map.
    """
    return DatasetUse(
        name=name,
        digest=digest,
        source_type=LOCAL_TYPE,
        source=json.dumps({"uri": folder}),
        data_schema=image_schema(3, labels=labels),
        profile=json.dumps({"num_images": num_images}),
        context=context,
    )


def image_schema(channels: int, *, labels: bool) -> str:
    """What one image is, as `mlflow.data.schema.TensorDatasetSchema` writes it: any height and width."""

    def tensor(name: str, shape: list[int]) -> str:
        spec = {"dtype": "uint8", "shape": shape}
        return json.dumps([{"name": name, "type": "tensor", "tensor-spec": spec}])

    targets = tensor("labels", [-1, -1]) if labels else None
    schema = {"features": tensor("image", [-1, -1, channels]), "targets": targets}
    return json.dumps({"mlflow_tensorspec": schema})
