"""What is computed from the cells of a sweep is computed once, and no caller changes another's."""

from interfero.analysis.answers import Findings
from interfero.analysis.cells import Cells, image_arrays, once_for_cells
from interfero.analysis.choices import choose_learning_rates
from interfero.records import NUMBERS


def test_once_for_the_same_cells_and_arguments(record):
    calls = []

    @once_for_cells
    def keys(records, suffix):
        calls.append(suffix)
        return [r.key + suffix for r in records]

    cells = Cells([record()])
    keys(cells, "a").clear()
    assert keys(cells, "a") == [cells[0].key + "a"]
    assert keys(cells, "b") == [cells[0].key + "b"]
    assert calls == ["a", "b"]
    assert keys(list(cells), "a") == keys(Cells(cells), "a") == keys(cells, "a")
    assert calls == ["a", "b", "a"], "cells made of cells know the same"


def test_the_cells_of_findings_share_their_choices(record):
    records = [
        record(learning_rate=rate, metrics={"val/rd_gain_percent": rate}) for rate in (1e-4, 1e-3)
    ]
    cells = Findings(records).records
    first, second = choose_learning_rates(cells), choose_learning_rates(cells)
    assert first[0] is second[0]
    assert first == choose_learning_rates(records)


def test_image_arrays_are_the_rows_of_a_cell(sweep):
    (record, *_) = sweep(domains=("text",))
    words, numbers = image_arrays(record)
    assert words == tuple((row.role, row.name, row.group) for row in record.images)
    for row, values in zip(record.images, numbers, strict=True):
        known = {name: v for name, v in zip(NUMBERS, values, strict=True) if v == v}
        assert known == row.model_dump(exclude={"role", "name", "group"})
    assert len(image_arrays(record.model_copy(update={"images": ()}))[1]) == 0
