"""Which images each cell of a restoration sweep is trained and tested on, as data sets."""

from __future__ import annotations

from collections.abc import Iterator

from interfero.domains.specs import split_spec
from interfero.domains.views import origin_of
from interfero.engine.node import Params
from interfero.engine.restoration.nodes import (
    Compressed,
    FineTuned,
    Images,
    Originals,
    Restored,
    TaskCoded,
    TestCell,
    compressed_of,
    originals_of,
)
from interfero.engine.restoration.plan import RestorationPlan
from interfero.engine.sweep_run import InputsOf
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from interfero.tracking.datasets import absolute_spec, copies_of, dataset_of
from interfero.tracking.operations import DatasetUse


def inputs_of(plan: RestorationPlan, store: SweepStore) -> InputsOf:
    """The data sets of a cell, from its key; those that cells share are made once."""
    cells = {cell.key: cell for cell in plan.cells}
    products = Products(store.storage)
    made: dict[tuple[str, str], DatasetUse] = {}

    def of_images(images: Images, context: str) -> DatasetUse:
        place = images.key, context
        if place not in made:
            made[place] = (
                _originals(plan, images, context)
                if isinstance(images, Originals)
                else _copies(products, images, context)
            )
        return made[place]

    def found(key: str, params: Params) -> tuple[DatasetUse, ...]:
        cell = cells.get(key)
        return tuple(of_images(*use) for use in _uses(cell)) if cell else ()

    return found


def _uses(cell: TestCell) -> Iterator[tuple[Images, str]]:
    model = cell.segmenter
    before = model.start.images if isinstance(model, FineTuned) else ()
    for images in (*before, *model.images):
        yield images, "train"
        if isinstance(images, Restored):
            yield images.restorer.compressed, "restoration"
    yield cell.tested_on, "test"


def _originals(plan: RestorationPlan, images: Originals, context: str) -> DatasetUse:
    domain, options = plan.domains[images.domain], plan.options
    specs = {split_spec(spec).name: spec for spec in options.domains}
    own, task = origin_of(domain, specs)
    place = {
        "domain": absolute_spec(specs[own]), "part": images.portion, "labelled": True,
        "max_images": options.max_images, "max_side": options.max_side, "task": task,
    }  # fmt: skip
    samples = domain.portion(images.portion)
    return dataset_of(domain.name, samples, context, place, unit=domain.unit, labels=True)


def _copies(
    products: Products, images: Compressed | Restored | TaskCoded, context: str
) -> DatasetUse:
    compressed, originals = compressed_of(images), originals_of(images)
    assert compressed is not None
    name = f"{originals.domain}-{compressed.codec_name}-{compressed.rate_bpp:g}bpp"
    if isinstance(images, Restored):
        config = images.restorer.config
        name += f"-{'regression' if config.adversary == 'none' else config.adversary}"
        name += "" if config.generator == "residual" else f"-{config.generator}"
    elif isinstance(images, TaskCoded):
        adapting = images.adapter.config
        name += f"-{adapting.method}-task-{adapting.task_weight:g}"
    folder = str(products.place(images.key))
    return copies_of(name, images.key.rpartition("-")[2], folder, context, originals.num_images)
