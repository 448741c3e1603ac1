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

from interfero.adaptation import find_method, load_adapter, save_adapter
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.method import AdaptedCodec, Batch, Method
from interfero.adaptation.method import Role as DomainRole
from interfero.codecs.codec import (
    quantile_loss,
    quantile_parameters,
    rd_parameters,
    state_hash,
)
from interfero.codecs.noise import NoiseKey
from interfero.domains.batches import draw_batch
from interfero.domains.domain import spread
from interfero.domains.images import Sample
from interfero.engine.cells import Cell, CellRecord, LoopConfig
from interfero.engine.worker import Worker
from interfero.errors import InterferoError
from interfero.metrics.rate_distortion import rd_loss
from interfero.randomness import Role
from interfero.storage import load_tensors
from trainables.attribution import MAX_IMAGES, attribution
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
    taken_over: bool = False
    """Whether another block's training was read from its file, tables included."""


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
    if isinstance(adapted, CopiedCodec):
        adapted.delta_rank = cell.loop.delta_rank
    adapted.to(device).to(memory_format=torch.channels_last)
    adapted.train_parameters()
    adapted.train()
    main = torch.optim.Adam(_learning(rd_parameters(adapted)), lr=wanted.learning_rate)
    quantiles = _learning(quantile_parameters(adapted))
    auxiliary = torch.optim.Adam(quantiles, lr=QUANTILE_LEARNING_RATE) if quantiles else None
    return Member(cell, method, adapted, main, auxiliary)


def _learning(parameters: Sequence[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [p for p in parameters if p.requires_grad]


def _train(members: Sequence[Member], bench: Workbench, worker: Worker) -> None:
    """All steps of all members, in lockstep."""
    if not members:
        return
    block, loop = members[0].cell.block, members[0].cell.loop
    data: dict[DomainRole, tuple[Sample, ...]] = {
        "target": bench.target.split(block.num_images, block.data_seed).training,
        "source": bench.source.split("all", block.data_seed).training,
    }
    for member in members:
        _prepare(member, data["source"], worker.device)
    roles = sorted({role for m in members for role in _roles(m.method)})
    for step in range(loop.num_steps):
        noise = NoiseKey(block.data_seed, step, loop.batch_size)
        images = {
            role: draw_batch(
                data[role],
                seed=block.data_seed,
                step=step,
                batch_size=loop.batch_size,
                crop_size=loop.crop_size,
            ).to(worker.device, memory_format=torch.channels_last)
            for role in roles
        }
        _step_all(members, bench, images, noise)
        if all(m.failure for m in members):
            return


def _roles(method: Method) -> tuple[DomainRole, ...]:
    return ("target", "source") if method.trains_on == "both" else (method.trains_on,)


def _prepare(member: Member, samples: Sequence[Sample], device: torch.device) -> None:
    """Let the method look at the source domain before its first step, one crop at a time."""
    block, loop = member.cell.block, member.cell.loop

    def source_batch(index: int) -> Batch:
        crop = draw_batch(
            samples, seed=block.data_seed, step=index, batch_size=1, crop_size=loop.crop_size,
            label=Role.IMPORTANCE,
        )  # fmt: skip
        noise = NoiseKey(block.data_seed, index, 1, Role.IMPORTANCE)
        return Batch({"source": crop.to(device)}, noise, block.rd_lambda)

    started = time.perf_counter()
    try:
        member.method.prepare(member.adapted, source_batch)
    except (CellFailure, InterferoError, RuntimeError) as error:
        member.failure = f"{type(error).__name__} before the first step: {error}"
    member.seconds += time.perf_counter() - started


def _step_all(
    members: Sequence[Member],
    bench: Workbench,
    images: Mapping[DomainRole, Tensor],
    noise: NoiseKey,
) -> None:
    shared: dict[str, tuple[Any, float]] = {}
    alive = [m for m in members if not m.failure]
    for member in alive:
        name = member.method.name
        if name not in shared:
            shared[name] = _shared_pass(member, bench, images, noise)
        given, cost = shared[name]
        started = time.perf_counter()
        block, wanted = member.cell.block, member.cell.hyperparameters
        batch = Batch(images, noise, block.rd_lambda, wanted.strength, given)
        try:
            _step(member, batch)
        except CellFailure as error:
            member.failure = str(error)
        except (InterferoError, RuntimeError) as error:
            # Out of memory, say: what the others need is theirs.
            member.failure = f"{type(error).__name__} at step {noise.step}: {error}"
        # Each member pays its part of the pass that all of them used.
        users = sum(m.method.name == name for m in alive)
        member.seconds += time.perf_counter() - started + cost / users


def _shared_pass(
    member: Member, bench: Workbench, images: Mapping[DomainRole, Tensor], noise: NoiseKey
) -> tuple[Any, float]:
    """What the members of one method share of a batch, and the seconds it took."""
    image = images[_roles(member.method)[0]]
    started = time.perf_counter()
    with _precision(member.cell.loop, image.device):
        codec = bench.training_codec(image.device)
        given = member.method.shared_pass(codec, image, noise)
    return given, time.perf_counter() - started


def _step(member: Member, batch: Batch) -> None:
    loop, step = member.cell.loop, batch.noise.step
    for group in member.main.param_groups:
        group["lr"] = learning_rate_at(loop, member.cell.hyperparameters.learning_rate, step)
    device = next(iter(batch.images.values())).device
    with _precision(loop, device):
        coded = member.method.loss(member.adapted, batch)
    loss = coded.total
    member.main.zero_grad()
    loss.backward()
    learning = _learning(rd_parameters(member.adapted))
    norm = torch.nn.utils.clip_grad_norm_(learning, loop.clip_norm)
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
    rd = rd_loss(coded.bpp, coded.mse, batch.rd_lambda)
    member.window.append(torch.stack([coded.bpp, coded.mse, rd, loss]).detach().cpu())
    interval = max(1, loop.num_steps // CURVE_POINTS)
    if (step + 1) % interval == 0 or step + 1 == loop.num_steps:
        means = torch.stack(member.window).mean(dim=0).tolist()
        names = ("train/bpp", "train/mse_255", "train/rd_loss", "train/loss")
        member.curve.append((step + 1, dict(zip(names, means, strict=True))))
        member.window.clear()


def _precision(loop: LoopConfig, device: torch.device) -> AbstractContextManager[object]:
    if loop.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _last_loss(member: Member) -> str:
    if member.window:
        return f"{member.window[-1][-1].item():g}"
    return f"{member.curve[-1][1]['train/loss']:g}" if member.curve else "none"


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
        if not member.taken_over:
            member.adapted.refresh_tables()
        _save(member, path)
        if member.method.trains_on == "source":
            _save(member, _shared_file(member, worker))
        result = evaluate(cell, bench, path, worker.folder / "samples" / f"{cell.key}.png")
        num_params = sum(p.numel() for p in _learning(rd_parameters(member.adapted)))
        metrics = {
            **result.metrics,
            "adapter/num_params": float(num_params),
            "adapter/file_bytes": float(path.stat().st_size),
            "adapter_fraction": num_params / bench.codec.num_params,
            "train/steps_per_second": cell.loop.num_steps / max(member.seconds, 1e-9),
            **(_attribution(cell, bench, path) if cell.loop.attribute else {}),
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


def _attribution(cell: Cell, bench: Workbench, path: Path) -> dict[str, float]:
    """Shares of the forgetting; nothing where a method's latents cannot be parted from it."""
    if not find_method(cell.hyperparameters.method).attributes:
        return {}
    adapted, _ = load_adapter(path, bench.codec)
    samples = spread(bench.source.test, MAX_IMAGES)
    return attribution(adapted, samples, cell.block.rd_lambda)


def _save(member: Member, path: Path) -> None:
    """Write the adapter file, its training record with it."""
    record = {
        "cell": member.cell.model_dump(mode="json"),
        "curve": member.curve,
        "train_seconds": member.seconds,
    }
    save_adapter(
        member.adapted,
        path,
        method=member.method.name,
        adapter_size=member.cell.hyperparameters.adapter_size,
        record=record,
        domain=member.cell.block.domain,
    )


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
        member.taken_over = True
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
