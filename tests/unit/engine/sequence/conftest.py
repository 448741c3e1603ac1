"""Sequences of three tiny domains, planned and run in this process."""

from pathlib import Path

import pytest

from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.engine.options.sequence import SequenceOptions
from interfero.engine.sequence.plan import make_sequence_plan
from interfero.engine.worker import LocalWorker
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from tests.conftest import draw_cloud, draw_page, write_images
from trainables.runner import Runner

NAMES = ("pages", "clouds", "notes")


@pytest.fixture(scope="session")
def domain_specs(tmp_path_factory):
    """`NAME=PATH` of each domain."""
    draw = {"pages": draw_page, "clouds": draw_cloud, "notes": draw_page}
    specs = []
    for seed, name in enumerate(NAMES, start=5):
        folder = write_images(tmp_path_factory.mktemp(name), draw[name], seed=seed)
        specs.append(f"{name}={folder}")
    return tuple(specs)


@pytest.fixture(name="options", scope="session")
def options_builder(tiny_codec_file, domain_specs, other_image_folder):
    """Options that can be planned; `changes` replace some."""

    def build(**changes):
        given = {
            "source": str(tiny_codec_file),
            "domains": domain_specs,
            "source_domain": f"other={other_image_folder}",
            "methods": ("finetune",),
            "orders": ("all",),
            "adapter_sizes": (1,),
            "learning_rates": (3e-3,),
            "num_steps": 4,
            "batch_size": 2,
            "crop_size": 64,
            "max_source_images": 1,
            "max_target_images": 1,
            "precision": "float32",
            "checkpoint_seconds": 0.0,
        }
        return SequenceOptions(**(given | changes))

    return build


@pytest.fixture(name="plan", scope="session")
def plan_builder(options):
    def build(**changes):
        chosen = options(**changes)
        choice = PrecisionChoice("float32", "as asked for")
        return make_sequence_plan(chosen, load(chosen.trainings), "code", choice)

    return build


class Local:
    """Runs a plan's packs one after the other, as the driver would."""

    def __init__(self, storage: Path, name: str = "s") -> None:
        self.store = SweepStore(storage, name)
        self.products = Products(storage)
        self.did: list[str] = []

    def run(self, plan):
        """Records by key."""
        done = {k for k, n in plan.behind(plan.rows).items() if self.products.is_done(k, n.files)}
        waiting = plan.packs(plan.rows, done)
        runner = Runner.of_adaptation(plan.base)
        records = {}
        while waiting:
            pack = next(p for p in waiting if p.needs <= done)
            waiting.remove(pack)
            for record in runner(pack, LocalWorker(self.store.folder)):
                assert record.error is None, record.error
                self.store.write_record(record)
                records[record.key] = record
                done.add(record.key)
            self.did += [node.kind for node in pack.nodes]
        return records


def rows_of(plan, records):
    """Metrics of the rows by method and sequence."""
    return {(row.method, ">".join(row.sequence)): records[row.key] for row in plan.rows}
