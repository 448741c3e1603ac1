"""What `--dry-run` of a restoration sweep prints."""

import io

from rich.console import Console

from interfero.engine.restoration.plan_text import print_plan
from interfero.store.products import Products

from .conftest import plan_of


def shown(plan, storage, done=frozenset()):
    text = io.StringIO()
    print_plan(
        Console(file=text, width=100), "covariate-shift", "Why?", plan, done, Products(storage)
    )
    return text.getvalue()


def test_a_dry_run_prints_every_cell_and_a_cost(tmp_path):
    plan = plan_of(dry_run=True, init_seeds=tuple(range(20)))
    assert len(plan.cells) == 80
    text = shown(plan, tmp_path, {plan.cells[0].key})
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert all(cell.key in lines for cell in plan.cells)
    assert "configuration=OO codec=original rate_bpp=original" in lines[plan.cells[0].key]
    assert [key for key, line in lines.items() if "(reused)" in line] == [plan.cells[0].key]
    assert "cost: uncalibrated" in text


def test_cells_are_left_out_where_that_is_asked_for(tmp_path):
    plan = plan_of(dry_run=True, list_cells=False)
    text = shown(plan, tmp_path)
    assert not any(cell.key in text for cell in plan.cells)
    assert "--list-cells prints each cell with its key" in text
    assert "4 cells" in text


def test_a_sweep_that_runs_prints_no_cells(tmp_path):
    plan = plan_of()
    text = shown(plan, tmp_path)
    assert not any(cell.key in text for cell in plan.cells)
    assert "list-cells" not in text
