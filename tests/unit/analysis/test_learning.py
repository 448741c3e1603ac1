"""The decomposition, with planted scores: what is found is what was put there."""

import numpy as np
import pytest

from interfero.analysis.learning import summarise, summary_markdown
from interfero.analysis.learning_figures import write_learning_figures
from interfero.analysis.learning_tables import learning_table, write_learning_tables
from interfero.engine.cells import CellRecord, SegmentedImage

LEVELS = {"OO": 0.9, "CC": 0.8, "CO": 0.6, "OC": 0.7, "RO": 0.75, "MO": 0.7}
"""Share of pixels predicted right."""


def record(configuration, seed, right, *, images=12, rate=0.3, spread=0.01, **params):
    """Two classes, half of the pixels each; wrong ones go to the other class."""
    rng = np.random.default_rng([seed, *configuration.encode()])
    lossy = configuration != "OO"
    found = []
    for i in range(images):
        share = np.clip(right + spread * rng.normal() + 0.02 * np.sin(i), 0, 1)
        hits = (round(500 * share),) * 2
        found.append(SegmentedImage(name=f"t{i}", group=f"t{i}", hits=hits, labelled=(500, 500),
                                    predicted=(500, 500)))  # fmt: skip
    sums = [
        np.sum([getattr(f, n) for f in found], axis=0) for n in ("hits", "labelled", "predicted")
    ]
    miou = float(np.mean(sums[0] / (sums[1] + sums[2] - sums[0])))
    restored = configuration.startswith("R")
    return CellRecord(
        key=f"{configuration}{seed}{rate}{params.get('restoration', '')}",
        params={"domain": "mosaics", "configuration": configuration,
                "codec": "jpeg" if lossy else "original", "rate_bpp": rate if lossy else "original",
                "restoration": "gan" if restored else "none",
                "restoration_split": "disjoint" if restored else "none",
                "data_seed": 0, "init_seed": seed, "num_steps": 5, **params},
        status="finished",
        metrics={"segmentation/miou": miou, **({"rate/train_bpp": rate + 0.01} if lossy else {})},
        segmented=tuple(found),
    )  # fmt: skip


def sweep(levels=LEVELS, seeds=3, **options):
    return [record(c, s, v, **options) for c, v in levels.items() for s in range(seeds)]


def iou(right):
    return right / (2 - right)


def differences(records):
    return {d.name: d for d in summarise(records).differences}


def test_planted_parts_are_found():
    found = differences(sweep())
    expected = {
        "lost information": iou(0.9) - iou(0.8),
        "covariate shift": iou(0.8) - iou(0.6),
        "whole drop": iou(0.9) - iou(0.6),
        "restoration gains": iou(0.75) - iou(0.6),
        "still left": iou(0.9) - iou(0.75),
        "mixing gains": iou(0.7) - iou(0.6),
    }
    for name, value in expected.items():
        d = found[name]
        assert d.value == pytest.approx(value, abs=0.02), name
        assert d.low < value < d.high
        assert (d.seeds, d.images) == (3, 12)
    share = (iou(0.75) - iou(0.6)) / (iou(0.9) - iou(0.6))
    assert found["share recovered"].value == pytest.approx(share, abs=0.05)
    assert found["share recovered"].low > 0


def test_parts_add_up():
    found = differences(sweep())
    parts = found["lost information"].value + found["covariate shift"].value
    assert parts == pytest.approx(found["whole drop"].value)


def test_a_share_of_no_drop_is_refused():
    found = differences(sweep({"OO": 0.7, "CO": 0.7, "RO": 0.72}))
    share = found["share recovered"]
    assert share.value is None
    assert "its 95 % interval" in share.refusal
    assert "includes zero" in share.refusal
    assert any(
        "share recovered refused" in line
        for line in summarise(sweep({"OO": 0.7, "CO": 0.7, "RO": 0.72})).sentences
    )


def test_one_seed_has_no_interval_and_no_share():
    found = differences(sweep(seeds=1))
    assert found["whole drop"].low is None
    assert found["share recovered"].value is None
    said = summarise(sweep(seeds=1)).sentences
    assert any("no interval, n = 1 seed" in line for line in said)


def test_pairing_by_image_narrows_the_interval():
    """Images differ much, configurations little: paired, the difference is still sure."""
    hard = {"OO": 0.8, "CO": 0.78}
    found = differences(sweep(hard, spread=0.001))
    drop = found["whole drop"]
    assert drop.low > 0
    assert drop.half_width < 0.01


def test_seeds_that_one_side_lacks_are_left_out():
    records = [
        r for r in sweep() if not (r.params["configuration"] == "OO" and r.params["init_seed"] == 2)
    ]
    assert differences(records)["whole drop"].seeds == 2
    assert differences(records)["covariate shift"].seeds == 3


def test_everything_is_written(tmp_path):
    records = [*sweep(), *(record(c, s, v, rate=0.8) for c, v in LEVELS.items() if c != "OO"
                           for s in range(3))]  # fmt: skip
    summary = summarise(records)
    paths = [*write_learning_tables(records, summary, tmp_path),
             *write_learning_figures(summary, tmp_path)]  # fmt: skip
    assert {p.name for p in paths} == {
        "cells.parquet", "images.parquet", "curves.parquet", "decomposition.parquet",
        "miou_mosaics.png",
    }  # fmt: skip
    assert all(p.stat().st_size > 0 for p in paths)
    assert learning_table(summary).row_count == 11
    text = summary_markdown(summary)
    assert "| mosaics | jpeg | 0.3 | 0.310 | CC |" in text


def test_failed_cells_are_in_no_mean():
    failed = record("CC", 7, 0.1).model_copy(update={"status": "failed"})
    with_failed = summarise([*sweep(), failed])
    assert with_failed.scores == summarise(sweep()).scores
