"""Which images each cell of an adaptation sweep is adapted to, chosen by and tested on, as data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from interfero.domains.domain import spread
from interfero.domains.specs import split_spec
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.node import Params
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep_run import InputsOf
from interfero.tracking.datasets import absolute_spec, dataset_of
from interfero.tracking.operations import DatasetUse

SOURCE = "source"
"""What the source domain is for: forgetting is measured on it, and some methods train on it."""


def inputs_of(plan: AdaptationPlan) -> InputsOf:
    """The data sets of a cell, from its key and params; those of one block are made once."""

    @cache
    def of_block(domain: str, num_images: int, data_seed: int) -> tuple[DatasetUse, ...]:
        return tuple(_of_block(plan, domain, num_images, data_seed))

    def found(key: str, params: Params) -> tuple[DatasetUse, ...]:
        return of_block(str(params["domain"]), int(params["num_images"]), int(params["data_seed"]))

    return found


def _of_block(
    plan: AdaptationPlan, name: str, num_images: int, data_seed: int
) -> Iterator[DatasetUse]:
    domain, source = plan.domains[name], plan.source_domain
    split = domain.split(num_images, data_seed)
    tested = plan.loop.max_target_images
    drawn = {"num_images": num_images, "data_seed": data_seed}
    target = _place(plan.options, _spec_of(plan.options.domains, name), mapped=True)
    for samples, part, asked in (
        (split.training, "adapt", drawn),
        (split.validation, "validation", drawn),
        (spread(domain.test, tested), "test", {"num_images": tested}),
    ):
        yield dataset_of(name, samples, part, {**target, "part": part, **asked}, unit=domain.unit)
    place = {**_place(plan.options, plan.options.source_domain, mapped=False), "part": "all"}
    every = (*source.train, *source.test)
    yield dataset_of(source.name, every, SOURCE, place, unit=source.unit)


def _spec_of(specs: Sequence[str], name: str) -> str:
    return next(spec for spec in specs if split_spec(spec).name == name)


def _place(options: AdaptationOptions, spec: str, *, mapped: bool) -> dict[str, Any]:
    """What `load_samples` needs: the domain, and how its files become pixels where options say so."""
    declared = ("bands", "pixel_range", "window", "percentiles") if mapped else ()
    mapping = {name: list(found) for name in declared if (found := getattr(options, name))}
    rules: dict[str, Any] = {} if options.halve_jpeg else {"halve_jpeg": False}
    rules |= {"mapping": mapping} if mapping else {}
    return {"domain": absolute_spec(spec), **({"rules": rules} if rules else {})}
