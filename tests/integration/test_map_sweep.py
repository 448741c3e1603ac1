"""The sweep files that draw a map, run: one trains the cells, the others find them and answer their own."""

import importlib
import json
import re

import pytest

from interfero.domains.specs import DATA_VARIABLE
from sweeps.interference_map import SWEEP

CELLS = (
    "--methods", "finetune", "continue_source", "--lambdas", "0.013", "--num-images", "1", "2", "4",
    "--learning-rates", "1e-3", "--data-seeds", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def mapped(make_workplace, ray_here):
    """That the files run as scripts, tests/unit/test_startup.py sees."""
    place = make_workplace("map")
    done = place.called(SWEEP, *CELLS, "--name", "interference_map")
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done


def test_a_map_ends_in_its_answer_figures_and_a_report(mapped):
    place, done = mapped
    said = " ".join(done.stdout.split())
    asked = said.index(
        "Laws for 3 combinations of method and response: 3 refused (1 data seeds, 3 are"
    )
    assert asked < re.search(r"finetune (gains|loses) ", said).start()
    folder = place.sweep("interference_map") / "report"
    names = {p.name for p in folder.iterdir()}
    assert {"report.html", "image_count.png", "image_count.svg", "cells.parquet"} <= names
    assert json.loads((folder / "scaling_fits.json").read_text())["refused"]


def test_distances_are_measured_for_every_cell(mapped):
    records = mapped[0].records("interference_map")
    assert len(records) == 6
    for record in records.values():
        assert {n for n in record["metrics"] if n.startswith("distance/")} == {
            "distance/rd_excess_percent", "distance/latent_bits", "distance/feature_sd", "distance/chroma_sd",
        }  # fmt: skip


@pytest.mark.parametrize("name", ["domain_shift", "image_count", "bitrate"])
def test_the_other_questions_are_answered_from_the_same_cells(mapped, name):
    place, _ = mapped
    sweep = importlib.import_module(f"sweeps.{name}").SWEEP
    code, shown = place.call(sweep, *place.tiny, *CELLS, "--name", name)
    assert code == 0, shown
    said = " ".join(shown.split())
    assert "6 cells taken over from earlier sweeps" in said
    # One domain at one lambda has no answer to the two other questions.
    assert ("From 1 to 4 training images" in said) == (name == "image_count")
    assert (place.sweep(name) / "report" / "report.html").is_file()
    assert {r["reused_from"] for r in place.records(name).values()} == {"interference_map"}


def test_a_known_shift_is_run_and_answered(make_workplace, ray_here, image_folder, monkeypatch):
    """The source domain is the one that is corrupted, as in the sweep's defaults."""
    monkeypatch.setenv(DATA_VARIABLE, str(image_folder.parent))
    place, base = make_workplace("graded"), image_folder.name
    domains = [f"{base}.contrast-{severity}" for severity in (1, 5)]
    at = place.tiny.index("--domains")
    place.tiny[at + 1 : at + 4] = [*domains, "--source-domain", base]
    sweep = importlib.import_module("sweeps.graded_shift").SWEEP
    few = (
        "--methods",
        "finetune",
        "continue_source",
        "--learning-rates",
        "1e-3",
        "--num-images",
        2,
    )
    done = place.called(sweep, *few, "--name", "graded")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert (
        "foretells finetune's unrouted forgetting cannot be told from 1 corruption: 6 are" in said
    )
    records = place.records("graded")
    assert {r["params"]["domain"] for r in records.values()} == set(domains)
    assert len(records) == 4
    assert (place.sweep("graded") / "report" / "graded_shift.png").is_file()
