"""What `clusters/kuberay.yaml` must hold, past the schema that `tools/check_kuberay.py` checks it against."""

import subprocess
from pathlib import Path

import pytest
import ray
import yaml

from tools.check_kuberay import strict

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = list(yaml.safe_load_all((ROOT / "clusters/kuberay.yaml").read_text()))
JOB = next(d for d in DOCUMENTS if d["kind"] == "RayJob")
CLUSTER = JOB["spec"]["rayClusterSpec"]
PODS = {
    "head": CLUSTER["headGroupSpec"]["template"]["spec"],
    **{g["groupName"]: g["template"]["spec"] for g in CLUSTER["workerGroupSpecs"]},
    "mlflow": next(d for d in DOCUMENTS if d["kind"] == "Deployment")["spec"]["template"]["spec"],
}


def test_it_asks_for_the_ray_that_is_installed():
    assert CLUSTER["rayVersion"] == ray.__version__


def test_ray_is_closed_and_pods_are_no_root():
    assert CLUSTER["authOptions"] == {"mode": "token"}
    assert CLUSTER["networkPolicy"]["mode"] == "DenyAllIngress"
    for pod in PODS.values():
        assert pod["securityContext"]["runAsNonRoot"]
    assert not PODS["gpu"]["automountServiceAccountToken"]


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
