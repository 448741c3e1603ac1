"""The best adapters of a sweep as entries of the model registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from interfero.analysis.best import BestAdapter
from interfero.codecs.codec import Codec
from interfero.metrics.names import GAIN, ROUTED, UNROUTED, VALIDATION_GAIN
from interfero.records import CellRecord
from interfero.store.files import inside
from interfero.store.sweep import SweepStore

if TYPE_CHECKING:
    from interfero.tracking.registry import AdapterEntry

RESULTS = {
    "gain": (GAIN, "of the loss (bpp + lambda * MSE) on the target's test images"),
    "forgetting": (ROUTED, "of the loss on source test images, in the mode that a deployment uses"),
    "forgetting_unrouted": (UNROUTED, "of the loss on source test images, through the adapter"),
}
"""Tag to metric, in percent, and what it is a percentage of."""


def registry_entries(
    best: Sequence[BestAdapter], codecs: Mapping[float, Codec], store: SweepStore
) -> list[AdapterEntry]:
    """The adapters that gain something on validation images, and whose files are there."""
    return list(_entries(best, codecs, store))


def _entries(
    best: Sequence[BestAdapter], codecs: Mapping[float, Codec], store: SweepStore
) -> Iterator[AdapterEntry]:
    # MLflow's models take a second to import, and a sweep may have no adapter to register.
    from interfero.tracking.registry import AdapterEntry, model_name

    for one in best:
        record, codec = one.record, codecs.get(one.rd_lambda)
        file = inside(store.folder, record.adapter_file) if record.adapter_file else None
        if codec is None or file is None or not file.is_file():
            continue
        # The source codec is better: no alias may say otherwise.
        if record.metrics[VALIDATION_GAIN] <= 0:
            continue
        name = model_name(one.domain, codec.name, one.rd_lambda)
        tags = _tags(one, store.name)
        yield AdapterEntry(name, record.key, file, codec, tags, _description(one, name, tags))


def _tags(one: BestAdapter, sweep: str) -> dict[str, str]:
    record = one.record
    params, known = record.params, record.provenance
    values = {
        "sweep": sweep,
        "cell": record.key,
        **{name: str(params[name]) for name in _PARAMS if name in params},
        **{
            name: known[name]
            for name in ("codec_hash", "domain_hash", "loop_hash")
            if name in known
        },
        "validation_gain_percent": f"{record.metrics[VALIDATION_GAIN]:.4f}",
        "forgets": str(one.forgets).lower(),
        **_results(record),
    }
    return {f"interfero.{name}": value for name, value in values.items()}


_PARAMS = (
    "domain", "codec", "rd_lambda", "method", "adapter_size", "learning_rate", "num_images", "num_steps",
    "data_seed", "init_seed",
)  # fmt: skip


def _results(record: CellRecord) -> dict[str, str]:
    return {
        tag: f"{record.metrics[metric]:+.2f} % {what}"
        for tag, (metric, what) in RESULTS.items()
        if metric in record.metrics
    }


def _description(one: BestAdapter, name: str, tags: Mapping[str, str]) -> str:
    """What the model's page says."""
    params = one.record.params
    size = f" {params['adapter_size']}" if params["adapter_size"] else ""
    results = [f"- {tag.replace('_', ' ')}: {text}" for tag, text in _results(one.record).items()]
    warning = ["- every setting of the sweep forgets more than allowed"] if one.forgets else []
    return "\n".join(
        [
            f"{params['method']}{size} on {params['codec']}, adapted to {one.domain} in the sweep "
            f"{tags['interfero.sweep']}; chosen on validation images.",
            "",
            *results,
            *warning,
            "",
            "```python",
            f'model = mlflow.pyfunc.load_model("models:/{name}@best")',
            'coded = model.predict({"image": [pixels]})  # stream, decoded image, bpp',
            'shown = model.predict(coded[["stream"]])    # decodes',
            "```",
        ]
    )
