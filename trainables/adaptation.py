"""Adapt a source codec to a target domain, and measure what was gained and what was forgotten.

One loop trains the members of a pack: batches are drawn once, and what members can share of the frozen
source codec is computed once. Each member keeps its own optimiser, curve, adapter file and failure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interfero.adaptation import find_method, save_adapter
from interfero.adaptation.method import AdaptedCodec, Method, Output, TrainsOn
from interfero.codecs.codec import (
    quantile_loss,
    quantile_parameters,
    rd_parameters,
    state_hash,
)
from interfero.codecs.noise import NoiseKey
from interfero.domains.batches import draw_batch
from interfero.domains.domain import Split
from interfero.engine.cells import Cell, CellRecord, LoopConfig
from interfero.engine.worker import Worker
from interfero.errors import InterferoError
from interfero.metrics.rate_distortion import estimated_bpp, mse_255, rd_loss
from interfero.storage import load_tensors
from trainables.evaluation import Workbench, evaluate

QUANTILE_LEARNING_RATE = 1e-3
CURVE_POINTS = 100


class CellFailure(Exception):
    """One member cannot go on; the others can."""


@dataclass
class Member:
    """One cell of a pack while it trains."""

    cell: Cell
    method: Method
    adapted: AdaptedCodec
    main: torch.optim.Optimizer
    auxiliary: torch.optim.Optimizer | None
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    window: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    failure: str | None = None


def run_pack(cells: Sequence[Cell], bench: Workbench, worker: Worker) -> Iterator[CellRecord]:
    """Train and evaluate the cells of one block; one record a cell, in order.

    A member that fails or turns NaN is a record, not an exception.
    """
    started_at = time.time()
    members = [_member(cell, bench, worker.device) for cell in cells]
    _train([m for m in members if not _trained_before(m, worker)], bench, worker)
    for member in members:
        yield _finish(member, bench, worker, started_at)


def learning_rate_at(loop: LoopConfig, peak: float, step: int) -> float:
    """Learning rate of a step: linear warm-up, then cosine to zero."""
    warmup = max(1, round(loop.warmup_share * loop.num_steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, loop.num_steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def _member(cell: Cell, bench: Workbench, device: torch.device) -> Member:
    wanted = cell.hyperparameters
    method = find_method(wanted.method)
    adapted = method.build(bench.training_codec(device), wanted.adapter_size, wanted.init_seed)
    adapted.requires_grad_(True).to(device).to(memory_format=torch.channels_last)
    adapted.train()
    main = torch.optim.Adam(rd_parameters(adapted), lr=wanted.learning_rate)
    quantiles = quantile_parameters(adapted)
    auxiliary = torch.optim.Adam(quantiles, lr=QUANTILE_LEARNING_RATE) if quantiles else None
    return Member(cell, method, adapted, main, auxiliary)


def _train(members: Sequence[Member], bench: Workbench, worker: Worker) -> None:
    """All steps of all members, in lockstep."""
    if not members:
        return
    block, loop = members[0].cell.block, members[0].cell.loop
    data: dict[TrainsOn, Split] = {
        "target": bench.target.split(block.num_images, block.data_seed),
        "source": bench.source.split("all", block.data_seed),
    }
    roles = {m.method.trains_on for m in members}
    for step in range(loop.num_steps):
        noise = NoiseKey(block.data_seed, step, loop.batch_size)
        batches = {
            role: draw_batch(
                data[role].training,
                seed=block.data_seed,
                step=step,
                batch_size=loop.batch_size,
                crop_size=loop.crop_size,
            ).to(worker.device, memory_format=torch.channels_last)
            for role in sorted(roles)
        }
        _step_all(members, bench, step, batches, noise)
        if all(m.failure for m in members):
            return


def _step_all(
    members: Sequence[Member],
    bench: Workbench,
    step: int,
    batches: Mapping[TrainsOn, Tensor],
    noise: NoiseKey,
) -> None:
    loop = members[0].cell.loop
    shared: dict[tuple[str, TrainsOn], tuple[Any, float]] = {}
    alive = [m for m in members if not m.failure]
    for member in alive:
        image = batches[member.method.trains_on]
        sharing = (member.method.name, member.method.trains_on)
        if sharing not in shared:
            started = time.perf_counter()
            with _precision(loop, image.device):
                codec = bench.training_codec(image.device)
                given = member.method.shared_pass(codec, image, noise)
            shared[sharing] = given, time.perf_counter() - started
        given, cost = shared[sharing]
        started = time.perf_counter()
        try:
            _step(member, image, noise, step, given)
        except CellFailure as error:
            member.failure = str(error)
        # Each member pays its part of the pass that all of them used.
        users = sum((m.method.name, m.method.trains_on) == sharing for m in alive)
        member.seconds += time.perf_counter() - started + cost / users


def _step(member: Member, image: Tensor, noise: NoiseKey, step: int, shared: Any) -> None:
    loop = member.cell.loop
    for group in member.main.param_groups:
        group["lr"] = learning_rate_at(loop, member.cell.hyperparameters.learning_rate, step)
    with _precision(loop, image.device):
        output: Output = member.adapted.forward_noisy(image, noise, shared)
    num_pixels = image.shape[0] * image.shape[2] * image.shape[3]
    bpp = estimated_bpp(output.likelihoods.values(), num_pixels)
    mse = mse_255(output.x_hat, image)
    loss = rd_loss(bpp, mse, member.cell.block.rd_lambda)
    member.main.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(rd_parameters(member.adapted), loop.clip_norm)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise CellFailure(
            f"loss {loss.item():g}, gradient norm {norm.item():g} at step {step}; last finite "
            f"loss {_last_loss(member)}: lower the learning rate"
        )
    member.main.step()
    if member.auxiliary is not None:
        member.auxiliary.zero_grad()
        quantile_loss(member.adapted).backward()
        member.auxiliary.step()
    member.window.append(torch.stack([bpp.detach(), mse.detach(), loss.detach()]).cpu())
    interval = max(1, loop.num_steps // CURVE_POINTS)
    if (step + 1) % interval == 0 or step + 1 == loop.num_steps:
        means = torch.stack(member.window).mean(dim=0).tolist()
        names = ("train/bpp", "train/mse_255", "train/rd_loss")
        member.curve.append((step + 1, dict(zip(names, means, strict=True))))
        member.window.clear()


def _precision(loop: LoopConfig, device: torch.device) -> AbstractContextManager[object]:
    if loop.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _last_loss(member: Member) -> str:
    if member.window:
        return f"{member.window[-1][2].item():g}"
    return f"{member.curve[-1][1]['train/rd_loss']:g}" if member.curve else "none"


def _finish(member: Member, bench: Workbench, worker: Worker, started_at: float) -> CellRecord:
    """Save, reload past every cache, evaluate."""
    cell = member.cell
    common: dict[str, Any] = {
        "key": cell.key,
        "params": cell.params,
        "curve": tuple(member.curve),
        "started_at": started_at,
    }
    evaluation_started = time.perf_counter()
    try:
        if member.failure:
            raise CellFailure(member.failure)
        path = worker.folder / "adapters" / f"{cell.key}.safetensors"
        _check_frozen(member, bench)
        member.adapted.to("cpu").to(memory_format=torch.contiguous_format)
        member.adapted.refresh_tables()
        _save(member, path)
        if member.method.trains_on == "source":
            _save(member, _shared_file(member, worker))
        result = evaluate(cell, bench, path, worker.folder / "samples" / f"{cell.key}.png")
        num_params = sum(p.numel() for p in rd_parameters(member.adapted))
        metrics = {
            **result.metrics,
            "adapter/num_params": float(num_params),
            "adapter_fraction": num_params / bench.codec.num_params,
            "train/steps_per_second": cell.loop.num_steps / max(member.seconds, 1e-9),
        }
        return CellRecord(
            **common,
            status="finished",
            metrics=metrics,
            images=result.images,
            adapter_file=f"adapters/{path.name}",
            sample_file=f"samples/{cell.key}.png",
            seconds=member.seconds + time.perf_counter() - evaluation_started,
        )
    except (CellFailure, InterferoError, RuntimeError, ValueError) as error:
        return CellRecord(**common, status="failed", error=f"{type(error).__name__}: {error}")


def _save(member: Member, path: Path) -> None:
    """Write the adapter file, its training record with it."""
    record = {
        "cell": member.cell.model_dump(mode="json"),
        "curve": member.curve,
        "train_seconds": member.seconds,
    }
    size = member.cell.hyperparameters.adapter_size
    save_adapter(member.adapted, path, method=member.method.name, adapter_size=size, record=record)


def _shared_file(member: Member, worker: Worker) -> Path:
    return worker.folder / "trained" / f"{member.cell.source_training_key}.safetensors"


def _trained_before(member: Member, worker: Worker) -> bool:
    """Take over a training that never saw the target domain from another block of the sweep."""
    path = _shared_file(member, worker)
    if member.method.trains_on != "source" or not path.exists():
        return False
    try:
        state, metadata = load_tensors(path)
        if metadata["adapter_hash"] != state_hash(state.items()):
            return False
        member.adapted.load_adapter_state(state)
        record = metadata["record"]
        member.curve = [(int(step), values) for step, values in record["curve"]]
        member.seconds = float(record["train_seconds"])
    except (InterferoError, KeyError):
        return False  # Damaged: it is trained and written again.
    return True


def _check_frozen(member: Member, bench: Workbench) -> None:
    """A method that embeds the source codec must leave every byte of it alone."""
    state = member.adapted.frozen_source_state()
    if state is not None and state_hash(state.items()) != bench.codec.weights_hash:
        raise CellFailure(
            f"{member.method.name} changed the source codec it embeds: its weights or tables no "
            f"longer hash to {bench.codec.weights_hash}"
        )
