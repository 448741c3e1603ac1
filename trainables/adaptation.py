"""Adapt a source codec to a target domain, and measure what was gained and what was forgotten.

One loop trains the members of a pack: batches are drawn once, and what members can share of the frozen
source codec is computed once. Each member keeps its own optimiser, curve, adapter file and failure.
Where a sweep fuses packs, members of one method and size compute their gradients together.
Several processes may train a pack together, each on its part of every batch; the first one evaluates.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor

from interfero.adaptation import find_method
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.lora_all_rates import AllRatesCodec
from interfero.adaptation.method import Batch, Method
from interfero.adaptation.method import Role as DomainRole
from interfero.codecs.channels_last import to_channels_last, to_coding_format
from interfero.codecs.memory import keep_freed_memory
from interfero.codecs.noise import NoiseKey
from interfero.domains.batches import draw_batch
from interfero.domains.images import Sample
from interfero.engine.adaptation.nodes import (
    Block,
    Cell,
    Distance,
    LoopConfig,
    Reference,
    SharedTraining,
)
from interfero.engine.distributed import Group, Share
from interfero.engine.worker import Worker
from interfero.errors import InterferoError
from interfero.metrics.rate_distortion import rd_loss
from interfero.randomness import Role
from interfero.records import CellRecord, Timing
from interfero.store.files import patience
from trainables.evaluation import validation_gain
from trainables.finishing import finish, finish_training, trained_before
from trainables.fusing import bundles, gradients_together, learn_together
from trainables.loop import CHECKPOINT_SECONDS, Loop
from trainables.member import CellFailure, Member, MemberLoss, make_optimizers, training_precision
from trainables.timing import reference_timing
from trainables.trunks import Trunks
from trainables.workbench import Workbench

logger = logging.getLogger(__name__)


def run_pack(
    nodes: Sequence[Cell | SharedTraining],
    bench: Workbench,
    worker: Worker,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    continued: Set[str] = frozenset(),
) -> Iterator[CellRecord]:
    """Train nodes of one block, and evaluate those that are cells; one record a node, in order.

    A member that fails or turns NaN is a record, not an exception. Members go on from their checkpoints
    in `worker.folder`; whoever keeps a record deletes the node's. Of several workers, the first one
    gives the records and the others give none.

    Args:
        nodes: What is trained.
        bench: Codec and domains.
        worker: This process.
        checkpoint_seconds: Between checkpoints.
        continued: Keys of the nodes that longer trainings will go on from.
    """
    started_at = time.time()
    group = Group(worker)
    with group.together():
        members = [_member(node, bench, worker.device) for node in nodes]
    taken = group.from_first(lambda: [trained_before(m, worker) for m in members])
    left = [m for m, done in zip(members, taken, strict=True) if not done and m.method.trains]
    _train(left, bench, worker, checkpoint_seconds, continued)
    if worker.rank > 0:
        return
    for member, node in zip(members, nodes, strict=True):
        # What is trained is not lost to a disk that is full for a while.
        with patience():
            record = (
                finish_training(member, node, bench, worker, started_at)
                if isinstance(node, SharedTraining)
                else finish(member, bench, worker, started_at)
            )
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


def look(node: Reference | Distance, bench: Workbench, worker: Worker) -> CellRecord:
    """What the source codec makes of a domain; kept by content, where cells find it."""
    started_at, started = time.time(), time.perf_counter()
    metrics: dict[str, float] = {}
    timing = None
    if isinstance(node, Distance):
        metrics = bench.distance.metrics
    else:
        before = bench.source_seconds, bench.source_megapixels
        bench.references(bench.target, node.num_images)
        bench.validated(bench.target, node.data_seed)
        spent, seen = bench.source_seconds - before[0], bench.source_megapixels - before[1]
        metrics = {"reference/megapixels": seen}
        timing = reference_timing(bench.codec, node, worker, spent, seen)
    return CellRecord(
        key=node.key,
        params=node.params,
        status="finished",
        metrics=metrics,
        started_at=started_at,
        seconds=time.perf_counter() - started,
        timing=timing,
        provenance={"domain": node.domain},
    )


def _member(node: Cell | SharedTraining, bench: Workbench, device: torch.device) -> Member:
    cell = node.cell if isinstance(node, SharedTraining) else node
    wanted = cell.hyperparameters
    method = find_method(wanted.method)
    adapted = method.build(bench.training_codec(device), wanted.adapter_size, wanted.init_seed)
    if isinstance(adapted, CopiedCodec):
        adapted.delta_rank = cell.loop.delta_rank
    if isinstance(adapted, AllRatesCodec) and cell.rates:
        adapted.train_with(bench.training_models(cell.rates, device))
    bench.equip(adapted, device)
    to_channels_last(adapted, device)
    adapted.train_parameters()
    adapted.train()
    if not method.trains:
        method.settle(adapted, wanted.learning_rate, cell.loop.num_steps, wanted.strength)
    main, auxiliary = make_optimizers(adapted, wanted.learning_rate)
    return Member(
        cell, method, adapted, main, auxiliary, MemberLoss(method, adapted), key=node.key,
        trunk=cell.trunk_key,
    )  # fmt: skip


def _train(
    members: Sequence[Member],
    bench: Workbench,
    worker: Worker,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    continued: Set[str] = frozenset(),
) -> None:
    """All steps of all members, in lockstep; each takes part from its own start on."""
    if not members:
        return
    # A step's activations are fetched anew, page by page, else: a sixth of a fine-tuning step.
    keep_freed_memory()
    block, config = members[0].cell.block, members[0].cell.loop
    loop = Loop(members, config.num_steps, worker, checkpoint_seconds)
    trunks = Trunks(worker.folder, loop.group, continued)
    data: dict[DomainRole, tuple[Sample, ...]] = {
        "target": bench.learned(block),
        "source": bench.rehearsed(block),
    }
    for member in members:
        _prepare(member, data["source"], worker.device, loop, trunks)
    for step in loop.steps():
        alive = [m for m in members if m.start <= step and not m.over]
        wanted = {(_share(m, loop.group), role) for m in alive for role in _roles(m.method)}
        started = time.perf_counter()
        images = {
            (share, role): _draw(data[role], block, config, step, share).to(
                worker.device, memory_format=torch.channels_last
            )
            for share, role in wanted
        }
        drawn_seconds = time.perf_counter() - started
        _step_all(alive, bench, images, step, loop.group, drawn_seconds)
        trunks.keep(alive, step + 1)
        if step + 1 in worker.rungs:
            _at_rung(members, bench, worker, step + 1)


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
    loop: Loop,
    trunks: Trunks,
) -> None:
    """Let the method look at the source domain before its first step, one crop at a time.

    What it learns there is not kept: a member that goes on from a checkpoint looks again.
    """
    block, crop_size = member.cell.block, member.cell.loop.crop_size

    def source_batch(index: int) -> Batch:
        crop = draw_batch(
            samples, seed=block.data_seed, step=index, batch_size=1, crop_size=crop_size,
            label=Role.IMPORTANCE,
        )  # fmt: skip
        noise = NoiseKey(block.data_seed, index, 1, Role.IMPORTANCE)
        return Batch({"source": crop.to(device)}, noise, block.rd_lambda)

    started = time.perf_counter()
    try:
        with loop.group.together():
            member.method.prepare(member.adapted, source_batch)
        member.clock.prepare_seconds = time.perf_counter() - started
        member.seconds += member.clock.prepare_seconds
        loop.restore(member)
        if not member.start:
            trunks.take_up(member)
        member.loss = loop.group.wrap(member.loss)
    except loop.group.survivable as error:
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
    for members in bundles(alive):
        member = members[0]
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
        _step_bundle(
            members,
            Batch(own, noise, member.cell.rd_lambda_at(step), wanted.strength, given),
            group,
        )
        spent = (time.perf_counter() - started) / len(members)
        # Each member pays its part of the pass that all of them used.
        users = sum(m.method.name == name for m in alive)
        for member in members:
            member.clock.steps.add(spent)
            member.clock.shared_steps.add(drawn_seconds + cost)
            member.seconds += spent + cost / users


def _step_bundle(members: Sequence[Member], batch: Batch, group: Group) -> None:
    """One step of members that step as one computation, or of each alone; marks those that fail."""
    step = batch.noise.step
    if len(members) > 1:
        try:
            values = gradients_together(members, batch)
        except RuntimeError as error:
            logger.warning(
                "%d cells of %s train one by one from step %d on, together they failed: %s",
                len(members), members[0].method.name, step, error,
            )  # fmt: skip
            for member in members:
                member.steps_alone = True
        else:
            for member in members:
                member.fused_members = max(member.fused_members, len(members))
            learn_together(members, values, step)
            return
    for member in members:
        try:
            _step(member, batch, group)
        except CellFailure as error:
            member.fail(error, step)
        except group.survivable as error:
            # Out of memory, say: what the others need is theirs.
            member.fail(error, step)


def _shared_pass(
    member: Member, bench: Workbench, images: Mapping[DomainRole, Tensor], noise: NoiseKey
) -> tuple[Any, float]:
    """What the members of one method share of a batch, and the seconds it took."""
    image = images[_roles(member.method)[0]]
    started = time.perf_counter()
    with training_precision(member.cell.loop, image.device):
        codec = bench.training_codec(image.device)
        given = member.method.shared_pass(codec, image, noise)
    return given, time.perf_counter() - started


def _step(member: Member, batch: Batch, group: Group) -> None:
    step = batch.noise.step
    member.begin(step)
    device = next(iter(batch.images.values())).device
    with group.together(), training_precision(member.cell.loop, device):
        bpp, mse, total = member.loss(batch)
    rd = rd_loss(bpp, mse, batch.rd_lambda)
    values = group.mean(torch.stack([bpp, mse, rd, total]).detach())
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(member.learning, member.cell.loop.clip_norm)
    member.check(values[-1], norm, step)
    member.main.step()
    member.train_quantiles()
    member.note(values.cpu(), step)


def _at_rung(members: Sequence[Member], bench: Workbench, worker: Worker, step: int) -> None:
    """Report each member's gain on validation; one that is asked to stop trains no further."""
    for member in members:
        if member.over:
            continue
        try:
            # A copy, source codec included: evaluating rounds parameters, renews tables and moves
            # all of it, and training must not see that.
            reached = copy.deepcopy(member.adapted)
            for module in (reached, reached.source):
                to_coding_format(module)
            reached.refresh_tables()
            gain = validation_gain(member.cell, bench, reached.eval())
        except (InterferoError, RuntimeError, ValueError) as error:
            member.failure = f"{type(error).__name__} in validation at step {step}: {error}"
            continue
        worker.report(member.cell.key, step, {"val/rd_gain_percent": gain})
        if worker.should_stop():
            member.stopped = step, gain
