"""The price of a cell and step: the design is a tenth of the map's, and bad input is refused."""

import pytest

from benchmarks.map_price import (
    DATA,
    DESIGN,
    NUM_CELLS,
    STEPS,
    Price,
    domains,
    measure,
    num_finished,
)
from interfero.engine.options.parsing import parse_options
from interfero.errors import ConfigError
from interfero.store.files import write_json
from sweeps.adapter_capacity import SWEEP

NAMES = ("natural", "screen", "histology", "astronomy")


@pytest.fixture
def data(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
    return tmp_path


def test_the_design_is_a_tenth_of_the_maps_cells(data):
    options = parse_options(SWEEP.options, [*domains(data), *DESIGN], "").settled()
    axes = (
        options.domains,
        options.methods,
        options.learning_rates,
        options.num_images,
        options.data_seeds,
    )
    cells = 1
    for axis in axes:
        cells *= len(axis)
    assert cells == NUM_CELLS == 72
    assert options.budgets == (STEPS,)
    assert 0.09 < cells / 756 < 0.1


def test_a_folder_without_the_domains_is_refused_by_name(data, monkeypatch):
    (data / "screen").rmdir()
    monkeypatch.setenv(DATA, str(data))
    with pytest.raises(ConfigError, match=f"{DATA}: {data} has no screen"):
        measure(data, 1)


def test_only_finished_cells_are_paid_for(tmp_path):
    (tmp_path / "cells").mkdir()
    for index, status in enumerate(("finished", "failed", "finished")):
        write_json(tmp_path / "cells" / f"{index}.json", {"status": status})
    assert num_finished(tmp_path) == 2
    assert Price(cells=2, cpu_s=12.0, wall_s=7.0).of_a_step == 1000 * 12 / (2 * STEPS)
