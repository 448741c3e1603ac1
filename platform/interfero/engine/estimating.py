"""What a plan will cost: its packs, and what the storage knows of the time of cells like theirs."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.adaptation import find_method
from interfero.domains.domain import spread
from interfero.engine.cells import Cell, Pack
from interfero.engine.cost import CostModel, Estimate, PackCost, estimate, pack_cost
from interfero.engine.measurements import Measurements
from interfero.engine.planning import Plan, grid_hyperparameters
from interfero.engine.timing import megapixels


def expected_packs(plan: Plan) -> list[Pack]:
    """Packs of one cell like those that a sampler will ask for: each method and size as often."""
    points = {(p.method, p.adapter_size): p for p in grid_hyperparameters(plan.options)}
    like = list(points.values())
    return [
        Pack(cells=(plan.cell(block, like[i % len(like)]),))
        for block in plan.blocks
        for i in range(plan.options.num_samples)
    ]


def estimate_plan(
    plan: Plan, packs: Sequence[Pack], measurements: Measurements, at_once: int | None = None
) -> Estimate:
    """What the packs of a plan will cost, as far as cells like theirs have been timed.

    Args:
        plan: The sweep.
        packs: What is to be trained, in the order in which it starts.
        measurements: What the storage knows.
        at_once: Packs at once; as many as this machine has room for by default.
    """
    model = CostModel(measurements.timings, plan.setting)
    trained: set[str] = set()
    costs: list[tuple[Pack, PackCost | None]] = []
    for pack in packs:
        costs.append((pack, pack_cost(pack, model, plan.work, trained)))
        if find_method(pack.cells[0].hyperparameters.method).trains_on == "source":
            # Cells that never see the target are trained in one block, and taken over in the others.
            trained |= {cell.source_training_key for cell in pack.cells}
    return estimate(
        costs,
        at_once=at_once or plan.at_once or 1,
        cpus=plan.options.cpus_per_trial,
        num_timings=model.num_timings,
        references=model.references(_unevaluated(plan, packs, measurements)),
        start_up_seconds=measurements.start_up_seconds,
    )


def _unevaluated(plan: Plan, packs: Sequence[Pack], measurements: Measurements) -> float:
    """Megapixels of images that the source codec has not been evaluated on."""
    first = {_place(pack.cells[0]): pack.cells[0] for pack in reversed(packs)}
    new = {place: cell for place, cell in first.items() if place not in measurements.evaluated}
    total = sum(sum(plan.work(cell)) for cell in new.values())
    # Images of the source domain are evaluated once a codec, whatever the targets.
    repeated = len(new) - len({place[:2] for place in new})
    if not repeated:
        return total
    limit, seed = plan.loop.max_source_images, next(iter(new.values())).block.data_seed
    source = plan.source_domain
    seen = megapixels([*spread(source.test, limit), *source.split(1, seed).validation])
    return total - repeated * seen


def _place(cell: Cell) -> tuple[str, float, str]:
    return cell.identity.codec, cell.block.rd_lambda, cell.block.domain
