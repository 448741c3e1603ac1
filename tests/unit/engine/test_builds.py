"""A sweep that another build, or another library, goes on with."""

import json

import pytest

from interfero.engine import builds
from interfero.engine.builds import BUILDS, Build, builds_line, check_build, with_build
from interfero.errors import ConfigError
from interfero.store.sweep import SweepStore
from interfero.versions import library_version

HERE, TORCH = library_version("interfero"), library_version("torch")


@pytest.fixture
def kept(tmp_path):
    """A sweep in a folder, with changes to what its sweep.json says."""

    def write(**changes):
        store = SweepStore(tmp_path, "one")
        settings = {
            "kind": "bitrate", "loop_hash": "aa", "options": {}, "num_cells": 2,
            "content": {"domain x": "d", "version of torch": TORCH},
            BUILDS: [{"since": 100.0, "interfero": HERE, "code": "aa"}],
        }  # fmt: skip
        store.folder.mkdir(exist_ok=True)
        (store.folder / "sweep.json").write_text(json.dumps(settings | changes))
        return store

    return write


def test_the_same_build_goes_on_without_a_word(kept):
    assert check_build(kept(), "aa", accept_code=False) is None
    assert builds_line(kept()) is None


@pytest.mark.parametrize("accept", [False, True])
def test_another_torch_is_refused_by_name_whatever_is_accepted(kept, accept):
    store = kept(content={"version of torch": "1.13.1", "version of nothing-such": "2.0"})
    with pytest.raises(ConfigError) as refused:
        check_build(store, "aa", accept_code=accept)
    assert str(refused.value) == (
        f"sweep 'one' was started with torch 1.13.1 and nothing-such 2.0, and here is torch {TORCH} and "
        "nothing-such none: its table would hold numbers of both; install torch==1.13.1 nothing-such==2.0 "
        "and resume, or start another --name, which trains its cells with "
        f"torch {TORCH} and nothing-such none"
    )


def test_another_interfero_with_the_same_training_code_is_named_and_goes_on(kept):
    store = kept(builds=[{"since": 100.0, "interfero": "0.0.9", "code": "aa"}])
    said = check_build(store, "aa", accept_code=False)
    assert said == (
        f"sweep 'one' was driven by interfero 0.0.9 (training code aa); this is interfero {HERE} (training "
        "code aa): the training code is the same, so its cells stay comparable"
    )
    assert builds_line(store) is None


def test_other_training_code_is_refused_with_both_versions_unless_it_is_accepted(kept):
    store = kept(builds=[{"since": 100.0, "interfero": "0.0.9", "code": "aa"}])
    both = r"started by interfero 0\.0\.9 \(training code aa\); this is interfero \S+ \(training code bb\)"
    with pytest.raises(ConfigError, match=rf"{both}.* --accept-code-change"):
        check_build(store, "bb", accept_code=False)
    said = check_build(store, "bb", accept_code=True)
    assert said.startswith("cells so far were made by interfero 0.0.9 (training code aa), those to")


def test_a_sweep_of_before_builds_were_kept_goes_on(kept):
    store = kept(builds=[])
    assert check_build(store, "aa", accept_code=False) is None
    with pytest.raises(ConfigError, match="interfero of an unknown version"):
        check_build(store, "bb", accept_code=False)


def test_the_last_lines_count_the_cells_of_each_build(kept, cell, record, monkeypatch):
    store = kept()
    monkeypatch.setattr(builds, "library_version", lambda name: "9.0")
    later = Build(since=200.0, interfero="9.0", code="bb")
    changed = with_build(store.settings(), later)
    assert [b["code"] for b in changed[BUILDS]] == ["aa", "bb"]
    assert with_build(changed, later.model_copy(update={"since": 300.0})) == changed
    kept(builds=changed[BUILDS])
    for rate, began in ((1e-3, 150.0), (2e-3, 199.0), (3e-3, 250.0)):
        store.write_record(record(cell(learning_rate=rate), started_at=began))
    store.write_record(record(cell(learning_rate=4e-3), started_at=250.0, reused_from="earlier"))
    assert builds_line(store) == (
        f"cells of several builds of the training code: 2 cells by interfero {HERE} (training code aa), "
        "1 cells by interfero 9.0 (training code bb)"
    )


def test_cells_of_builds_are_not_counted_by_a_clock_that_was_set_back(
    kept, cell, record, monkeypatch
):
    store = kept(builds=[{"since": 3700.0, "interfero": "1", "code": "aa"},
                         {"since": 200.0, "interfero": "2", "code": "bb"}])  # fmt: skip
    for rate, began in ((1e-3, 3800.0), (2e-3, 250.0)):
        store.write_record(record(cell(learning_rate=rate), started_at=began))
    assert builds_line(store) == (
        "cells of several builds of the training code: interfero 1 (training code aa), interfero 2 (training "
        "code bb); the clock was set back between them, so their cells cannot be counted"
    )
