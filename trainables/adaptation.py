"""Adapt a source codec to a target domain, and measure what was gained and what was forgotten.

One loop trains the members of a pack: batches are drawn once, and what members can share of the frozen
source codec is computed once. Each member keeps its own optimiser, curve, adapter file and failure.
Several processes may train a pack together, each on its part of every batch; the first one evaluates.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interfero.adaptation import find_method, load_adapter, save_adapter
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.method import AdaptedCodec, Batch, Method, StepLoss
from interfero.adaptation.method import Role as DomainRole
from interfero.codecs.codec import (
    quantile_loss,
    quantile_parameters,
    rd_parameters,
    state_hash,
)
from interfero.codecs.memory import keep_freed_memory
from interfero.codecs.noise import NoiseKey
from interfero.domains.batches import draw_batch
from interfero.domains.domain import spread
from interfero.domains.images import Sample
from interfero.engine.cells import Block, Cell, CellRecord, LoopConfig
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.distributed import Group, Share
from interfero.engine.timing import Timing
from interfero.engine.worker import Worker
from interfero.errors import InterferoError, StorageError
from interfero.metrics.rate_distortion import rd_loss
from interfero.randomness import Role
from interfero.storage import load_tensors, patience
from trainables.attribution import MAX_IMAGES, attribution
from trainables.evaluation import Workbench, evaluate, validation_gain
from trainables.resuming import CHECKPOINT_SECONDS, StateKeeper
from trainables.timing import MemberClock

QUANTILE_LEARNING_RATE = 1e-3
CURVE_POINTS = 100


class CellFailure(InterferoError):
    """One member cannot go on; the others can."""


@dataclass
class Member:
    """One cell of a pack while it trains."""

    cell: Cell
    method: Method
    adapted: AdaptedCodec
    main: torch.optim.Optimizer
    auxiliary: torch.optim.Optimizer | None
    loss: nn.Module
    """Takes a batch, gives the parts of a `StepLoss`."""
    start: int = 0
    """Step it goes on from; 0 if it was never interrupted."""
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    window: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    clock: MemberClock = field(default_factory=MemberClock)
    failure: str | None = None
    stopped: tuple[int, float] | None = None
    """Where a search stopped it: the step, and the gain on validation there in percent."""
    taken_over: bool = False
    """Whether another block's training was read from its file, tables included."""


class _Loss(nn.Module):
    """A method's loss as a forward pass: what torch's DistributedDataParallel takes."""

    def __init__(self, method: Method, adapted: AdaptedCodec) -> None:
        super().__init__()
        self.method = method
        self.adapted = adapted

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        coded = self.method.loss(self.adapted, batch)
        return coded.bpp, coded.mse, coded.total


def run_pack(
    cells: Sequence[Cell],
    bench: Workbench,
    worker: Worker,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Iterator[CellRecord]:
    """Train and evaluate the cells of one block; one record a cell, in order.

    A member that fails or turns NaN is a record, not an exception. Members go on from their checkpoints
    in `worker.folder`; whoever keeps a record deletes the cell's. Of several workers, the first one
    gives the records and the others give none.
    """
    started_at = time.time()
    group = Group(worker)
    members = [_member(cell, bench, worker.device) for cell in cells]
    taken = group.from_first(lambda: [_trained_before(m, worker) for m in members])
    left = [m for m, done in zip(members, taken, strict=True) if not done]
    _train(left, bench, worker, checkpoint_seconds)
    if worker.rank > 0:
        return
    for member in members:
        # What is trained is not lost to a disk that is full for a while.
        with patience():
            record = _finish(member, bench, worker, started_at)
        yield record


def time_steps(cells: Sequence[Cell], bench: Workbench, worker: Worker) -> list[Timing]:
    """Train the cells, and say what a step took; nothing is kept or evaluated.

    Raises:
        CellFailure: a member cannot be trained.
    """
    members = [_member(cell, bench, worker.device) for cell in cells]
    _train(members, bench, worker)
    for member in members:
        if member.failure:
            raise CellFailure(member.failure)
    return [m.clock.timing(m.cell, bench.codec, worker) for m in members]


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
    main = torch.optim.Adam(_learning(rd_parameters(adapted)), lr=wanted.learning_rate, fused=True)
    quantiles = _learning(quantile_parameters(adapted))
    auxiliary = (
        torch.optim.Adam(quantiles, lr=QUANTILE_LEARNING_RATE, fused=True) if quantiles else None
    )
    return Member(cell, method, adapted, main, auxiliary, _Loss(method, adapted))


def _learning(parameters: Sequence[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [p for p in parameters if p.requires_grad]


def _train(
    members: Sequence[Member],
    bench: Workbench,
    worker: Worker,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """All steps of all members, in lockstep; each takes part from its own start on."""
    if not members:
        return
    # A step's activations are fetched anew, page by page, else: a sixth of a fine-tuning step.
    keep_freed_memory()
    group = Group(worker)
    keeper = StateKeeper(Checkpoints(worker.folder), group, checkpoint_seconds)
    block, loop = members[0].cell.block, members[0].cell.loop
    data: dict[DomainRole, tuple[Sample, ...]] = {
        "target": bench.target.split(block.num_images, block.data_seed).training,
        "source": bench.source.split("all", block.data_seed).training,
    }
    for member in members:
        _prepare(member, data["source"], worker.device, group, keeper)
    going_on = [m for m in members if not m.failure and not m.stopped]
    first = min((m.start for m in going_on), default=loop.num_steps)
    for step in range(first, loop.num_steps):
        alive = [m for m in members if m.start <= step and not m.failure and not m.stopped]
        wanted = {(_share(m, group), role) for m in alive for role in _roles(m.method)}
        started = time.perf_counter()
        images = {
            (share, role): _draw(data[role], block, loop, step, share).to(
                worker.device, memory_format=torch.channels_last
            )
            for share, role in wanted
        }
        drawn_seconds = time.perf_counter() - started
        _step_all(alive, bench, images, step, group, drawn_seconds)
        if step + 1 in worker.rungs:
            _at_rung(members, bench, worker, step + 1)
        keeper.after_step(members, step + 1, last=step + 1 == loop.num_steps)
        if all(m.failure or m.stopped for m in members):
            return


def _share(member: Member, group: Group) -> Share:
    """The samples of a batch that this process takes for a member."""
    halves = member.method.trains_on == "both"
    return group.share(member.cell.loop.batch_size, halves=halves)


def _draw(
    samples: Sequence[Sample], block: Block, loop: LoopConfig, step: int, share: Share
) -> Tensor:
    """A share of a step's batch: (samples, 3, crop, crop) in [0, 1]."""
    drawn = [
        draw_batch(
            samples,
            seed=block.data_seed,
            step=step,
            batch_size=size,
            crop_size=loop.crop_size,
            first_index=first_index,
        )
        for first_index, size in share.runs
    ]
    return torch.cat(drawn)


def _roles(method: Method) -> tuple[DomainRole, ...]:
    return ("target", "source") if method.trains_on == "both" else (method.trains_on,)


def _prepare(
    member: Member,
    samples: Sequence[Sample],
    device: torch.device,
    group: Group,
    keeper: StateKeeper,
) -> None:
    """Let the method look at the source domain before its first step, one crop at a time.

    What it learns there is not kept: a member that goes on from a checkpoint looks again.
    """
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
        with group.together():
            member.method.prepare(member.adapted, source_batch)
        member.clock.prepare_seconds = time.perf_counter() - started
        member.seconds += member.clock.prepare_seconds
        keeper.restore(member)
        member.loss = group.wrap(member.loss)
    except group.survivable as error:
        member.failure = f"{type(error).__name__} before the first step: {error}"


def _step_all(
    alive: Sequence[Member],
    bench: Workbench,
    images: Mapping[tuple[Share, DomainRole], Tensor],
    step: int,
    group: Group,
    drawn_seconds: float,
) -> None:
    """One step of each member; `drawn_seconds` is what the batch took."""
    shared: dict[str, tuple[Any, float]] = {}
    for member in alive:
        name, share = member.method.name, _share(member, group)
        block, wanted = member.cell.block, member.cell.hyperparameters
        own = {role: images[share, role] for role in _roles(member.method)}
        noise = NoiseKey(
            block.data_seed, step, share.size, first_index=share.first_index, skip=share.skip
        )
        if name not in shared:
            shared[name] = _shared_pass(member, bench, own, noise)
        given, cost = shared[name]
        started = time.perf_counter()
        batch = Batch(own, noise, block.rd_lambda, wanted.strength, given)
        try:
            _step(member, batch, group)
        except CellFailure as error:
            member.failure = str(error)
        except group.survivable as error:
            # Out of memory, say: what the others need is theirs.
            member.failure = f"{type(error).__name__} at step {step}: {error}"
        spent = time.perf_counter() - started
        member.clock.steps.add(spent)
        member.clock.shared_steps.add(drawn_seconds + cost)
        # Each member pays its part of the pass that all of them used.
        users = sum(m.method.name == name for m in alive)
        member.seconds += spent + cost / users


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


def _step(member: Member, batch: Batch, group: Group) -> None:
    loop, step = member.cell.loop, batch.noise.step
    for settings in member.main.param_groups:
        settings["lr"] = learning_rate_at(loop, member.cell.hyperparameters.learning_rate, step)
    device = next(iter(batch.images.values())).device
    with group.together(), _precision(loop, device):
        coded = StepLoss(*member.loss(batch))
    rd = rd_loss(coded.bpp, coded.mse, batch.rd_lambda)
    values = group.mean(torch.stack([coded.bpp, coded.mse, rd, coded.total]).detach())
    loss = values[-1]
    member.main.zero_grad()
    coded.total.backward()
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
    member.window.append(values.cpu())
    interval = max(1, loop.num_steps // CURVE_POINTS)
    if (step + 1) % interval == 0 or step + 1 == loop.num_steps:
        means = torch.stack(member.window).mean(dim=0).tolist()
        names = ("train/bpp", "train/mse_255", "train/rd_loss", "train/loss")
        member.curve.append((step + 1, dict(zip(names, means, strict=True))))
        member.window.clear()


def _at_rung(members: Sequence[Member], bench: Workbench, worker: Worker, step: int) -> None:
    """Report each member's gain on validation; one that is asked to stop trains no further."""
    for member in members:
        if member.failure or member.stopped:
            continue
        try:
            # A copy, source codec included: evaluating rounds parameters, renews tables and moves
            # all of it, and training must not see that.
            reached = copy.deepcopy(member.adapted)
            for module in (reached, reached.source):
                module.to("cpu").to(memory_format=torch.contiguous_format)
            reached.refresh_tables()
            gain = validation_gain(member.cell, bench, reached.eval())
        except (InterferoError, RuntimeError, ValueError) as error:
            member.failure = f"{type(error).__name__} in validation at step {step}: {error}"
            continue
        worker.report(member.cell.key, step, {"val/rd_gain_percent": gain})
        if worker.should_stop():
            member.stopped = step, gain


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
        "provenance": cell.provenance,
        "curve": tuple(member.curve),
        "started_at": started_at,
        "resumed_step": member.start,
    }
    evaluation_started = time.perf_counter()
    try:
        if member.failure:
            raise CellFailure(member.failure)
        if member.stopped:
            step, gain = member.stopped
            return CellRecord(
                **common,
                status="stopped",
                stopped_at=step,
                metrics={"val/rd_gain_percent": gain},
                seconds=member.seconds,
            )
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
        evaluation_seconds = time.perf_counter() - evaluation_started
        timing = member.clock.timing(
            cell, bench.codec, worker, evaluation=result.time, evaluation_seconds=evaluation_seconds
        )
        return CellRecord(
            **common,
            status="finished",
            metrics=metrics,
            images=result.images,
            adapter_file=f"adapters/{path.name}",
            sample_file=f"samples/{cell.key}.png",
            seconds=member.seconds + evaluation_seconds,
            timing=timing,
        )
    except StorageError:
        # No failure of the cell: whoever starts its pack again finds its checkpoint.
        raise
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
