"""What a record says of its test images is what a bootstrap needs: the picture, not the block of it."""

from dataclasses import replace

from interfero.engine.worker import LocalWorker
from trainables.adaptation import run_pack


def test_rows_name_the_picture_of_a_block(bench, cell, tmp_path):
    blocks = tuple(replace(s, group=s.name, source_image="one") for s in bench.target.test)
    bench.target = replace(bench.target, test=blocks)
    # Its test images alone: the source domain's are pictures of their own.
    (record,) = run_pack(
        [cell("finetune", num_steps=1, max_target_images=2)], bench, LocalWorker(tmp_path)
    )
    assert record.status == "finished", record.error
    rows = {row.role: row for row in record.images}
    assert [row.group for row in record.images if row.role == "target"] == ["one", "one"]
    assert {rows["source"].group, rows["source_unrouted"].group} == {bench.source.test[0].group}
    # What is off the grey axis is part of the error, and the loss holds all of it.
    for row in record.images:
        mse = (row.rd_loss - row.bpp) / record.params["rd_lambda"]
        assert 0 < row.chroma_mse < mse
        assert row.chroma_mse_before > 0
        assert row.chroma_power > 0
