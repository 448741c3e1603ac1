"""A restoration sweep, planned and run in this process, on three mosaics a portion."""

from pathlib import Path

import pytest

from interfero.domains.mosaics import mosaics
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.restoration.plan import StepCode, make_plan
from interfero.engine.worker import LocalWorker
from interfero.store.content import CACHE_VARIABLE
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from trainables.runner import Runner

FEW = {"train": 3, "restoration": 3, "test": 3}
CODE = StepCode("c", "r", "s")


def options(**changes):
    given = {
        "codecs": ("webp",), "rates": (0.8,), "configurations": ("OO", "CC", "CO", "OC"),
        "num_steps": 2, "restoration_steps": 2, "batch_size": 2, "crop_size": 32, "max_images": 3,
    }  # fmt: skip
    return RestorationOptions(**(given | changes))


@pytest.fixture(autouse=True, scope="session")
def few_mosaics():
    """Rendering all of them takes a second a plan."""
    import interfero.domains.labelled_catalogue as catalogue

    domain = mosaics(FEW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.LABELLED, "mosaics", lambda: domain)
        yield domain


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What stands in for the code's hash never changes: rates must not outlive these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


def plan_of(**changes):
    return make_plan(options(**changes), CODE)


def packs_of(plan, done=frozenset()):
    """All that is to be done for a plan's cells."""
    return plan.packs(plan.cells, done)


class Local:
    """Runs a plan's packs one after the other, as the driver would, and counts them."""

    def __init__(self, storage: Path, name: str = "s") -> None:
        self.store = SweepStore(storage, name)
        self.products = Products(storage)
        self.did: list[str] = []

    def run(self, plan, runner=None):
        done = done_in(self.products, plan)
        runner = runner or Runner.of_restoration(plan)
        records = {}
        waiting = packs_of(plan, done)
        while waiting:
            pack = next(p for p in waiting if ready(p, done))
            waiting.remove(pack)
            for record in runner(pack, LocalWorker(self.store.folder)):
                self.store.write_record(record)
                records[record.key] = record
                done.add(record.key)
            self.did.append(pack.nodes[0].kind)
        return records


def ready(pack, done):
    return pack.needs <= done


def done_in(products, plan):
    """Keys of the nodes behind a plan's cells whose products are whole."""
    behind = plan.behind(plan.cells)
    return {key for key, node in behind.items() if products.is_done(key, node.files)}
