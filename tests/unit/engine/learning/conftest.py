"""A sweep of learning, planned and run in this process, on three mosaics a portion."""

from pathlib import Path

import pytest
from interfero.engine.learning.options import LearningOptions
from interfero.engine.learning.planning import Code, make_learning_plan
from interfero.engine.learning.products import files_of

from interfero.domains.mosaics import mosaics
from interfero.engine.worker import LocalWorker
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from trainables.learning_runner import LearningRunner

FEW = {"train": 3, "restoration": 3, "test": 3}
CODE = Code("c", "r", "s")


def options(**changes):
    given = {
        "codecs": ("webp",), "rates": (0.8,), "configurations": ("OO", "CC", "CO", "OC"),
        "num_steps": 2, "restoration_steps": 2, "batch_size": 2, "crop_size": 32, "max_images": 3,
    }  # fmt: skip
    return LearningOptions(**(given | changes))


@pytest.fixture(autouse=True, scope="session")
def few_mosaics():
    """Rendering all of them takes a second a plan."""
    import interfero.domains.labelled_catalogue as catalogue

    domain = mosaics(FEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.LABELLED, "mosaics", lambda: domain)
        yield domain


def plan_of(**changes):
    return make_learning_plan(options(**changes), CODE)


class Local:
    """Runs a plan's packs one after the other, as the driver would, and counts them."""

    def __init__(self, storage: Path, name: str = "s") -> None:
        self.store = SweepStore(storage, name)
        self.products = Products(storage)
        self.did: list[str] = []

    def run(self, plan, runner=None):
        done = {key for key, job in plan.jobs.items() if self.products.is_done(key, files_of(job))}
        runner = runner or LearningRunner.from_plan(plan)
        records = {}
        waiting = plan.packs(done)
        while waiting:
            pack = next(p for p in waiting if ready(p, done))
            waiting.remove(pack)
            for record in runner(pack, LocalWorker(self.store.folder)):
                self.store.write_record(record)
                records[record.key] = record
                done.add(record.key)
            self.did.append(pack.cells[0].kind)
        return records


def ready(pack, done):
    return all(need.key in done for job in pack.cells for need in job.needs)
