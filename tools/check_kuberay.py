"""Checks `clusters/kuberay.yaml` against KubeRay's own definitions, offline.

    python tools/check_kuberay.py ray.io_rayjobs.yaml ray.io_rayclusters.yaml

The files are `ray-operator/config/crd/bases/` of github.com/ray-project/kuberay. The RayJob is checked as it
is, and its cluster as a RayCluster; fields that a definition does not know are errors, as `kubectl apply
--validate=strict` has it, and so are those that an operator refuses whose feature gates are as it comes.
Kubernetes' own kinds are not looked at, except in pods of Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

FILE = Path(__file__).resolve().parents[1] / "clusters/kuberay.yaml"
GATES = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}
"""Fields of a cluster and the feature gates behind them, which are off in KubeRay 1.7.0.

The definitions know these fields: only the operator refuses them (`controllers/ray/utils/validation.go` and
`pkg/features/features.go` in `ray-operator/`). So it does a backend `rocksdb` of `gcsFaultToleranceOptions`.
"""


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that refuses unknown fields and knows Kubernetes' numbers or strings."""
    result = {k: v for k, v in schema.items() if not k.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        result["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        result.setdefault(
            "additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        )
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            result[name] = strict(schema[name])
    return result


def schema_of(file: Path, version: str = "v1") -> tuple[str, dict[str, Any]]:
    """Kind and schema of a custom resource definition."""
    definition = yaml.safe_load(file.read_text())
    found = {v["name"]: v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"]}
    schema = strict(found[version])
    # Kubernetes checks these two itself.
    schema["properties"]["metadata"] = {"type": "object"}
    return definition["spec"]["names"]["kind"], schema


def resources() -> Iterator[dict[str, Any]]:
    """What the file asks for, and the RayJob's cluster as one that stays."""
    for document in yaml.safe_load_all(FILE.read_text()):
        yield document
        if document["kind"] == "RayJob":
            spec = document["spec"]["rayClusterSpec"]
            yield {
                "apiVersion": document["apiVersion"],
                "kind": "RayCluster",
                "metadata": {"name": "interfero"},
                "spec": spec,
            }


def gated(resource: dict[str, Any]) -> Iterator[str]:
    """Fields that an operator as it comes refuses, with the gate that would have to be opened."""
    spec = resource["spec"].get("rayClusterSpec", resource["spec"])
    for name, gate in GATES.items():
        if name in spec:
            yield f"{name} needs the feature gate {gate}, which is off by default"
    if spec.get("gcsFaultToleranceOptions", {}).get("backend") == "rocksdb":
        gate = "GCSFaultToleranceEmbeddedStorage"
        yield f"backend rocksdb needs the feature gate {gate}, which is off by default"


def main() -> None:
    """Print what was checked; exit with 1 if something is wrong."""
    if len(sys.argv) < 2:
        sys.exit(f"name KubeRay's definitions:{(__doc__ or '').partition(chr(10) * 2)[2]}")
    schemas = dict(schema_of(Path(name)) for name in sys.argv[1:])
    wrong = 0
    for resource in resources():
        kind = resource["kind"]
        if kind not in schemas:
            continue
        errors = list(jsonschema.Draft202012Validator(schemas[kind]).iter_errors(resource))
        texts = [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in errors]
        texts += gated(resource)
        for text in texts:
            sys.stdout.write(f"{kind} {text}\n")
        sys.stdout.write(f"{kind}: {len(texts)} errors\n")
        wrong += len(texts)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
