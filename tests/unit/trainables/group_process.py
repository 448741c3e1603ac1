"""One of several processes that train together, started by test_groups.py.

RANK WORLD_SIZE FOLDER CODEC IMAGES METHOD...: it writes what its parameters came to, and what it told,
for the test to compare.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

# A script's own folder is on its path.
from conftest import make_bench, make_cell

from interfero.codecs.codec import rd_parameters
from interfero.domains.batches import draw_batch
from interfero.engine.worker import LocalWorker
from interfero.store.tensors import save_tensors
from trainables import adaptation
from trainables.adaptation import _member, _train, run_pack

RATES = {"dies": 2e-3, "nan": 0.9, "good": 3e-3}


def first_gradients(bench, worker, methods):
    """What the first step's gradients are, before clipping."""
    found = {}
    for method in methods:
        member = _member(_cell(bench, method, num_steps=1, clip_norm=1e9), bench, worker.device)
        _train([member], bench, worker)
        assert member.failure is None, member.failure
        for i, parameter in enumerate(rd_parameters(member.adapted)):
            if parameter.grad is not None:
                found[f"{method}.{i}"] = parameter.grad
        found[f"{method}.curve"] = torch.tensor(list(member.curve[0][1].values()))
    return found


def trained(bench, worker, dies_at=None):
    """A pack of two methods after four steps, or until the process dies.

    Returns:
        Everything they hold, and the step and the losses that each tells of.
    """

    def draw(samples, *, step, **given):
        if step == dies_at:
            raise KeyboardInterrupt
        return draw_batch(samples, step=step, **given)

    cells = [_cell(bench, method, num_steps=4) for method in ("finetune", "cawf")]
    members = [_member(cell, bench, worker.device) for cell in cells]
    with mock.patch.object(adaptation, "draw_batch", draw):
        try:
            _train(members, bench, worker, 0.0)
        except KeyboardInterrupt:
            assert dies_at is not None
    tensors = {
        f"{member.method.name}.{name}": value
        for member in members
        for name, value in member.adapted.state_dict().items()
    }
    losses = [[values["train/loss"] for _, values in member.curve] for member in members]
    return tensors, {"starts": [member.start for member in members], "losses": losses}


def failing(bench, worker):
    """A pack in which one member turns NaN, and one fails in the second process alone."""
    cells = {
        name: _cell(bench, "finetune", num_steps=3, learning_rate=r) for name, r in RATES.items()
    }
    loss = adaptation.find_method("finetune").loss

    def breaks(adapted, batch):
        mine = members["dies"].adapted is adapted
        if mine and batch.noise.step == 1 and worker.rank == 1:
            raise RuntimeError("out of memory")
        return loss(adapted, batch)

    members = {name: _member(cell, bench, worker.device) for name, cell in cells.items()}
    with mock.patch.object(members["dies"].method, "loss", breaks):
        _train(list(members.values()), bench, worker)
    return {name: member.failure for name, member in members.items()}


def _cell(bench, method, learning_rate=3e-3, **loop):
    return make_cell(bench, method, rate=learning_rate, batch_size=8, **loop)


def main(rank, world_size, folder, codec, images, *methods):
    torch.set_num_threads(1)
    rank, world_size, folder = int(rank), int(world_size), Path(folder)
    if world_size > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size
        )
    bench = make_bench(Path(codec), Path(images))
    workers = {n: LocalWorker(folder / n, rank=rank, world_size=world_size) for n in "abc"}
    gradients = first_gradients(bench, workers["a"], methods)
    tensors = {f"gradient.{k}": v for k, v in gradients.items()}
    whole, _ = trained(bench, workers["a"])
    trained(bench, workers["b"], dies_at=2)
    resumed, told = trained(bench, workers["b"])
    tensors |= {f"whole.{k}": v for k, v in whole.items()}
    tensors |= {f"resumed.{k}": v for k, v in resumed.items()}
    if world_size > 1:
        told["failures"] = failing(bench, workers["c"])
        cell = _cell(bench, "lora", num_steps=1)
        told["records"] = [r.status for r in run_pack([cell], bench, workers["c"])]
    save_tensors(folder / f"rank-{rank}.safetensors", tensors, {})
    (folder / f"rank-{rank}.json").write_text(json.dumps(told))
    if world_size > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
