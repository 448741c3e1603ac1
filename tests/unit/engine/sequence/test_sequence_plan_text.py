"""What is printed of a plan before anything is trained."""

import io
import re

import pytest
from rich.console import Console

from interfero.engine.sequence.plan_text import print_sequence_plan

from .conftest import Local


def text_of(plan, done, storage):
    sink = io.StringIO()
    print_sequence_plan(
        Console(file=sink, width=200), "domain-sequence", "What?", plan, done, storage
    )
    return sink.getvalue()


@pytest.fixture(scope="module")
def few(plan):
    return plan(
        orders=("given",), length=2, num_steps=1, dry_run=True, methods=("finetune", "merge_mean")
    )


def test_a_dry_run_prints_orders_nodes_rows_and_what_is_known_of_their_cost(few, tmp_path):
    shown = text_of(few, frozenset(), tmp_path)
    for said in (
        "other (source): ",
        "1 orders: pages > clouds",
        "5 rows, 1 steps a stage in float32; illustration, n = 1 seed",
        "nodes to do: 5 archive, 3 stage, 2 merged; 0 of 10 are there already",
        "cost: uncalibrated",
    ):
        assert said in shown
    for row in few.rows:
        assert f"{row.key} method={row.method}" in shown


@pytest.mark.parametrize(
    ("num_images", "buffers", "said"),
    [
        # 6 images of the source are outside validation; of each of two domains before the last one 1, or 6.
        ("1", ("reservoir", "balanced"), "before the last stage 75% of them are of other;"),
        ("all", ("reservoir",), ""),
        ("1", ("balanced",), ""),
    ],
)
def test_a_reservoir_of_source_images_is_named(plan, tmp_path, num_images, buffers, said):
    made = plan(methods=("finetune", "replay"), num_images=(num_images,), buffers=buffers,
                num_steps=1, dry_run=True)  # fmt: skip
    shown = text_of(made, frozenset(), tmp_path)
    assert said in shown
    assert ("a reservoir keeps" in shown) == bool(said)


def test_what_a_storage_has_timed_is_the_cost_of_another_plan(few, plan, tmp_path):
    local = Local(tmp_path)
    records = local.run(few)
    done = frozenset(records)
    shown = text_of(few, done, tmp_path)
    assert "nodes to do: none; 10 of 10 are there already" in shown
    assert "5 of 5 rows are reused" in shown
    assert "nothing is left to do" in shown
    other = plan(orders=("clouds>notes",), num_steps=1, dry_run=True, list_cells=False)
    shown = text_of(other, frozenset(), tmp_path)
    assert re.search(r"cost, from [^:]*: \S+ CPU hours, 0 GPU hours", shown)
    assert "uncalibrated" not in shown
    assert "--list-cells prints each row" in shown
