"""What a plan will cost: its packs, and what the storage knows of the time of cells like theirs."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.domains.domain import Domain, spread
from interfero.engine.adaptation.cost import (
    NOTHING,
    CostEstimate,
    CostModel,
    PackCost,
    estimate,
    pack_cost,
    reference_cost,
)
from interfero.engine.adaptation.grid import grid_hyperparameters
from interfero.engine.adaptation.nodes import Distance, Reference
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.measurements import Measurements
from interfero.engine.packs import Pack
from interfero.engine.spending import PackShare
from interfero.engine.timing import megapixels


def expected_packs(plan: AdaptationPlan) -> list[Pack]:
    """Packs of one cell like those that a sampler will ask for: each method and size as often."""
    points = {(p.method, p.adapter_size): p for p in grid_hyperparameters(plan.options)}
    like = list(points.values())
    return [
        Pack(nodes=(plan.cell(block, like[i % len(like)]),))
        for block in plan.blocks
        for i in range(plan.options.num_samples)
    ]


def estimate_plan(
    plan: AdaptationPlan,
    packs: Sequence[Pack],
    measurements: Measurements,
    at_once: int | None = None,
) -> CostEstimate:
    """What the packs of a plan will cost, as far as cells like theirs have been timed.

    Args:
        plan: The sweep.
        packs: What is to be trained, in the order in which it starts.
        measurements: What the storage knows.
        at_once: Packs at once; as many as this machine has room for by default.
    """
    model = CostModel(measurements.timings, plan.setting)
    return estimate(
        [(pack, _cost(plan, pack, model)) for pack in packs],
        at_once=at_once or plan.at_once or 1,
        share=PackShare.of(plan.options),
        num_timings=model.num_timings,
        start_up_seconds=measurements.start_up_seconds,
    )


def _cost(plan: AdaptationPlan, pack: Pack, model: CostModel) -> PackCost | None:
    first = pack.nodes[0]
    if isinstance(first, Reference):
        return reference_cost(_looked_at(plan, first), model)
    if isinstance(first, Distance):
        return PackCost(NOTHING, (NOTHING,))
    return pack_cost(pack, model, plan.work)


def _looked_at(plan: AdaptationPlan, node: Reference) -> float:
    """Megapixels of test and validation images."""
    source = plan.source_domain
    domain: Domain = source if node.domain_hash == source.fingerprint else plan.domains[node.domain]
    seen = [*spread(domain.test, node.num_images), *domain.split(1, node.data_seed).validation]
    return megapixels(seen)
