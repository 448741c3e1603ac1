"""Sweeps of earlier builds go on as they began."""

import json

import pytest

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.sweep import _as_begun


@pytest.fixture
def begun(tmp_path):
    """A sweep whose settings have these options; and how it is resumed."""

    def build(kind, **options):
        folder = tmp_path / "old"
        folder.mkdir(exist_ok=True)
        (folder / "sweep.json").write_text(json.dumps({"options": options}))
        return kind(domains=("text",), storage=str(tmp_path), name="old", resume=True)

    return build


def test_grids_that_no_build_widened_then_are_not_widened_now(begun):
    earlier = _as_begun(begun(AdaptationOptions, sampler="grid"))
    assert earlier.settled().sampler == "grid"
    assert not earlier.model_copy(update={"num_steps": (60, 250)}).settled().widens
    assert _as_begun(begun(AdaptationOptions, widen_rates=True)).settled().widens


def test_others_are_as_they_were_typed(begun, tmp_path):
    restoration = begun(RestorationOptions)
    assert _as_begun(restoration) is restoration
    new = AdaptationOptions(domains=("text",), storage=str(tmp_path), name="new", resume=True)
    assert _as_begun(new) is new
