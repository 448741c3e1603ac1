"""Records are compact in memory, and to every reader and on disk what they were."""

import copy
import gc
import json
import pickle
import tracemalloc

import pytest
from pydantic import ValidationError

from interfero.records import CellRecord, ImageRow

NUMBERS = ("bpp_before", "psnr_db_before", "rd_loss_before", "bpp", "psnr_db", "rd_loss")


def written(key="0f", num_images=20, num_points=100):
    """A record as a file holds it, its fields in the order of the classes."""
    images = [
        {"role": role, "name": f"ihc.c1r{i}", "group": "ihc"}
        | {name: (i + 1) / (j + 7) for j, name in enumerate(NUMBERS)}
        for i in range(num_images)
        for role in ("target",)
    ]
    curve = [
        [step, {"train/loss": 1 / (step + 2), "train/bpp": step / 3}] for step in range(num_points)
    ]
    if curve:
        curve[-1][1]["val/rd_gain_percent"] = -0.0
    whole = CellRecord(
        key=key,
        params={"domain": "histology", "num_images": 6, "learning_rate": 1e-4},
        status="finished",
        metrics={"target/bpp": 0.1 + 0.2},
        provenance={"loop": "batch_size 4, clip_norm 1.0, crop_size 128, precision bfloat16 " * 2},
    ).model_dump(mode="json")
    return whole | {"images": images, "curve": curve}


@pytest.mark.parametrize(
    "parse", [CellRecord.model_validate_json, lambda t: CellRecord(**json.loads(t))]
)
def test_json_comes_back_byte_for_byte(parse):
    text = json.dumps(written(), separators=(",", ":"))
    record = parse(text)
    assert record.model_dump_json() == text
    assert json.dumps(record.model_dump(mode="json"), separators=(",", ":")) == text
    assert CellRecord.model_validate_json(record.model_dump_json()) == record


def test_rows_and_points_read_like_the_tuples_they_were():
    given = written(num_images=3, num_points=3)
    record = CellRecord(**given)
    rows = tuple(ImageRow(**row) for row in given["images"])
    points = tuple((step, values) for step, values in given["curve"])
    assert record.images == rows
    assert rows == record.images
    assert hash(record.images) == hash(rows)
    assert (record.images[-1], record.images[1:]) == (rows[2], rows[1:])
    assert [*record.curve] == [*points]
    assert record.curve[2] == points[2]
    assert record.curve != points[:2]
    assert record.model_dump()["images"] == tuple(row.model_dump() for row in rows)
    assert record.model_dump()["curve"] == points
    with pytest.raises(IndexError):
        _ = record.images[3]
    assert CellRecord(key="1", params={}, status="finished", images=rows).images == rows
    assert CellRecord(key="1", params={}, status="failed", images=[]).images == ()


def test_copies_are_equal_and_keep_their_rows():
    record = CellRecord(**written())
    renamed = record.model_copy(update={"reused_from": "earlier"})
    assert renamed.images is record.images
    assert renamed != record
    for other in (
        CellRecord(**record.model_dump()),
        CellRecord(**dict(record)),
        CellRecord.model_validate(record.model_dump(mode="json")),
        record.model_copy(deep=True),
        copy.deepcopy(record),
        pickle.loads(pickle.dumps(record)),
    ):
        assert other == record
        assert other.images == record.images
        assert other.curve == record.curve


@pytest.mark.parametrize(
    ("field", "where", "value"),
    [
        ("images", ("extra",), 1.0),
        ("images", ("role",), "elsewhere"),
        ("images", ("bpp",), "many"),
        ("images", ("bpp",), None),
        ("curve", (1, "train/loss"), "many"),
    ],
)
def test_what_is_no_row_or_point_is_refused(field, where, value):
    given = written()
    place = given[field][4]
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(ValidationError, match=rf"{field}\.4\."):
        CellRecord(**given)
    with pytest.raises(ValidationError, match=rf"{field}\.4\."):
        CellRecord.model_validate_json(json.dumps(given))


def test_a_missing_number_and_a_metric_that_is_not_finite_are_refused():
    given = written()
    with pytest.raises(ValidationError, match="not finite"):
        CellRecord(**given | {"metrics": {"target/bpp": float("nan")}})
    del given["images"][0]["bpp"]
    with pytest.raises(ValidationError, match="Field required"):
        CellRecord(**given)


def test_a_record_takes_few_bytes():
    """Twenty images and a hundred points: as objects they took 88 KiB."""
    texts = [json.dumps(written(key=str(i))) for i in range(20)]
    CellRecord(**json.loads(texts[0]))
    gc.collect()
    tracemalloc.start()
    try:
        kept = [CellRecord(**json.loads(text)) for text in texts]
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()
    assert size < 16 * 1024
