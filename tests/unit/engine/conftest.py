"""Cells and plans without any training: domains of random pixels, an untrained codec."""

from types import SimpleNamespace

import numpy as np
import pytest

from interfero.domains.domain import Domain
from interfero.domains.images import Sample
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.adaptation.plan import make_plan
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.records import CellRecord

METRICS = {
    "val/rd_gain_percent": 1.0,
    "val/forgetting_percent": 2.0,
    "val/forgetting_unrouted_percent": 2.0,
    "adapter/num_params": 100.0,
    "target/rd_gain_percent": -50.0,
}


def make_domain(name="thing", count=10, seed=0, side=96):
    rng = np.random.default_rng(seed)
    samples = [
        Sample(f"s{i}", f"s{i}", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        for i in range(count)
    ]
    return Domain(name, tuple(samples[: count - 3]), tuple(samples[count - 3 :]))


def make_cell(**changes):
    """A cell; `changes` are fields of any of its parts."""
    parts = {
        "block": {"domain": "thing", "rd_lambda": 0.013, "num_images": 8, "data_seed": 0},
        "hyperparameters": {
            "method": "finetune", "adapter_size": 0, "learning_rate": 1e-3, "init_seed": 0,
        },
        "loop": {"num_steps": 10},
        "identity": {
            "codec": "tiny", "codec_hash": "c", "table_hash": "t", "domain_hash": "d",
            "source_domain": "other", "source_domain_hash": "s", "loop_hash": "l",
            "versions": {"torch": "2"},
        },
    }  # fmt: skip
    classes = {
        "block": Block, "hyperparameters": Hyperparameters, "loop": LoopConfig,
        "identity": Identity,
    }  # fmt: skip
    for name, value in changes.items():
        owner = [part for part, kind in classes.items() if name in kind.model_fields]
        assert len(owner) == 1
        parts[owner[0]][name] = value
    return Cell(**{part: kind(**parts[part]) for part, kind in classes.items()})


def make_record(cell, **changes):
    """A finished record of a cell."""
    given = {"key": cell.key, "params": cell.params, "status": "finished", "metrics": METRICS}
    return CellRecord(**given | changes)


@pytest.fixture(name="cell")
def cell_builder():
    return make_cell


@pytest.fixture(name="record")
def record_builder():
    return make_record


@pytest.fixture(name="domain")
def domain_builder():
    return make_domain


@pytest.fixture(name="options")
def options_builder(tiny_codec_file, image_folder, other_image_folder):
    """Options that can be planned; `changes` replace some."""

    def build(**changes):
        given = {
            "source": str(tiny_codec_file),
            "domains": (f"thing={image_folder}",),
            "source_domain": f"other={other_image_folder}",
            "methods": ("finetune", "cawf"),
            "adapter_sizes": (1, 2),
            "learning_rates": (1e-3, 1e-2),
            "num_steps": 4,
            "precision": "float32",
        }
        return AdaptationOptions(**given | changes)

    return build


AS_ASKED = PrecisionChoice("float32", "as asked for")


def plan_of(options, precision=AS_ASKED):
    """The plan of some options, as a study makes it."""
    return make_plan(load(options), "loop", precision)


@pytest.fixture(name="plan")
def plan_builder(options):
    def build(**changes):
        return plan_of(options(**changes))

    return build


@pytest.fixture
def in_a_group(monkeypatch, tmp_path):
    """Trains a pack as a process of a group does, in sweep `s` of `tmp_path`; Ray is not there."""

    from interfero.engine import group_trial

    def train(pack, runner, rank=0, draining=frozenset()):
        context = SimpleNamespace(get_world_rank=lambda: rank, get_world_size=lambda: 1)
        monkeypatch.setattr(group_trial.ray.train, "get_context", lambda: context)
        monkeypatch.setattr(group_trial.ray, "get", lambda reference: reference)
        monkeypatch.setattr(group_trial, "own_node", lambda: "here")
        monkeypatch.setattr("interfero.engine.leaving.draining_nodes", lambda: draining)
        group_trial.train_rank(
            {"runner": runner, "pack": pack.model_dump_json(), "storage": tmp_path, "name": "s",
             "size": group_trial.GroupSize(1, 1.0, 0.0), "code": None, "node": "trial"}
        )  # fmt: skip

    return train
