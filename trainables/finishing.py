"""What a member comes to once it is trained: its files, its measurements, its record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from interfero.adaptation import find_method, load_adapter, save_adapter
from interfero.codecs.channels_last import to_coding_format
from interfero.domains.domain import spread
from interfero.engine.adaptation.nodes import ADAPTER_FILE, Cell, SharedTraining, Train
from interfero.engine.worker import Worker
from interfero.errors import InterferoError, StorageError
from interfero.records import CellRecord
from interfero.store.keyed import KeyedStore
from interfero.store.products import Products
from interfero.store.sweep import TRAINED
from interfero.store.tensors import load_tensors, state_hash
from trainables.attribution import MAX_IMAGES, attribution
from trainables.evaluation import evaluate
from trainables.member import CellFailure, Member
from trainables.workbench import Workbench


def finish(member: Member, bench: Workbench, worker: Worker, started_at: float) -> CellRecord:
    """Save, reload past every cache, evaluate; a member that fails there is a failed record.

    Raises:
        StorageError: something cannot be written.
    """
    cell = member.cell
    common: dict[str, Any] = {
        "key": cell.key,
        "params": cell.params,
        "provenance": cell.provenance,
        "curve": tuple(member.curve),
        "started_at": started_at,
        "resumed_step": member.resumed_step,
        "fused_members": member.fused_members,
    }
    try:
        if member.failure:
            raise CellFailure(member.failure)
        came_to = _stopped(member) if member.stopped else _measured(member, bench, worker)
    except StorageError:
        # No failure of the cell: whoever starts its pack again finds its checkpoint.
        raise
    except (CellFailure, InterferoError, RuntimeError, ValueError) as error:
        came_to = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return CellRecord(**common, **came_to)


def finish_training(
    member: Member, node: SharedTraining, bench: Workbench, worker: Worker, started_at: float
) -> CellRecord:
    """Save a training that several cells share; one that failed is a failed record.

    Raises:
        StorageError: something cannot be written.
    """
    came_to: dict[str, Any]
    try:
        if member.failure:
            raise CellFailure(member.failure)
        path = Products(worker.folder.parent).place(node.key) / ADAPTER_FILE
        _save(_rounded(member, bench), path)
        bench.keep(member.adapted, path.parent)
        came_to = {
            "status": "finished",
            "metrics": _costs(member, bench, path),
            "timing": member.clock.timing(member.cell, bench.codec, worker),
        }
    except StorageError:
        raise
    except (CellFailure, InterferoError, RuntimeError, ValueError) as error:
        came_to = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return CellRecord(
        key=node.key,
        params=node.params,
        curve=tuple(member.curve),
        started_at=started_at,
        seconds=member.seconds,
        resumed_step=member.resumed_step,
        fused_members=member.fused_members,
        provenance={"method": member.method.name},
        **came_to,
    )


def _rounded(member: Member, bench: Workbench) -> Member:
    """A member as it is saved: on the CPU, with tables of its own parameters."""
    check_frozen(member, bench)
    to_coding_format(member.adapted)
    if not member.taken_over:
        member.adapted.refresh_tables()
    return member


def _stopped(member: Member) -> dict[str, Any]:
    """What the record of a cell has that a search stopped early."""
    assert member.stopped is not None
    step, gain = member.stopped
    return {
        "status": "stopped",
        "stopped_at": step,
        "metrics": {"val/rd_gain_percent": gain},
        "seconds": member.seconds,
    }


def _measured(member: Member, bench: Workbench, worker: Worker) -> dict[str, Any]:
    """What the record of a whole training has; its files are written."""
    cell = member.cell
    started = time.perf_counter()
    path = worker.folder / "adapters" / f"{cell.key}.safetensors"
    _save(_rounded(member, bench), path)
    if cell.shares_training and not member.taken_over:
        # Trained by a cell of a search, say: the others find it.
        _save(member, Products(worker.folder.parent).place(Train(cell=cell).key) / ADAPTER_FILE)
    result = evaluate(cell, bench, path, worker.folder / "samples" / f"{cell.key}.png")
    metrics = {**result.metrics, **_adapter_metrics(member, bench, path)}
    seconds = time.perf_counter() - started
    timing = member.clock.timing(
        cell, bench.codec, worker, evaluation=result.time, evaluation_seconds=seconds
    )
    return {
        "status": "finished",
        "metrics": metrics,
        "images": result.images,
        "adapter_file": f"adapters/{path.name}",
        "sample_file": f"samples/{cell.key}.png",
        "seconds": member.seconds + seconds,
        "timing": timing,
    }


def _adapter_metrics(member: Member, bench: Workbench, path: Path) -> dict[str, float]:
    """What an adapter costs, and where its forgetting comes from if that was asked for."""
    attributed = _attribution(member.cell, bench, path) if member.cell.loop.attribute else {}
    return {**_costs(member, bench, path), **attributed}


def _costs(member: Member, bench: Workbench, path: Path) -> dict[str, float]:
    num_params = sum(p.numel() for p in member.learning)
    return {
        "adapter/num_params": float(num_params),
        "adapter/file_bytes": float(path.stat().st_size),
        "adapter_fraction": num_params / bench.codec.num_params,
        **_pace(member),
    }


def _pace(member: Member) -> dict[str, float]:
    if not member.method.trains:
        return {}
    return {"train/steps_per_second": member.cell.loop.num_steps / max(member.seconds, 1e-9)}


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
        "fused_members": member.fused_members,
    }
    save_adapter(
        member.adapted,
        path,
        method=member.method.name,
        adapter_size=member.cell.hyperparameters.adapter_size,
        record=record,
        domain=member.cell.block.domain,
        also_for=[rate.codec_hash for rate in member.cell.rates],
    )


def trained_before(member: Member, worker: Worker) -> bool:
    """Take over a training that other cells share; False if there is none.

    The cell trains itself then: somebody deleted it, or times a cell by itself.
    """
    if not member.cell.shares_training:
        return False

    def take_over(path: Path) -> bool:
        state, metadata = load_tensors(path)
        if metadata["adapter_hash"] != state_hash(state.items()):
            return False
        member.adapted.load_adapter_state(state)
        record = metadata["record"]
        member.curve = [(int(step), values) for step, values in record["curve"]]
        member.seconds = float(record["train_seconds"])
        member.fused_members = int(record.get("fused_members", 1))
        member.taken_over = True
        return True

    product = Products(worker.folder.parent).place(Train(cell=member.cell).key)
    # Where sweeps of earlier versions kept them.
    earlier = KeyedStore(worker.folder / TRAINED, ".safetensors")
    # A damaged one is trained and written again.
    return bool(
        KeyedStore(product, ".safetensors").read(Path(ADAPTER_FILE).stem, take_over)
        or earlier.read(member.cell.training_key, take_over)
    )


def check_frozen(member: Member, bench: Workbench) -> None:
    """A method that embeds the source codec must leave every byte of it alone."""
    state = member.adapted.frozen_source_state()
    if state is not None and state_hash(state.items()) != bench.codec.weights_hash:
        raise CellFailure(
            f"{member.method.name} changed the source codec it embeds: its weights or tables no "
            f"longer hash to {bench.codec.weights_hash}"
        )
