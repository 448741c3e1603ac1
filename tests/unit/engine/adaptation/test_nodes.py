import json

import pytest

from interfero.analysis.records import PROVENANCE
from interfero.engine.adaptation.nodes import Cell, Train
from interfero.records import CellRecord

CHANGES = {
    "domain": "else", "rd_lambda": 0.025, "num_images": 4, "data_seed": 1, "method": "cawf",
    "adapter_size": 2, "learning_rate": 3e-4, "init_seed": 1, "num_steps": 11, "batch_size": 4,
    "crop_size": 64, "warmup_share": 0.1, "clip_norm": 2.0, "precision": "bfloat16",
    "max_source_images": 3, "max_target_images": 3, "codec": "x", "codec_hash": "x",
    "table_hash": "x", "domain_hash": "x", "source_domain": "x", "source_domain_hash": "x",
    "device": "cuda", "threads": 2, "workers": 2, "loop_hash": "x", "versions": {"torch": "3"},
    "strength": 2.0, "delta_rank": 3, "attribute": True, "fused": True, "schedule": "wsd",
}  # fmt: skip
OF_WSD = {"warmup_steps": 5, "cooldown_share": 0.3}
"""Fields that a cosine does not have."""


def test_every_field_has_a_change_below(cell):
    parts = cell().model_dump(exclude={"node"}).values()
    assert {name for part in parts for name in part} == {*CHANGES, *OF_WSD, "image_unit"}


@pytest.mark.parametrize("name", CHANGES)
def test_the_key_changes_with_every_field(cell, name):
    assert cell(**{name: CHANGES[name]}).key != cell().key


@pytest.mark.parametrize("name", OF_WSD)
def test_a_schedules_own_fields_are_in_the_key_of_its_cells_alone(cell, name):
    change = {name: OF_WSD[name]}
    assert cell(**change).key == cell().key
    assert cell(schedule="wsd", **change).key != cell(schedule="wsd").key
    assert cell(schedule="wsd", warmup_share=0.3).key == cell(schedule="wsd").key


def test_the_key_is_stable_under_serialisation(cell):
    text = cell(learning_rate=3e-4).model_dump_json()
    assert Cell.model_validate_json(text).key == cell(learning_rate=3e-4).key
    parts = json.loads(text)
    kind = {name: parts.pop(name) for name in ("node", "rates")}
    shuffled = {part: dict(reversed(v.items())) for part, v in reversed(parts.items())} | kind
    assert Cell.model_validate(shuffled).key == cell(learning_rate=3e-4).key


def test_the_key_is_what_it_was(cell):
    """A changed way to hash would make every stored cell unknown: change it knowingly."""
    assert cell().key == "1dc177cf930da6e4"
    assert len(cell().key) == 16
    assert cell().training_key == "28dcacc02256eec5"
    other = cell(
        workers=2, fused=True, precision="bfloat16", device="cuda", method="ewc",
        learning_rate=2e-4, strength=2.5, init_seed=3,
    )  # fmt: skip
    assert (other.key, other.training_key) == ("84043de44d0a5d0d", "980e33693d1441a4")
    assert Train(cell=cell()).key == "train-28dcacc02256eec5"


@pytest.mark.parametrize("name", ["domain", "num_images", "domain_hash"])
def test_training_on_the_source_does_not_depend_on_the_target(cell, name):
    changed = cell(**{name: CHANGES[name]})
    assert changed.training_key == cell().training_key


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"domain", "num_images", "domain_hash"}))
def test_training_on_the_source_depends_on_all_else(cell, name):
    changed = cell(**{name: CHANGES[name]})
    assert changed.training_key != cell().training_key


def test_params_are_those_that_the_design_lists(cell):
    assert set(cell().params) == {
        "codec", "rd_lambda", "domain", "num_images", "method", "adapter_size", "learning_rate",
        "data_seed", "init_seed", "num_steps", "image_unit", "strength",
    }  # fmt: skip


def test_provenance_names_what_params_leave_out(cell):
    found = cell(num_steps=77, codec_hash="abc").provenance
    assert tuple(found) == PROVENANCE
    assert found["codec_hash"] == "abc"
    assert found["versions"] == "torch 2"
    assert json.loads(found["loop"])["num_steps"] == 77


def test_the_unit_is_shown_and_changes_no_key(cell):
    images, crops = cell(), cell(image_unit="crops")
    assert (images.params["image_unit"], crops.params["image_unit"]) == ("images", "crops")
    assert images.key == crops.key
    assert images.training_key == crops.training_key


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_refuses_metrics_that_are_not_finite(value):
    with pytest.raises(ValueError, match="target/bpp"):
        CellRecord(key="k", params={}, status="finished", metrics={"target/bpp": value})


def test_no_secret_of_an_exception_gets_into_a_record(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2-4711")
    said = "CodecError: s3://ann:pass4712@bucket/x asked with hunter2-4711"
    record = CellRecord(key="0", params={}, status="failed", error=said)
    assert record.error == "CodecError: s3://***@bucket/x asked with ***"
