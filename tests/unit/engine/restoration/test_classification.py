"""The second task through the same graph: digits compressed, restored, classified and compared."""

import pytest

from interfero.analysis.restoration.losses import summarise, summary_markdown

from .conftest import Local, plan_of

EVERYTHING = ("OO", "CC", "CO", "OC", "RO", "RR", "MO")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    plan = plan_of(
        domains=("digits",), configurations=EVERYTHING, rates=(3.0,), restorations=("regression",),
        max_images=6, validations=1, init_seeds=(0, 1),
    )  # fmt: skip
    records = Local(tmp_path_factory.mktemp("digits")).run(plan)
    return plan, [records[cell.key] for cell in plan.cells]


def test_all_configurations_are_scored_by_accuracy(done):
    _, records = done
    assert {r.params["configuration"] for r in records} == set(EVERYTHING)
    for record in records:
        assert record.params["task"] == "classification"
        assert "segmentation/miou" not in record.metrics
        hits = sum(sum(image.hits) for image in record.segmented)
        assert record.metrics["classification/accuracy"] == pytest.approx(hits / 6)
        assert all(sum(image.labelled) == 1 for image in record.segmented)
        assert 0 <= record.metrics["val/score"] <= 1


def test_the_parts_of_the_drop_are_those_of_accuracy(done):
    _, records = done
    summary = summarise(records)
    assert summary.title == "accuracy"
    score = {s.line.configuration: s.mean for s in summary.scores}
    found = {d.name: d.value for d in summary.differences if d.name != "share recovered"}
    assert found["lost information"] == pytest.approx(score["OO"] - score["CC"])
    assert found["covariate shift"] == pytest.approx(score["CC"] - score["CO"])
    assert found["mixing gains"] == pytest.approx(score["MO"] - score["CO"])
    assert "| accuracy |" in summary_markdown(summary)


def test_tasks_of_one_sweep_share_no_model():
    plan = plan_of(domains=("digits", "mosaics"), configurations=("OO",), max_images=6)
    by_task = {cell.params["task"]: cell.segmenter.key for cell in plan.cells}
    assert set(by_task) == {"classification", "segmentation"}
