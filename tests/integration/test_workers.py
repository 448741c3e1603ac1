"""A sweep whose packs two processes train, through Ray for real, one of which is killed on the way."""

import json
import os

import psutil
import pytest

from sweeps.dataset_restoration import SWEEP as RESTORATION_SWEEP

SETTINGS = [
    "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3", "3e-3",
    "--num-steps", "60", "--cpus-per-trial", "1",
]  # fmt: skip
TOLERANCE = 0.01
"""Of a metric against its size before adaptation: sums in another order flip a few symbols."""
COMPARED = ("target/bpp", "target/psnr_db", "target/rd_loss", "source/forgetting_unrouted")

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")


def processes_that_train(process):
    found = psutil.Process(process.pid).children(recursive=True)
    return [p for p in found if "RayTrainWorker" in " ".join(p.cmdline())]


@pytest.fixture(scope="module")
def sweeps(make_workplace):
    """Cells by two workers, of which one was killed in mid-cell."""
    place = make_workplace("workers")
    process = place.start(
        "--name", "two", *SETTINGS, "--workers-per-trial", "2", "--checkpoint-seconds", "0"
    )
    folder = place.sweep("two") / "checkpoints"
    # A state that has one before it: training is some steps old.
    place.wait_until(lambda: list(folder.glob("*.before.safetensors")), process)
    training = processes_that_train(process)
    training[-1].kill()
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, training


def by_rate(place, name):
    return {r["params"]["learning_rate"]: r for r in place.records(name).values()}


def test_two_processes_train_a_pack(sweeps):
    assert len(sweeps[1]) == 2


def test_a_process_that_is_killed_costs_no_cell_and_few_steps(sweeps):
    place, _ = sweeps
    records = by_rate(place, "two")
    assert len(records) == 2
    for record in records.values():
        assert (record["status"], record["error"]) == ("finished", None)
        assert record["resumed_step"] > 0
    assert list((place.sweep("two") / "checkpoints").iterdir()) == []


def by_one_worker(place, folder):
    """What the cells of one worker come to, in this process."""
    cells = [place.adapter("two", record)[0] for record in place.records("two").values()]
    assert [cell.loop.workers for cell in cells] == [2, 2]
    cells = [c.model_copy(update={"loop": c.loop.model_copy(update={"workers": 1})}) for c in cells]
    records = [record.model_dump() for record, _ in place.trained_here(cells, folder)]
    return {record["params"]["learning_rate"]: record for record in records}


def test_two_workers_measure_what_one_does(sweeps, tmp_path):
    place, _ = sweeps
    one, two = by_one_worker(place, tmp_path), by_rate(place, "two")
    assert one.keys() == two.keys()
    assert {r["key"] for r in one.values()}.isdisjoint(r["key"] for r in two.values())
    for rate, record in one.items():
        for name in COMPARED:
            first, second = record["metrics"][name], two[rate]["metrics"][name]
            size = max(abs(first), record["metrics"]["target/rd_loss"])
            assert abs(first - second) < TOLERANCE * size, (rate, name)
        for name in ("bitstream/old_symbols_exact", "adapter/num_params", "source/forgetting"):
            assert record["metrics"][name] == two[rate]["metrics"][name], name
        steps = [step for step, _ in record["curve"]]
        assert [step for step, _ in two[rate]["curve"]] == steps


def test_each_cell_has_one_run(sweeps):
    place, _ = sweeps
    _, cells = place.runs("two")
    assert {r.info.status for r in cells.values()} == {"FINISHED"}
    assert set(cells) == set(place.records("two"))


# Not --smoke, which gives each process a batch of the same size.
RESTORATION = (
    "--codecs", "webp", "--rates", "0.8", "--configurations", "OO", "--init-seeds", "0",
    "--num-steps", "4", "--validations", "1", "--max-images", "3", "--batch-size", "4", "--crop-size", "64",
)  # fmt: skip


def test_two_processes_train_one_model(make_workplace, ray_here):
    """One loss over both parts a step, however many processes there are; each normalises its own part."""
    place = make_workplace("group")
    for name, two in (
        ("alone", ()),
        ("group", ("--workers-per-trial", "2", "--cpus-per-trial", "1")),
    ):
        code, shown = place.call(RESTORATION_SWEEP, *RESTORATION, *two, "--name", name)
        assert code == 0, shown
    records = [json.loads(path.read_text()) for path in models_of(place)]
    steps = [[step for step, told in r["curve"] if "loss" in told] for r in records]
    assert steps == 2 * [[1, 2, 3, 4]]
    one, two = (record["curve"][0][1]["loss"] for record in records)
    assert abs(one - two) < TOLERANCE * one


def models_of(place):
    """Records of the segmentation models that were trained."""
    return (place.folder / "interfero-storage" / "products").glob("segmentation-*/record.json")
