"""Tables: one row a cell, an image, a curve point; the same columns whatever the records hold."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interfero.analysis.records import (
    METRICS,
    PARAMS,
    PROVENANCE,
    cells_table,
    curves_table,
    images_table,
    read_cells,
    read_records,
    write_tables,
)
from interfero.errors import StorageError
from interfero.records import CellRecord, StepSetting, Timing

OUTCOME = ["adapter_file", "sample_file", "seconds", "started_at", "error", "reused_from"]
OUTCOME += ["stopped_at", "resumed_step", "fused_members"]
ENDING = [*OUTCOME, "timing", *PROVENANCE, "images"]


def test_columns_are_the_same_with_and_without_records(sweep, record, fail):
    full = sweep()
    for records in ([], [record()], [fail(record())], full):
        schema = cells_table(records).schema
        assert schema.names == ["key", "status", *PARAMS, *METRICS, *ENDING]
        assert schema == cells_table(full).schema
        assert images_table(records).schema == images_table(full).schema
        assert curves_table(records).schema == curves_table(full).schema


def test_a_cell_is_a_row_with_all_it_has(sweep):
    records = sweep()
    for row, record in zip(cells_table(records).to_pylist(), records, strict=True):
        assert {name: row[name] for name in record.params} == record.params
        assert {name: row[name] for name in METRICS if row[name] is not None} == record.metrics
        for name in ("key", "status", *OUTCOME):
            assert row[name] == getattr(record, name)
        # These records lack chroma: null in the table.
        images = [{n: v for n, v in image.items() if v is not None} for image in row["images"]]
        assert images == [image.model_dump() for image in record.images]


def test_what_a_failed_cell_lacks_is_null_and_never_zero(record, fail):
    row = cells_table([fail(record())]).to_pylist()[0]
    assert row["status"] == "failed"
    assert "step 17" in row["error"]
    assert [row[name] for name in METRICS] == [None] * len(METRICS)


def test_unknown_params_and_metrics_follow_the_known_by_name(record):
    records = [
        record(metrics={"z/late": 1.0, "a/early": 2.0}, strength=3, note="x", mixed=1),
        record(mixed="one"),
        record(mixed=2.5, share=0.5),
    ]
    table = cells_table(records)
    names = table.schema.names
    assert names[2 : 2 + len(PARAMS) + 4] == [*PARAMS, "mixed", "note", "share", "strength"]
    assert names[-len(ENDING) - 2 : -len(ENDING)] == ["a/early", "z/late"]
    assert table.schema.field("strength").type == pa.int64()
    assert table.schema.field("share").type == pa.float64()
    assert table["mixed"].to_pylist() == ["1", "one", "2.5"]


def test_whole_numbers_in_a_float_param_are_floats(record):
    table = cells_table([record(rd_lambda=1)])
    assert table.schema.field("rd_lambda").type == pa.float64()


def test_images_and_curve_points_are_rows_with_their_cell(sweep):
    records = sweep(domains=("text",), rates=(1e-3,))
    images, curves = images_table(records), curves_table(records)
    assert images.num_rows == sum(len(r.images) for r in records) == 6 * len(records)
    assert curves.num_rows == sum(len(r.curve) for r in records) == 2 * len(records)
    assert set(images["key"].to_pylist()) == {r.key for r in records}
    first = images.to_pylist()[0]
    image = records[0].images[0].model_dump()
    assert {name: first[name] for name in image} == image
    assert curves["step"].to_pylist()[:2] == [100, 300]
    assert curves.to_pylist()[0]["train/mse_255"] == 80.0


def test_written_tables_come_back(sweep, fail, tmp_path):
    records = sweep(domains=("text",))
    records[0] = fail(records[0])
    paths = write_tables(records, tmp_path / "new")
    assert [p.name for p in paths] == ["cells.parquet", "images.parquet", "curves.parquet"]
    assert read_cells(paths[0]).equals(cells_table(records))
    assert pq.read_table(paths[1]).equals(images_table(records))
    assert pq.read_table(paths[2]).equals(curves_table(records))


def test_no_records_come_back_as_no_rows(tmp_path):
    table = read_cells(write_tables([], tmp_path)[0])
    assert table.num_rows == 0
    assert table.schema == cells_table([]).schema


@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_a_truncated_file_is_named(sweep, tmp_path, kept):
    path = write_tables(sweep(domains=("text",)), tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(StorageError, match=r"cells\.parquet is not a whole Parquet file"):
        read_cells(path)


def test_a_missing_file_and_another_table_are_named(sweep, tmp_path):
    with pytest.raises(StorageError, match="absent"):
        read_cells(tmp_path / "absent.parquet")
    images = write_tables(sweep(domains=("text",)), tmp_path)[1]
    with pytest.raises(StorageError, match=r"holds no cells: it has no column 'status'"):
        read_cells(images)


def with_all_there_is(records):
    """Every field that a record may have besides a training curve: a new one has to come back, too."""
    setting = StepSetting(
        machine="m", codec="c", device="cpu", precision="float32", threads=1, batch_size=8,
        crop_size=128,
    )  # fmt: skip
    timing = Timing(
        setting=setting, method="finetune", adapter_size=0, num_steps=9, step_seconds=0.5,
        pack_step_seconds=0.25,
    )  # fmt: skip
    given = {
        "adapter_file": "a", "sample_file": "s", "error": "e", "reused_from": "old", "seconds": 3.0,
        "started_at": 7.0, "stopped_at": 5, "resumed_step": 4, "fused_members": 3, "timing": timing,
        "provenance": {name: f"{name} of the cell" for name in PROVENANCE},
    }  # fmt: skip
    # `segmented` is what segmentation cells have: their table is another (test_restoration.py).
    known = {"key", "params", "status", "metrics", "images", "curve", "segmented", *given}
    assert known == set(CellRecord.model_fields)
    return [r.model_copy(update=given) for r in records]


def test_records_come_back_whole_but_for_the_training_curves(sweep, fail, tmp_path):
    records = with_all_there_is(sweep(domains=("text",)))
    records[0] = fail(records[0])
    path = write_tables(records, tmp_path)[0]
    path.with_name("images.parquet").unlink()
    expected = [r.model_copy(update={"curve": ()}) for r in records]
    assert read_records(path) == expected
    assert read_records(tmp_path) == expected


def test_an_older_export_takes_its_images_from_the_table_beside(sweep, tmp_path):
    records = sweep(domains=("text",), rates=(1e-3,))
    path = write_tables(records, tmp_path)[0]
    pq.write_table(pq.read_table(path).drop_columns(["images", *PROVENANCE]), path)
    assert read_records(path) == [r.model_copy(update={"curve": ()}) for r in records]
    path.with_name("images.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"images\.parquet is no whole table of images"):
        read_records(path)
    path.with_name("images.parquet").unlink()
    assert [r.images for r in read_records(path)] == [()] * len(records)


def test_what_no_sweep_writes_is_refused_with_the_cell(sweep, tmp_path):
    path = write_tables(sweep(domains=("text",), rates=(1e-3,)), tmp_path)[0]
    table = pq.read_table(path)
    first = table["key"][0].as_py()

    def spoil(name, value):
        values = [value, *table[name].to_pylist()[1:]]
        index = table.column_names.index(name)
        pq.write_table(table.set_column(index, name, pa.array(values)), path)

    spoil("status", "perhaps")
    with pytest.raises(StorageError, match=f"cell '{first}' holds what no sweep writes"):
        read_records(path)
    spoil("target/bpp", float("nan"))
    with pytest.raises(StorageError, match=r"'target/bpp' of cell .* is not finite"):
        read_records(path)
    spoil("key", table["key"][1].as_py())
    with pytest.raises(StorageError, match="holds 1 cells twice"):
        read_records(path)
    pq.write_table(table.set_column(2, "codec", pa.array([b"\xff"] * table.num_rows)), path)
    with pytest.raises(StorageError, match="column 'codec' is no string"):
        read_records(path)
