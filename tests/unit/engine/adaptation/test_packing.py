"""Which cells train together."""

import pytest

from interfero.engine.adaptation.cost import makespan
from interfero.engine.adaptation.packing import make_packs

LIMITS = {"finetune": 8, "cawf": 8}


def by_members(shared):
    """Seconds of a pack: one a member, and what it shares."""
    return lambda pack: shared + len(pack.nodes)


def grid(cell, rates, blocks=1, methods=("finetune",)):
    return [
        cell(method=method, num_images=n + 1, learning_rate=rate / 1000)
        for n in range(blocks)
        for method in methods
        for rate in range(1, rates + 1)
    ]


def sizes(packs):
    return [len(pack.nodes) for pack in packs]


def keys(packs):
    return sorted(c.key for pack in packs for c in pack.nodes)


def test_packs_hold_cells_of_one_block_and_method_in_order(cell):
    cells = [
        cell(method=method, num_images=n, learning_rate=rate)
        for method in ("finetune", "cawf")
        for rate in (1e-4, 1e-3, 1e-2)
        for n in (4, 8)
    ]
    packs = make_packs(cells, {"finetune": 2, "cawf": 2}, None, by_members(0.0))
    assert sorted(sizes(packs)) == 4 * [1] + 4 * [2]
    assert keys(packs) == sorted(c.key for c in cells)
    for pack in packs:
        assert len({(c.block, c.hyperparameters.method) for c in pack.nodes}) == 1
        rates = [c.hyperparameters.learning_rate for c in pack.nodes]
        assert rates == sorted(rates)


def test_packs_never_mix_loops_or_codecs(cell):
    cells = [cell(), cell(num_steps=11), cell(codec_hash="x"), cell(learning_rate=1e-2)]
    assert sorted(sizes(make_packs(cells, LIMITS, None, by_members(0.0)))) == [1, 1, 2]


def test_what_does_not_fit_one_pack_is_shared_evenly(cell):
    assert sizes(make_packs(grid(cell, 9), LIMITS, None, by_members(0.0))) == [5, 4]


def test_each_method_has_its_own_limit(cell):
    packs = make_packs(
        grid(cell, 4, methods=("finetune", "cawf")), {"finetune": 1, "cawf": 8}, 1, by_members(1.0)
    )
    assert sizes(packs) == [4, 1, 1, 1, 1]
    assert packs[0].nodes[0].hyperparameters.method == "cawf"


@pytest.mark.parametrize(
    ("rates", "blocks", "at_once", "expected"),
    [
        # One pack would leave the second worker idle.
        (8, 1, 2, [4, 4]),
        (8, 1, 4, [2, 2, 2, 2]),
        (8, 2, 2, [8, 8]),
        # Three equal packs on two workers: one of them is halved.
        (8, 3, 2, [8, 8, 4, 4]),
        (1, 3, 4, [1, 1, 1]),
        (8, 1, 1, [8]),
    ],
)
def test_packs_are_split_until_no_worker_waits(cell, rates, blocks, at_once, expected):
    cells = grid(cell, rates, blocks)
    packs = make_packs(cells, LIMITS, at_once, by_members(0.0))
    assert sizes(packs) == expected
    assert keys(packs) == sorted(c.key for c in cells)


def test_packs_stay_whole_where_a_split_costs_more_than_it_gains(cell):
    assert sizes(make_packs(grid(cell, 2), LIMITS, 2, by_members(0.1))) == [1, 1]
    assert sizes(make_packs(grid(cell, 2), LIMITS, 2, by_members(1e6))) == [2]


def test_splitting_never_makes_the_end_later(cell):
    cells = grid(cell, 7, blocks=3) + grid(cell, 5, methods=("cawf",))
    for at_once in (2, 3, 5, 8):
        for shared in (0.0, 0.5, 3.0):
            seconds = by_members(shared)
            whole = make_packs(cells, LIMITS, None, seconds)
            spread = make_packs(cells, LIMITS, at_once, seconds)
            ends = [makespan([seconds(p) for p in packs], at_once) for packs in (whole, spread)]
            assert ends[1] <= ends[0]


def test_the_longest_pack_starts_first(cell):
    packs = make_packs(
        grid(cell, 3, methods=("finetune", "cawf")), LIMITS, None,
        lambda pack: 9.0 if pack.nodes[0].hyperparameters.method == "cawf" else 1.0,
    )  # fmt: skip
    assert [p.nodes[0].hyperparameters.method for p in packs] == ["cawf", "finetune"]
