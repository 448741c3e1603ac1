"""A cluster of three nodes whose workers, nodes, drivers and head are killed, one after the other."""

import json
import subprocess
import sys

import pytest

from tests.processes import kept_states

from .conftest import Outcome

STUDY = [
    "--name", "study", "--methods", "finetune", "lora", "--adapter-sizes", "1",
    "--learning-rates", "3e-4", "1e-3", "3e-3", "1e-2", "--no-packs", "--num-steps", "120",
    "--checkpoint-seconds", "0",
]  # fmt: skip
"""Eight cells, a pack each; a state is kept after every step."""
NUM_CELLS = 8
PAIR = [
    "--name", "pair", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3", "3e-3",
    "--num-steps", "120", "--checkpoint-seconds", "0", "--workers-per-trial", "2",
]  # fmt: skip
"""A pack of two cells."""

pytestmark = pytest.mark.timeout(2400)

LEFTOVERS = """
import json, sys, time
import ray
from ray.util.state import list_actors, list_placement_groups
from rich.console import Console
from interfero.engine.sweep import run_sweep
from sweeps.adapter_capacity import SWEEP

address, common, *sweeps = map(json.loads, sys.argv[1:])
ray.init(address=address, log_to_driver=False, logging_level="error")
codes = [run_sweep(SWEEP, [*common, *each, "--address", address], Console(quiet=True)) for each in sweeps]
job = ray.get_runtime_context().get_job_id()

def left():
    whole, free = ray.cluster_resources(), ray.available_resources()
    actors = [a.class_name for a in list_actors(detail=True) if a.job_id == job and a.state != "DEAD"]
    # Ray Train's own, one a cluster, without a CPU: it serves the next sweep too.
    actors = [name for name in actors if name != "_AutoscalingCoordinatorActor"]
    groups = [g.name or g.placement_group_id for g in list_placement_groups() if g.state != "REMOVED"]
    return {"actors": actors, "groups": groups, "cpus": whole["CPU"] - free.get("CPU", 0)}

deadline = time.monotonic() + 300
while (found := left()) and time.monotonic() < deadline and (
    found["actors"] or found["groups"] or found["cpus"]
):
    time.sleep(1)
print(json.dumps({"codes": codes, **found}))
"""


def test_a_sweep_that_names_no_cluster_starts_its_own(cluster):
    """Ray would join the newest one of this machine."""
    assert cluster.address in (cluster.folder / "ray/ray_current_cluster").read_text()
    script = (
        "import ray\n"
        "from interfero.engine.ray_session import ray_for\n"
        "from interfero.engine.options.adaptation import AdaptationOptions\n"
        "with ray_for(AdaptationOptions()) as session, session.ready():\n"
        "    print('NODES', len(ray.nodes()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert "NODES 1\n" in done.stdout, done.stderr


def test_early_stopped_and_failed_cells_leave_nothing_behind(cluster, make_workplace):
    """Looked at while their job goes on: Ray removes what is left of a job that ends."""
    place = make_workplace("leftovers")
    stopped = [
        "--name", "stopped", "--sampler", "random", "--early-stopping", "asha", "--num-samples", "6",
        "--num-steps", "18", "--methods", "finetune", "--learning-rates", "1e-6", "1e-3",
    ]  # fmt: skip
    failed = [
        "--name", "failed", "--methods", "finetune", "--learning-rates", "1e-3", "0.9", "--num-steps", "6",
        "--workers-per-trial", "2",
    ]  # fmt: skip
    arguments = [json.dumps(each) for each in (cluster.address, place.tiny, stopped, failed)]
    done = place.finish(
        place.start_command([sys.executable, "-W", "ignore", "-c", LEFTOVERS, *arguments])
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    states = {
        name: [r["status"] for r in place.records(name).values()] for name in ("stopped", "failed")
    }
    assert "stopped" in states["stopped"]
    assert sorted(states["failed"]) == ["failed", "finished"]
    assert found == {"codes": [0, 1], "actors": [], "groups": [], "cpus": 0}
    # Shared memory is what nodes keep objects in.
    cluster.wait_until_empty()


def test_one_of_two_processes_that_train_a_cell_on_two_nodes_is_killed(
    cluster, make_workplace, outcome
):
    place = make_workplace("pair")
    process = place.start(*PAIR, "--address", cluster.address)
    place.wait_until(lambda: kept_states(place, "pair"), process)
    training = [p for p in cluster.training() if "RayTrainWorker" in " ".join(p.cmdline())]
    assert len({p.ppid() for p in training}) == 2, "one process a node"
    training[-1].kill()
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome(place, "pair").check(2)
    assert min(r["resumed_step"] for r in place.records("pair").values()) > 0


@pytest.fixture(scope="module")
def study(cluster, make_workplace):
    """One sweep that loses a worker, a node, its driver and the head; then it is resumed to its end."""
    place, seen = make_workplace("study"), {}
    arguments = [*STUDY, "--address", cluster.address]
    look = Outcome(place, "study")
    process = place.start(*arguments)
    place.wait_until(lambda: kept_states(place, "study"), process)
    place.wait_until(cluster.training, process)[0].kill()
    seen["worker"] = look.files()
    place.wait_for_records("study", len(seen["worker"]) + 1, process)
    place.wait_until(lambda: kept_states(place, "study"), process)
    cluster.lose_node(place, process)
    seen["node"] = look.files()
    place.wait_for_records("study", len(seen["node"]) + 1, process)
    process.kill()
    process.communicate()
    cluster.wait_until_empty()
    seen["driver"] = look.files()

    process = place.start(*arguments, "--resume")
    place.wait_for_records("study", len(seen["driver"]) + 1, process)
    cluster.lose_head(place, process)
    lost = place.finish(process)
    seen["head"] = look.files()
    cluster.cluster.shutdown()
    cluster.start()
    done = place.run(*STUDY, "--address", cluster.address, "--resume")
    return place, seen, lost, done


def test_every_fault_fell_into_the_middle_of_the_sweep(study):
    _, seen, _, _ = study
    assert 0 < len(seen["node"]) < len(seen["driver"]) < len(seen["head"]) < NUM_CELLS, {
        fault: len(files) for fault, files in seen.items()
    }


def test_a_driver_whose_head_is_gone_ends_by_itself(study):
    """Ray ends the process: the driver has no say in it."""
    _, _, lost, _ = study
    assert lost.returncode != 0
    assert "Failed to connect to GCS" in lost.stderr


def test_what_was_finished_stays_as_it_was(study):
    place, seen, _, _ = study
    after = {p.stem: (p.read_bytes(), p.stat().st_mtime_ns) for p in place.record_files("study")}
    for fault, before in seen.items():
        assert {key: after[key] for key in before} == before, fault


def test_the_sweep_ends_with_every_cell_once(study, outcome):
    place, _, _, done = study
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{NUM_CELLS}/{NUM_CELLS} cells" in done.stdout
    outcome(place, "study").check(NUM_CELLS)


def test_cells_whose_worker_or_node_died_went_on_from_their_states(study):
    place = study[0]
    assert sum(r["resumed_step"] > 0 for r in place.records("study").values()) >= 2


def test_the_numbers_are_those_of_a_sweep_that_nothing_happened_to(study, outcome, tmp_path):
    outcome(study[0], "study").check_numbers(tmp_path, resumed=True)
