"""Which training budget averages and sentences are about."""

from interfero.analysis.focus import longest


def steps_of(records):
    return {r.params["num_steps"] for r in longest(records)}


def test_of_a_star_it_is_the_centres_budget(record):
    """250 steps have four sizes and three lambdas, 60 and 1,000 the centre alone."""
    centre = [record(num_steps=n, adapter_size=4) for n in (60, 250, 1000)]
    sizes = [record(num_steps=250, adapter_size=n) for n in (1, 2, 8)]
    rates = [record(num_steps=250, adapter_size=4, rd_lambda=v) for v in (0.0016, 0.045)]
    assert steps_of([*centre, *sizes, *rates]) == {250}


def test_of_a_grid_it_is_the_longest_though_a_setting_of_it_failed(record, fail):
    grid = [record(num_steps=n, adapter_size=s) for n in (60, 1000) for s in (1, 2, 4, 8, 16)]
    assert steps_of(grid) == {1000}
    assert steps_of([*grid[:-1], fail(grid[-1])]) == {1000}
