"""What `clusters/kuberay.yaml` must hold, past the schema that `tools/check_kuberay.py` checks it against."""

import subprocess
from pathlib import Path

import pytest
import ray
import yaml

from tools.check_kuberay import gated, strict

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = list(yaml.safe_load_all((ROOT / "clusters/kuberay.yaml").read_text()))
JOB = next(d for d in DOCUMENTS if d["kind"] == "RayJob")
CLUSTER = JOB["spec"]["rayClusterSpec"]
PODS = {
    "head": CLUSTER["headGroupSpec"]["template"]["spec"],
    **{g["groupName"]: g["template"]["spec"] for g in CLUSTER["workerGroupSpecs"]},
    "mlflow": next(d for d in DOCUMENTS if d["kind"] == "Deployment")["spec"]["template"]["spec"],
}
POLICIES = {d["metadata"]["name"]: d["spec"] for d in DOCUMENTS if d["kind"] == "NetworkPolicy"}
LABELS = {
    "head": CLUSTER["headGroupSpec"]["template"]["metadata"]["labels"]
    | {"ray.io/node-type": "head"},
    "worker": CLUSTER["workerGroupSpecs"][0]["template"]["metadata"]["labels"],
}
"""Of pods, as far as policies ask for them."""
SUBMITTER = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "any"}
OPERATOR = {"app.kubernetes.io/component": "kuberay-operator"}
HERE = "study"
"""Namespace that the file is applied to."""


def selects(selector, labels):
    """Whether a selector of Kubernetes selects something with these labels."""
    for rule in selector.get("matchExpressions", ()):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def admitted(policy, labels, namespace, port):
    """Whether a policy lets a pod with these labels, in this namespace, in on a port."""
    place = {"kubernetes.io/metadata.name": namespace}
    for rule in policy["ingress"]:
        ports = [entry["port"] for entry in rule.get("ports", ())]
        for peer in rule["from"]:
            assert peer.keys() <= {"podSelector", "namespaceSelector"}
            near = {"matchLabels": {"kubernetes.io/metadata.name": HERE}}
            there = selects(peer.get("namespaceSelector", near), place)
            if there and selects(peer["podSelector"], labels) and (not ports or port in ports):
                return True
    return False


def test_it_asks_for_the_ray_that_is_installed():
    assert CLUSTER["rayVersion"] == ray.__version__


def test_ray_asks_for_its_token_and_pods_are_no_root():
    assert CLUSTER["authOptions"] == {"mode": "token"}
    for pod in PODS.values():
        assert pod["securityContext"]["runAsNonRoot"]
    assert not PODS["gpu"]["automountServiceAccountToken"]


def test_an_operator_whose_feature_gates_are_as_it_comes_takes_it():
    assert not list(gated(JOB))
    assert {d["kind"] for d in DOCUMENTS if d["apiVersion"].startswith("ray.io/")} == {"RayJob"}
    refused = {"networkPolicy": {}, "gcsFaultToleranceOptions": {"backend": "rocksdb"}}
    for spec in (refused, {"rayClusterSpec": refused}):
        first, second = gated({"spec": spec})
        assert "networkPolicy needs the feature gate RayClusterNetworkPolicy" in first
        assert "GCSFaultToleranceEmbeddedStorage" in second


@pytest.mark.parametrize(
    ("labels", "namespace", "ports"),
    [
        (LABELS["head"], HERE, {6379, 8265, 10001, 52365}),
        (LABELS["worker"], HERE, {6379, 8265, 10001, 52365}),
        (SUBMITTER, HERE, {8265}),
        (OPERATOR, HERE, {8265}),
        (OPERATOR, "default", {8265}),
        (OPERATOR, "kuberay-system", {8265}),
        (OPERATOR, "ray-system", {8265}),
        (OPERATOR, "others", set()),
        (SUBMITTER, "default", set()),
        (LABELS["head"], "default", set()),
        ({"ray.io/is-ray-node": "yes", "ray.io/node-type": "head"}, HERE, set()),
        ({"app": "interfero-mlflow"}, HERE, set()),
        ({}, HERE, set()),
        ({}, "default", set()),
    ],
)
def test_only_ray_its_operator_and_submitters_reach_ray(labels, namespace, ports):
    """Ray needs all ports among its pods; of the others each needs the dashboard's.

    Probes (52365) come from the pod's own node, which no policy can keep out.
    """
    policy = POLICIES["interfero-ray"]
    assert policy["policyTypes"] == ["Ingress"]
    assert all(selects(policy["podSelector"], LABELS[pod]) for pod in LABELS)
    assert not selects(policy["podSelector"], {"app": "interfero-mlflow"})
    every = (6379, 8265, 10001, 52365)
    assert {port for port in every if admitted(policy, labels, namespace, port)} == ports


def test_only_heads_reach_the_tracking_server():
    policy = POLICIES["interfero-mlflow"]
    assert admitted(policy, LABELS["head"], HERE, 5000)
    for labels in (LABELS["worker"], SUBMITTER, OPERATOR, {}):
        assert not admitted(policy, labels, HERE, 5000)
    assert not admitted(policy, LABELS["head"], "default", 5000)


def test_no_secret_is_in_the_file():
    for pod in PODS.values():
        for container in pod["containers"]:
            names = {entry["name"] for entry in container.get("env", ())}
            assert not any("PASSWORD" in n or "TOKEN" in n or "SECRET" in n for n in names)
    assert not [d for d in DOCUMENTS if d["kind"] == "Secret"]


def test_every_pod_sees_the_storage_and_ray_has_its_shared_memory():
    claims = {d["metadata"]["name"] for d in DOCUMENTS if d["kind"] == "PersistentVolumeClaim"}
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        places = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        volumes = {v["name"]: v for v in pod["volumes"]}
        claim = volumes[places["/srv/interfero"]]["persistentVolumeClaim"]["claimName"]
        assert claim == "interfero-storage"
        assert {
            v["persistentVolumeClaim"]["claimName"]
            for v in volumes.values()
            if "persistentVolumeClaim" in v
        } <= claims
        assert name == "mlflow" or volumes[places["/dev/shm"]]["emptyDir"]["medium"] == "Memory"


def test_the_head_trains_nothing_and_its_driver_finds_the_tracking_server():
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (head,) = PODS["head"]["containers"]
    uri = next(e["value"] for e in head["env"] if e["name"] == "MLFLOW_TRACKING_URI")
    service = next(d for d in DOCUMENTS if d["kind"] == "Service")
    assert uri == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    (server,) = PODS["mlflow"]["containers"]
    hosts = next(a for a in server["command"] if a.startswith("--allowed-hosts="))
    assert uri.removeprefix("http://") in hosts


def test_what_the_job_runs_is_there():
    words = JOB["spec"]["entrypoint"].split()
    for word in words[1:3]:
        assert (ROOT / word.removeprefix("/home/ubuntu/interfero/")).is_file()
    assert "--name" in words


def test_the_check_refuses_unknown_fields_and_takes_quantities_either_way():
    schema = strict(
        {
            "type": "object",
            "properties": {
                "cpu": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }
    )
    assert schema["additionalProperties"] is False
    assert schema["properties"]["cpu"] == {"type": ["integer", "string"]}
    assert "additionalProperties" not in schema["properties"]["open"]
    assert schema["properties"]["labels"]["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize(
    ("arguments", "resumes"),
    [
        (["--name", "begun"], True),
        (["--name=begun"], True),
        (["--name", "begun", "--resume"], True),
        (["--name", "new"], False),
        (["--name", "new", "--name", "begun"], True),
    ],
)
def test_a_sweep_is_started_or_gone_on_with(tmp_path, arguments, resumes):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/sweep.json").write_text("{}")
    for storage in ([f"--storage={tmp_path}"], ["--storage", f"file://{tmp_path}"]):
        said = subprocess.run(
            ["bash", ROOT / "clusters/go_on.sh", "sweeps/x.py", *storage, *arguments],
            env={"INTERFERO_PYTHON": "echo", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        assert said.count("--resume") == resumes
        assert said[0] == "sweeps/x.py"


def test_without_a_name_nothing_is_started():
    done = subprocess.run(
        ["bash", ROOT / "clusters/go_on.sh", "sweeps/x.py"], capture_output=True, text=True
    )
    assert (done.returncode, "needs --name" in done.stderr) == (2, True)
