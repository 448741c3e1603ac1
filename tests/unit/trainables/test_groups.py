"""Two processes that share a batch do what one does: the loop itself, in real processes, without Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from interfero.store.tensors import load_tensors

SCRIPT = Path(__file__).with_name("group_process.py")
AGREEING = ("finetune", "cawf", "lora", "replay", "ewc", "gated_adapters")
TOLERANCE = 1e-5
"""Of a first step's gradient in float32, against its largest entry: sums are taken in another order."""


def start(folder, codec, images, rank, world_size):
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    arguments = [str(v) for v in (rank, world_size, folder, codec, images, *AGREEING)]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_codec_file, image_folder):
    """What one process alone, and each of two, came to: (tensors, told)."""
    folders = [tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")]
    places = [(folders[0], 0, 1), (folders[1], 0, 2), (folders[1], 1, 2)]
    processes = [start(f, tiny_codec_file, image_folder, r, n) for f, r, n in places]
    for process in processes:
        text, _ = process.communicate(timeout=540)
        assert process.returncode == 0, text
    return [
        (
            load_tensors(folder / f"rank-{rank}.safetensors")[0],
            json.loads((folder / f"rank-{rank}.json").read_text()),
        )
        for folder, rank, _ in places
    ]


@pytest.mark.parametrize("method", AGREEING)
def test_first_gradients_of_two_workers_are_those_of_one(runs, method):
    one, two, _ = (tensors for tensors, _ in runs)
    names = [n for n in one if n.startswith(f"gradient.{method}.") and not n.endswith("curve")]
    largest = max(one[name].abs().max().item() for name in names)
    assert largest > 0
    for name in names:
        assert (one[name] - two[name]).abs().max().item() < TOLERANCE * largest, name
    curve = f"gradient.{method}.curve"
    assert torch.allclose(one[curve], two[curve], rtol=TOLERANCE)


def test_both_workers_end_with_the_same_bits(runs):
    _, first, second = (tensors for tensors, _ in runs)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_losses_of_two_workers_are_those_of_one(runs):
    """Over four steps; Adam takes a full step also where a gradient is nothing but rounding."""
    one, two, other = (told["losses"] for _, told in runs)
    assert two == other
    assert [len(losses) for losses in one] == [4, 4]
    for first, second in zip(one, two, strict=True):
        assert first == pytest.approx(second, rel=1e-4)
        assert first[0] == pytest.approx(second[0], rel=1e-6)


@pytest.mark.parametrize("run", [0, 1], ids=["one worker", "two workers"])
def test_a_stopped_training_goes_on_to_the_same_bits(runs, run):
    tensors, told = runs[run]
    assert told["starts"] == [2, 2]
    for name in (n for n in tensors if n.startswith("whole.")):
        assert torch.equal(tensors[name], tensors[name.replace("whole.", "resumed.", 1)]), name


def test_what_fails_in_one_worker_has_failed_in_all_and_spares_the_others(runs):
    failures = [told["failures"] for _, told in runs[1:]]
    assert failures[0] == failures[1]
    assert failures[0]["good"] is None
    assert failures[0]["dies"] == "GroupError at step 1: RuntimeError in worker 1: out of memory"
    assert failures[0]["nan"].startswith("loss nan")


def test_the_first_worker_gives_the_records(runs):
    assert [told["records"] for _, told in runs[1:]] == [["finished"], []]
