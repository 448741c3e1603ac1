import pytest

from interfero.analysis.best import best_adapters, best_keys, write_best
from interfero.engine.cells import CellRecord


def cell(key, gain, lost, method="cawf", domain="text", rd_lambda=0.01, **given):
    params = {"domain": domain, "rd_lambda": rd_lambda, "method": method, "adapter_size": 4}
    metrics = {"val/rd_gain_percent": gain, "val/forgetting_percent": lost}
    return CellRecord(key=key, params=params, metrics=metrics, **{"status": "finished", **given})


def test_the_one_that_gains_most_without_forgetting():
    cells = [
        cell("a", 9.0, 30.0, "finetune"), cell("b", 4.0, 0.0), cell("c", 6.0, 0.0, "lora"),
        cell("d", 99.0, 0.0, "continue_source"),
        cell("e", 50.0, 0.0, status="failed", error="nan"),
    ]  # fmt: skip
    (best,) = best_adapters(cells)
    assert (best.record.key, best.forgets) == ("c", False)
    (best,) = best_adapters(cells, max_forgetting=30)
    assert (best.record.key, best.forgets) == ("a", False)


def test_where_every_cell_forgets_it_says_so():
    (best,) = best_adapters([cell("a", 9.0, 30.0, "finetune"), cell("b", 8.0, 0.1, "replay")])
    assert (best.record.key, best.forgets) == ("a", True)


def test_each_domain_and_lambda_has_its_own():
    cells = [cell(f"{d}{v}", 1.0, 0.0, domain=d, rd_lambda=v) for d in "xy" for v in (0.1, 0.2)]
    assert [b.record.key for b in best_adapters(cells)] == ["x0.1", "x0.2", "y0.1", "y0.2"]


def test_the_file_names_the_cells(tmp_path):
    assert best_keys(tmp_path) == set()
    (path,) = write_best(best_adapters([cell("a", 1.0, 0.0)]), tmp_path)
    assert best_keys(tmp_path) == {"a"}
    path.write_text("[1]")
    assert best_keys(tmp_path) == set()


@pytest.mark.parametrize("missing", ["val/rd_gain_percent", "val/forgetting_percent"])
def test_cells_without_validation_are_left_out(missing):
    whole = cell("a", 1.0, 0.0)
    metrics = {k: v for k, v in whole.metrics.items() if k != missing}
    assert best_adapters([whole.model_copy(update={"metrics": metrics})]) == []
