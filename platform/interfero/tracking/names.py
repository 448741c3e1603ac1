"""What runs and their tags are called."""

from __future__ import annotations

from collections.abc import Mapping

KIND_TAG = "interfero.kind"
"""`sweep` or `cell`."""
SWEEP_TAG = "interfero.sweep"
"""The sweep's name, on its parent run."""
SWEEP_ID_TAG = "interfero.sweep_id"
"""A mark of the sweep's folder, on its parent run: sweeps of one name may lie in two storages."""
COMMAND_TAG = "interfero.command"
"""What started the sweep, on its parent run."""
DATASETS_TAG = "interfero.datasets"
"""On cells of a large sweep, where the data sets are: on the parent run alone."""
COMMIT_TAG = "interfero.git_commit"
"""Commit of interfero, `+dirty` with changes that are not committed: MLflow's own tag cannot say that."""
CELL_TAG = "interfero.cell"
"""The cell's key, on its run."""
REUSED_TAG = "interfero.reused_from"
"""Name of the earlier sweep that computed the cell."""
ERROR_TAG = "interfero.error"
"""Why the cell failed; empty when a later attempt did not."""
STOPPED_TAG = "interfero.stopped_at"
"""Steps after which a search stopped the cell early; its run is KILLED."""
PARETO_TAG = "interfero.pareto"
"""`true` on cells of their block's Pareto front; `false` on those that were once."""
BEST_TAG = "interfero.best"
"""Tag of the best adapter of a domain and lambda, with what it is best for; empty on those that once were."""
CURVE_TAG = "interfero.curve_step"
"""Last step of the learning curve that was logged: nothing is logged twice after a resume."""
RESUMED_TAG = "interfero.resumed_with"
"""JSON: parameters and tags that were different when the sweep was last resumed."""
PARENT_TAG = "mlflow.parentRunId"
CONTEXT_TAG = "mlflow.data.context"
"""What a run used a data set for."""
NOTE_TAG = "mlflow.note.content"
CHECKED_TAG = "interfero.checked"
"""On experiments: when `interfero doctor` last saw that its user may write to them."""
MAIN_METRIC_TAG = "mlflow.experiment.primaryMetric.name"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Which of its views the MLflow UI opens: runs and their metrics, not GenAI traces (3.17)."""

MAIN_METRICS = {
    "covariate-shift": "segmentation/miou",
    "dataset-restoration": "segmentation/miou",
}
"""Main metric by experiment; that of every other is `GAIN`."""
GAIN = "target/rd_gain_percent"


def experiment_tags(name: str) -> dict[str, str]:
    """How the MLflow UI shows an experiment, set where nobody has set it otherwise (3.17).

    The view it opens is that of runs; the main metric is the first of its charts, and the one that the
    parallel coordinates are coloured by.
    """
    return {**EXPERIMENT_TAGS, MAIN_METRIC_TAG: MAIN_METRICS.get(name, GAIN)}


def run_name(params: Mapping[str, str | int | float]) -> str:
    """A cell's name, what tells cells apart first: names sort by domain, method and adapter size.

        histology cawf-04 lr1e-03 n020 steps0300 lambda0.0067 d0 i0

    What a sweep's cells do not have is left out.
    """
    size = params.get("adapter_size")
    method = str(params.get("method", ""))
    parts = [
        str(params.get("sequence") or params.get("domain", "")),
        str(params.get("configuration", "")),
        *(
            str(v)
            for v in map(params.get, ("restoration", "restoration_split", "variant"))
            if v not in (None, "none")
        ),
        f"{method}-{float(size):02.0f}" if method and size else method,
        _labelled("lr", params.get("learning_rate"), "{:.1e}").replace(".0e", "e"),
        _labelled("n", params.get("num_images"), "{:03.0f}"),
        _labelled("steps", params.get("num_steps"), "{:04.0f}"),
        _labelled("lambda", params.get("rd_lambda"), "{:.4f}"),
        _labelled("bpp", params.get("rate_bpp"), "{:.3f}"),
        _labelled("d", params.get("data_seed"), "{:.0f}"),
        _labelled("i", params.get("init_seed"), "{:.0f}"),
        _labelled("r", params.get("restorer_seed"), "{:.0f}"),
    ]
    return " ".join(part for part in parts if part) or "cell"


def _labelled(label: str, value: str | float | None, form: str) -> str:
    if value is None:
        return ""
    try:
        return label + form.format(float(value))
    except ValueError:  # a word, such as "original" for the rate of images that were not coded
        return f"{label}-{value}"
