"""Which learning rates go on to more steps, from records alone."""

import itertools
import math

import pytest

from interfero.engine.adaptation.halving import Halving, outlook

RATES = (1e-4, 4e-4, 2e-3, 5e-3)
BUDGETS = (10, 40, 160)


@pytest.fixture
def grid(cell):
    """Cells by rate and number of steps."""

    def build(rates=RATES, budgets=BUDGETS, **changes):
        return {
            (rate, steps): cell(learning_rate=rate, num_steps=steps, schedule="wsd", **changes)
            for rate, steps in itertools.product(rates, budgets)
        }

    return build


class Sweep:
    """A driver that keeps records and asks what follows."""

    def __init__(self, cells, record, kept=(), **options):
        self.cells = {c.key: c for c in cells}
        self.kept = dict(kept)
        self.stopped, self.trained, self.added, self.recalled, self._record = {}, [], [], [], record
        self.halving = Halving(cells, self.kept.get, **options)
        self.open = self._take(self.halving.begin(k for k in self.cells if not self._done(k)))

    def _done(self, key):
        return key in self.kept and self.kept[key].status == "finished"

    def _take(self, found):
        self.stopped |= {r.key: r for r in found.records if r.status == "stopped"}
        self.recalled += [r for r in found.records if r.status != "stopped"]
        self.added += found.added
        self.trained += found.cells
        return list(found.cells)

    def end(self, gain_of):
        """All open cells end; returns the rates and steps of those that follow."""
        following = []
        for cell in self.open:
            gain = gain_of(cell)
            given = {"metrics": {"val/rd_gain_percent": gain}} if gain is not None else {}
            status = "failed" if gain is None else "finished"
            record = self._record(cell, status=status, **given)
            self.kept[cell.key] = record
            following += self._take(self.halving.tell(record))
        self.open = following
        return rates(following)


def rates(cells):
    return sorted((c.hyperparameters.learning_rate, c.loop.num_steps) for c in cells)


def small_is_good(cell):
    return -cell.hyperparameters.learning_rate


def test_the_best_and_the_next_larger_rate_go_on(grid, record):
    sweep = Sweep(grid().values(), record)
    assert rates(sweep.open) == [(rate, 10) for rate in RATES]
    assert sweep.halving.num_waiting == 8
    # 4e-4 is best, and 2e-3 the worst of all: with more steps it may catch up, smaller rates do not.
    gains = dict(zip(RATES, (3.0, 4.0, -9.0, 2.0), strict=True))
    assert sweep.end(lambda c: gains[c.hyperparameters.learning_rate]) == [(4e-4, 40), (2e-3, 40)]
    assert sweep.halving.num_waiting == 2
    # It has caught up, and nothing larger is left.
    assert sweep.end(lambda c: c.hyperparameters.learning_rate) == [(2e-3, 160)]
    assert sweep.end(small_is_good) == []
    assert sweep.halving.num_waiting == 0


def test_what_does_not_go_on_is_a_record_that_says_where_and_with_which_gain(grid, record):
    cells = grid()
    sweep = Sweep(cells.values(), record)
    sweep.end(small_is_good)
    assert sweep.stopped.keys() == {
        cells[rate, steps].key for rate in (2e-3, 5e-3) for steps in (40, 160)
    }
    stopped = sweep.stopped[cells[5e-3, 160].key]
    assert (stopped.status, stopped.stopped_at) == ("stopped", 10)
    assert stopped.metrics == {"val/rd_gain_percent": -5e-3}
    assert stopped.params["num_steps"] == 160


def test_nothing_is_decided_before_all_of_a_setting_have_ended(grid, record):
    sweep = Sweep(grid().values(), record)
    *first, last = sweep.open
    for cell in first:
        found = sweep.halving.tell(record(cell, metrics={"val/rd_gain_percent": 1.0}))
        assert found == ([], [], [])
    found = sweep.halving.tell(record(last, metrics={"val/rd_gain_percent": 2.0}))
    # The largest is best: nothing goes on with it.
    assert rates(found.cells) == [(last.hyperparameters.learning_rate, 40)]


def test_a_tie_goes_to_the_smaller_rate(grid, record):
    assert Sweep(grid().values(), record).end(lambda c: 1.0) == [(1e-4, 40), (4e-4, 40)]


def test_failed_cells_go_on_nowhere(grid, record):
    sweep = Sweep(grid().values(), record)
    diverging = {2e-3, 4e-4, 5e-3}
    gain = lambda c: None if c.hyperparameters.learning_rate in diverging else 1.0  # noqa: E731
    assert sweep.end(gain) == [(1e-4, 40)]
    assert sweep.stopped[grid()[5e-3, 40].key].metrics == {}
    assert sweep.end(lambda c: None) == []
    assert len(sweep.kept) + len(sweep.stopped) == len(grid())


def test_settings_compete_each_in_itself(grid, record):
    cells = [
        *grid(method="l2_sp", strength=1.0).values(),
        *grid(method="l2_sp", strength=100.0).values(),
        *grid(method="lora", adapter_size=4).values(),
        *grid(num_images=3).values(),
    ]
    sweep = Sweep(cells, record)
    # The stronger penalty gains less at every rate, and still goes on.
    assert len(sweep.end(lambda c: -c.hyperparameters.strength)) == 4 * 2


def test_rates_of_a_method_that_never_sees_the_target_all_go_on(grid, record):
    sweep = Sweep(grid(method="continue_source").values(), record)
    assert rates(sweep.open) == sorted(itertools.product(RATES, BUDGETS))
    assert sweep.halving.num_waiting == 0
    assert sweep.end(small_is_good) == []
    assert sweep.stopped == {}


@pytest.mark.parametrize("ended", range(9))
def test_a_driver_that_died_decides_again_as_it_did(grid, record, ended):
    cells = list(grid().values())
    whole = Sweep(cells, record)
    while whole.open:
        whole.end(small_is_good)
    # Of the eight cells that were trained, the first few have ended.
    kept = dict(list(whole.kept.items())[:ended])
    resumed = Sweep(cells, record, kept)
    while resumed.open:
        resumed.end(small_is_good)
    assert resumed.kept.keys() == whole.kept.keys()
    assert resumed.stopped == whole.stopped


def test_the_outlook_counts_from_what_has_ended(grid, record):
    cells = list(grid(rates=RATES[:3]).values())
    sweep = Sweep(cells, record)
    seen = []
    while True:
        done = {key for key in sweep.kept if sweep.kept[key].status == "finished"}
        found = outlook(cells, {c.key for c in cells} - done, sweep.kept.get)
        seen.append((len(found.expected), len(found.possible)))
        if not sweep.open:
            break
        sweep.end(small_is_good)
    # Seven of nine train; where the smallest is best, the two that it leaves behind are stopped.
    assert seen == [(7, 9), (4, 4), (2, 2), (0, 0)]


def test_a_setting_whose_best_is_unknown_lets_two_go_on(grid, record):
    cells = grid()
    first = cells[RATES[0], 10]
    known = {first.key: record(first)}
    found = outlook(list(cells.values()), {c.key for c in cells.values()} - known.keys(), known.get)
    assert rates(found.expected) == sorted(
        [(rate, 10) for rate in RATES[1:]] + [(rate, n) for rate in RATES[:2] for n in (40, 160)]
    )
    assert len(found.possible) == len(cells) - 1


def test_a_failed_cell_is_tried_again_before_its_setting_goes_on(grid, record):
    cells = grid()
    failed = record(cells[1e-4, 10], status="failed", metrics={}, error="out of memory")
    others = {
        cells[rate, 10].key: record(cells[rate, 10], metrics={"val/rd_gain_percent": -rate})
        for rate in RATES[1:]
    }
    resumed = Sweep(cells.values(), record, {failed.key: failed, **others})
    assert rates(resumed.open) == [(1e-4, 10)]
    assert resumed.end(small_is_good) == [(1e-4, 40), (4e-4, 40)]


def peak(best):
    """Gains that fall on both sides of a learning rate."""
    return lambda cell: -abs(math.log(cell.hyperparameters.learning_rate / best))


def tried(sweep):
    """Learning rates that were trained for the smallest number of steps, in order."""
    return [
        c.hyperparameters.learning_rate for c in sweep.trained if c.loop.num_steps == BUDGETS[0]
    ]


@pytest.mark.parametrize(
    ("best", "own", "added"),
    [
        (3e-4, (1e-4, 3e-4, 1e-3), []),
        (1e-3, (1e-4, 3e-4, 1e-3), [3e-3]),
        (3e-3, (1e-4, 3e-4, 1e-3), [3e-3, 1e-2]),
        (1e-4, (1e-4, 3e-4, 1e-3), [3e-5]),
        (1e-5, (1e-4, 3e-4, 1e-3), [3e-5, 1e-5, 3e-6]),
        # Three are the most.
        (1.0, (1e-4, 3e-4, 1e-3), [3e-3, 1e-2, 3e-2]),
        # From between the rungs of the ladder to its next one.
        (3e-3, (2e-4, 2e-3), [3e-3, 1e-2]),
        # One alone says nothing of where it lies.
        (1e-3, (1e-3,), [3e-3, 3e-4]),
        (1e-2, (1e-2, 3e-2, 1e-1), [3e-3]),
        (1e-1, (1e-2, 3e-2, 1e-1), [0.3]),
        # No step as large as a parameter.
        (0.5, (1e-2, 3e-2, 3e-1), []),
    ],
)
def test_a_grid_is_widened_until_the_best_lies_inside(grid, record, best, own, added):
    sweep = Sweep(grid(rates=own, budgets=BUDGETS[:1]).values(), record, widen=True)
    while sweep.open:
        sweep.end(peak(best))
    assert tried(sweep) == [*own, *added]
    assert sweep.halving.max_added == 0
    assert sweep.stopped == {}


def test_where_every_training_failed_nothing_is_added(grid, record):
    """A reference that could not be made fails every rate, and would fail the next one."""
    sweep = Sweep(grid(rates=(1e-3, 1e-2)).values(), record, widen=True)
    assert sweep.end(lambda c: None) == []
    assert (sweep.added, sweep.halving.max_added) == ([], 0)


def test_where_one_training_alone_came_through_a_lower_rate_is_tried(grid, record):
    sweep = Sweep(grid(rates=(1e-3, 1e-2)).values(), record, widen=True)
    assert sweep.end(lambda c: 1.0 if c.hyperparameters.learning_rate < 1e-2 else None) == [
        (3e-4, 10)
    ]
    assert sweep.end(lambda c: 0.5) == [(1e-3, 40)]


def test_a_higher_rate_that_diverged_is_no_reason_to_go_higher(grid, record):
    sweep = Sweep(grid(rates=(1e-4, 1e-3, 1e-2)).values(), record, widen=True)
    gain = lambda c: None if c.hyperparameters.learning_rate > 1e-3 else 1e3 * peak(1)(c)  # noqa: E731
    assert sweep.end(gain) == [(1e-3, 40)]


def test_an_added_rate_goes_on_as_any_other(grid, record):
    sweep = Sweep(grid(rates=(1e-4, 3e-4)).values(), record, widen=True)
    assert sweep.halving.max_added == 3
    assert sweep.end(peak(1e-3)) == [(1e-3, 10)]
    assert sweep.halving.max_added == 2
    assert sweep.end(peak(1e-3)) == [(3e-3, 10)]
    assert sweep.end(peak(1e-3)) == [(1e-3, 40), (3e-3, 40)]
    assert sweep.halving.max_added == 0
    assert sweep.end(peak(3e-3)) == [(3e-3, 160)]
    assert sweep.end(peak(3e-3)) == []
    assert rates(sweep.added) == sorted(itertools.product((1e-3, 3e-3), BUDGETS))
    # A grid of these from the start would have come to the same.
    whole = Sweep(grid(rates=(1e-4, 3e-4, 1e-3, 3e-3)).values(), record)
    for best in (1e-3, 3e-3, 3e-3):
        whole.end(peak(best))
    assert sweep.kept.keys() == whole.kept.keys()
    assert sweep.stopped == whole.stopped


def test_settings_are_widened_each_in_itself(grid, record):
    cells = [
        *grid(rates=(1e-4, 3e-4, 1e-3), method="lora", adapter_size=4).values(),
        *grid(rates=(1e-4, 3e-4, 1e-3), method="lora", adapter_size=1).values(),
        *grid(rates=(1e-4, 3e-4, 1e-3), method="continue_source").values(),
    ]
    sweep = Sweep(cells, record, widen=True)
    best = {4: 3e-4, 1: 1e-3, 0: 1e-3}
    sweep.end(lambda c: peak(best[c.hyperparameters.adapter_size])(c))
    # Of the control, whose gain says nothing, all rates have begun, and none is added.
    assert {(c.hyperparameters.method, c.hyperparameters.adapter_size) for c in sweep.added} == {
        ("lora", 1)
    }


@pytest.mark.parametrize("ended", range(12))
def test_a_driver_that_died_adds_again_what_it_added(grid, record, ended):
    cells = list(grid(rates=(1e-4, 3e-4)).values())
    gain = peak(1e-3)
    whole = Sweep(cells, record, widen=True)
    while whole.open:
        whole.end(gain)
    kept = dict(list(whole.kept.items())[:ended])
    resumed = Sweep(cells, record, kept, widen=True)
    while resumed.open:
        resumed.end(gain)
    assert resumed.kept.keys() == whole.kept.keys()
    assert resumed.stopped == whole.stopped
    assert len(resumed.trained) == len(whole.kept) - len(kept)
    # What was added and has ended is heard of, once, like all that a plan has.
    planned = {c.key for c in cells}
    assert sorted(r.key for r in resumed.recalled) == sorted(kept.keys() - planned)


def test_an_added_cell_that_another_sweep_finished_is_not_trained(grid, record):
    cells = grid(rates=(1e-4, 3e-4, 1e-3, 3e-3))
    elsewhere = {
        cells[1e-3, n].key: record(cells[1e-3, n], metrics={"val/rd_gain_percent": 9.0})
        for n in (10, 40)
    }
    own = {k: c for k, c in cells.items() if k[0] < 1e-3}
    sweep = Sweep(own.values(), record, widen=True, known=elsewhere.get)
    # Its gain at 10 steps is known, so that the next rate is added at once.
    assert sweep.end(peak(1e-3)) == [(3e-3, 10)]
    assert sweep.recalled == list(elsewhere.values())
    # At 40 steps as well, where it waits for the other.
    assert sweep.end(peak(1e-3)) == [(3e-3, 40)]
    assert sweep.end(peak(1e-3)) == [(1e-3, 160), (3e-3, 160)]


def test_the_outlook_says_how_much_may_be_added(grid, record):
    cells = list(grid(rates=(1e-4, 3e-4, 1e-3)).values())
    sweep = Sweep(cells, record, widen=True)
    seen = []
    while True:
        left = {c.key for c in cells} - sweep.kept.keys()
        found = outlook(cells, left, sweep.kept.get, widen=True)
        seen.append((len(found.expected), len(found.possible), found.max_added))
        if not sweep.open:
            break
        sweep.end(peak(1e-3))
    # Three begin, two of them go on twice; 3e-3 is added for all numbers of steps, and decides.
    assert seen == [(7, 9, 3), (5, 9, 2), (4, 4, 0), (2, 2, 0), (0, 0, 0)]


def test_settings_of_a_method_go_on_together(grid, record):
    of = {
        "cawf": [
            *grid(method="cawf", adapter_size=4).values(),
            *grid(method="cawf", adapter_size=8).values(),
        ],
        "lora": list(grid(method="lora", adapter_size=4).values()),
    }
    sweep = Sweep([*of["cawf"], *of["lora"]], record)
    small, large = (
        [
            c
            for c in sweep.open
            if (c.hyperparameters.method, c.hyperparameters.adapter_size) == ("cawf", size)
        ]
        for size in (4, 8)
    )
    lora = [c for c in sweep.open if c.hyperparameters.method == "lora"]

    def end(cells):
        found = []
        for cell in cells:
            found += sweep.halving.tell(
                record(cell, metrics={"val/rd_gain_percent": small_is_good(cell)})
            ).cells
        return found

    # They would share a pack with the larger ones, which still train.
    assert end(small) == []
    assert sweep.halving.num_waiting == 2 + 2 + 2 * 4 + 2 * 4
    assert [c.hyperparameters.method for c in end(lora)] == ["lora"] * 2
    assert [c.hyperparameters.adapter_size for c in end(large)] == [4, 4, 8, 8]
