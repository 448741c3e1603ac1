"""What a study of compressed images sees of the paper's claims: planted scores show them, or refute them."""

from pathlib import Path

import pytest

from interfero.analysis.restoration.claims import claim_rows, claims_of
from interfero.analysis.restoration.losses import summarise
from interfero.analysis.restoration.tables import write_restoration_tables
from tests.unit.analysis.test_restoration import record, sweep
from tools.print_scenes import scenes, score_rows

WORSE = {"OO": 0.9, "CC": 0.88, "CO": 0.86, "OC": 0.87, "RO": 0.87, "MO": 0.865}
"""At a higher rate."""


@pytest.fixture
def study():
    """Two rates of one codec, and restorers with and without an adversary."""
    plain = [record("RO", s, 0.72, restoration="regression") for s in range(3)]
    high = [r for r in sweep(WORSE, rate=0.8) if r.params["configuration"] != "OO"]
    return [*sweep(), *plain, *high]


def verdicts(records):
    return {(c.claim.partition(":")[0], c.method): c.verdict for c in claims_of(summarise(records))}


def test_planted_scores_show_the_claims(study):
    found = verdicts(study)
    plain, gan = "mosaics, jpeg", "mosaics, jpeg, gan disjoint"
    assert found["Compression takes away information that a model needs", plain] == "seen"
    shift = "Training on compressed images mismatches a deployment on originals"
    assert found[shift, plain] == "seen"
    assert found["Restoring the training images gains", gan] == "seen"
    assert found["Restoring gains more than mixing originals in", gan] == "seen"
    assert found["An adversary restores better than regression alone", gan] == "seen"
    assert found["The drop depends on the rate", plain] == "seen"
    assert found["How much of the drop is recovered", "mosaics, jpeg, RO gan disjoint"] == "seen"
    (lost,) = (c for c in claims_of(summarise(study)) if c.claim.startswith("Compression takes"))
    assert lost.measured.startswith("0.3: +0.1")
    assert "; 0.8: +0.0" in lost.measured


def test_planted_scores_refute_them():
    levels = {"OO": 0.7, "CC": 0.8, "CO": 0.85, "OC": 0.9, "RO": 0.75, "MO": 0.84}
    found = verdicts(sweep(levels))
    assert set(found.values()) == {"refuted", "not measured"}
    # There is no drop to recover.
    assert found["How much of the drop is recovered", "mosaics, jpeg, MO"] == "not measured"


def test_one_seed_decides_nothing_that_seeds_decide():
    assert "seen" not in verdicts(sweep(seeds=1, images=1)).values()


def test_the_tool_prints_claims_scores_and_differences(study, tmp_path):
    write_restoration_tables(study, summarise(study), tmp_path)
    text = "\n\n".join(scenes([tmp_path]))
    header, rows = claim_rows(summarise(study))
    assert f"| {' | '.join(header)} |" in text
    assert all(f"| {' | '.join(row)} |" in text for row in rows)
    assert "mosaics, jpeg at 0.3 bpp" in text


def test_scores_are_a_row_for_each_rate(study):
    header, rows = score_rows(summarise(study))
    assert header[:4] == ["domain", "codec", "bpp asked", "reached"]
    assert header[4:8] == ["OO", "CC", "CO", "OC"]
    by_rate = {row[2]: dict(zip(header, row, strict=True)) for row in rows}
    assert set(by_rate) == {"", "0.3", "0.8"}
    lower, higher = (float(by_rate[rate]["CO"]) for rate in ("0.3", "0.8"))
    # The mean over seeds, to three places.
    (score,) = (
        s for s in summarise(study).scores if s.line.label == "CO" and s.line.rate_bpp == 0.8
    )
    assert higher == pytest.approx(score.mean, abs=5e-4)
    assert lower < higher
    assert by_rate["0.8"]["OO"] == "" != by_rate[""]["OO"]


def test_the_page_is_what_the_tool_prints():
    docs = Path(__file__).parents[3] / "docs"
    claims, scores, *_ = scenes([docs / "compressed_learning_cells"])
    page = (docs / "compressed_learning.md").read_text("utf-8")
    assert claims in page
    assert scores in page
