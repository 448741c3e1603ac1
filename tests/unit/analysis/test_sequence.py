"""Sequences with a planted truth: analysis recovers it, and refuses what the design cannot tell."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interfero.analysis.charts.files import write_pictures
from interfero.analysis.charts.laws import law_figure
from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.view import law_text
from interfero.analysis.laws.words import law_lines
from interfero.analysis.part import part_of
from interfero.analysis.records import read_records, write_tables
from interfero.analysis.report.sequence import SequenceReport, sequence_html
from interfero.analysis.sequence.archive import old_streams, routing_costs
from interfero.analysis.sequence.chains import (
    SequenceCase,
    SequenceSetting,
    bd_matrices,
    find_chains,
    free_of_lambda,
)
from interfero.analysis.sequence.findings import (
    AFRESH,
    SequenceFindings,
    _undecided,
    equal_gain_lines,
    equal_storage_lines,
    good_enough_line,
    lengths_note,
)
from interfero.analysis.sequence.harm import domain_harms, harm_lines, never_last_line
from interfero.analysis.sequence.laws import SOURCE_LOST, STAGE_HARM
from interfero.analysis.sequence.measures import AVERAGE, FORGETTING, summarise_case
from interfero.analysis.sequence.order_tests import order_tests
from interfero.analysis.sequence.orders import (
    DRAWS,
    SequenceMean,
    corrected,
    mean_of,
    mean_of_all,
    num_averaged,
    order_effect,
    paired,
)
from interfero.cli.report.make import make_report
from interfero.cli.report.wanted import Wanted
from interfero.engine.options.parsing import parse_options
from interfero.engine.options.sequence import SequenceOptions
from interfero.errors import ConfigError
from interfero.records import ImageRow
from tests.unit.analysis.conftest import fail, make_record
from tools.planted_sequence import DISTANCES, DOMAINS, PlantedMethod, PlantedSequences
from tools.print_sequences import differences, each_order, main, tables, transfers

METHODS = {
    "finetune": PlantedMethod(rates={3e-5: 0.4, 6e-5: 0.7, 1e-4: 1.0, 1e-3: 6.0}),
    "replay": PlantedMethod(11.0, 1.0, memories=(4, 16, 64), memory_exponent=-0.5),
    "lora": PlantedMethod(9.0, bank=True, num_bytes=6e6, auto_cost=-0.5),
    "joint": PlantedMethod(10.0, 0.0),
}
LATIN = tuple(DOMAINS[k:] + DOMAINS[:k] for k in range(4))


def summary_of(records):
    chains = find_chains(records)
    return summarise_case(chains, chains.cases[0])


@pytest.fixture(scope="module")
def planted():
    return PlantedSequences(METHODS)


@pytest.fixture(scope="module")
def found(planted):
    return SequenceFindings(planted.records())


def test_a_chain_begins_with_the_source_row_that_its_rows_were_measured_against():
    """Another machine's differs in the last digits: what a bank left alone would seem to have changed."""
    planted = PlantedSequences({"lora": PlantedMethod(9.0, bank=True)}).records()

    def measured(record, factor):
        """With one test image, and losses that are greater by a factor."""
        metrics = {n: v * factor if "rd_loss" in n else v for n, v in record.metrics.items()}
        scores = dict.fromkeys(("bpp_before", "psnr_db_before", "bpp", "psnr_db"), 1.0)
        image = ImageRow(
            role="domain:a", name="n", group="g", rd_loss_before=factor, rd_loss=factor, **scores
        )
        return record.model_copy(update={"metrics": metrics, "images": (image,)})

    source = [r for r in planted if not r.params["sequence"]]
    others = [measured(r, 1 + 1e-7).model_copy(update={"key": f"{r.key}x"}) for r in source]
    rows = [measured(r, 1.0) for r in planted]
    for every in ([*others, *rows], [*rows, *others]):
        chains = find_chains(every).every
        assert chains
        own_source = {r.key for r in source}
        assert all(chain.rows[0].key in own_source for chain in chains)


def test_what_a_memory_keeps_is_in_its_name():
    case = SequenceCase("tiny", 0.013, "5", 10, 2)
    kept = [
        SequenceSetting(case, "replay", memory_images=16, buffer="balanced", memory_form=form).text
        for form in ("images", "streams")
    ]
    assert kept == [
        "replay, 16 images kept (balanced)",
        "replay, 16 images kept as streams (balanced)",
    ]


def test_matrices_come_from_the_rows_of_prefixes(planted, found):
    chain = next(c for c in found.chains.chosen if c.setting.method == "finetune")
    assert chain.names == ("natural", *chain.order)
    assert [row.params["stage"] for row in chain.rows] == [0, 1, 2, 3]
    for i, row in enumerate(chain.percent):
        truth = planted.percent("finetune", chain.order[:i], chain.seed[0], 0, chain.learning_rate)
        assert row == pytest.approx([truth[name] for name in chain.names], abs=0.6)
    assert found.chains.problems == ()


def test_validation_chooses_the_learning_rate(found):
    rates = {c.learning_rate for c in found.chains.chosen if c.setting.method == "finetune"}
    # Six times the gain and the harm: lower loss at the end on validation.
    assert rates == {1e-3}
    assert sum(c.setting.method == "finetune" for c in found.chains.every) == 3 * 3 * 4


def test_planted_means_lie_in_their_intervals():
    sweep = PlantedSequences({"finetune": PlantedMethod()}, seed_sd=0.05, seeds=(0, 1, 2, 3))
    (row,) = summary_of(sweep.records()).rows
    # Three stages: the source is harmed three times, then two and one; four percent each.
    mean = row.means["forgetting"]
    assert mean.span[0] < 4 * (3 + 2 + 1) / 3 < mean.span[1]
    assert row.means["gain"].value == pytest.approx(12, abs=0.2)
    assert row.means["backward"].value == pytest.approx(-mean.value, abs=0.3)
    assert row.means["source"].value == pytest.approx(12, rel=0.15)
    assert (mean.num_orders, mean.num_seeds) == (3, 4)


def test_methods_are_compared_on_the_same_orders_and_seeds(found):
    summary = found.cases[0]
    naive, replay = summary.best["finetune"], summary.best["replay"]
    difference = paired(naive.values(FORGETTING), replay.values(FORGETTING))
    assert difference.sign == 1
    same = paired(naive.values(FORGETTING), naive.values(FORGETTING))
    assert (same.value, same.sign) == (0, 0)
    assert "lora" not in {row.setting.method for row in summary.one_codec}
    assert summary.intransigence["replay"].value == pytest.approx(-1, abs=0.2)


def test_methods_that_end_as_one_codec_are_named():
    """Of two that end alike the one that had learned less was said to forget least, without a word."""
    sweep = PlantedSequences({"finetune": PlantedMethod(), "merge_mean": PlantedMethod(5.0, 1.0)})
    records = sweep.records()
    twins = [
        r.model_copy(
            update={"key": f"{r.key}-twin", "params": {**r.params, "method": "task_arithmetic"}}
        )
        for r in records
        if r.params["method"] == "merge_mean"
    ]
    found = SequenceFindings([*records, *twins])
    assert "merge_mean forgets least" in found.answer[1]
    assert ", and ends as the same codec as task_arithmetic." in found.answer[1]
    assert "the same codec" not in " ".join(SequenceFindings(records).answer)


def test_too_few_draws_have_no_interval():
    one = PlantedSequences({"finetune": PlantedMethod()}, orders=(DOMAINS[:2],), seeds=(0,))
    found = SequenceFindings(one.records())
    assert found.cases[0].rows[0].means["average"].half_width is None
    assert "no interval: 1 order, 1 seed" in found.answer[0]
    assert "cannot be told" in found.sure[-1]
    step = found.next_step("python sweeps/domain_sequence.py --name a")
    assert "--data-seeds 0 1 2 3 4" in step.command
    assert "--orders latin" in step.command


def test_a_sequence_is_resumed_where_that_is_all_there_is_to_do():
    method = PlantedMethod(rates={1e-4: 1.0, 1e-3: 2.0})
    five = PlantedSequences({"finetune": method}, seeds=tuple(range(5)))
    records = list(five.records())
    last = max(i for i, r in enumerate(records) if r.params["data_seed"] == 0)
    records[last] = fail(records[last])
    most = SequenceFindings(records)
    step = most.next_step("python s.py --name a")
    assert step.reasons == ("some rows failed, or were not run: --resume tries them again",)
    assert step.command == "python s.py --name a --resume"
    one = SequenceFindings([r for r in most.records if r.params["data_seed"] == 0])
    changed = one.next_step("python s.py --name a --resume --smoke")
    assert changed.reasons[-2] == (
        "some rows failed, or were not run: the command tries those of them that it has again"
    )
    assert changed.command == "python s.py --name a-surer --data-seeds 0 1 2 3 4"
    assert "some rows failed, or were not run" in one.next_step("").reasons


def test_all_orders_leave_no_order_to_be_drawn():
    rng = np.random.default_rng(0)
    values = {((a, b), (seed, 0)): 5.0 * (a < b) + rng.normal(0, 0.1)
              for a, b in (("x", "y"), ("y", "x")) for seed in range(3)}  # fmt: skip
    mean = mean_of(values)
    assert mean.all_orders
    assert mean.half_width < 1
    some = {(("z", *order), seed): v for (order, seed), v in values.items()}
    assert mean_of(some).half_width > 10


def test_methods_on_other_orders_are_not_compared():
    """Confounded: fine-tuning met the harmless domain last, replay met it first."""
    one = PlantedSequences({"finetune": METHODS["finetune"]}, orders=LATIN[:2])
    other = PlantedSequences({"replay": METHODS["replay"]}, orders=LATIN[2:])
    found = SequenceFindings([*one.records(), *other.records()])
    summary = found.cases[0]
    assert summary.left_out == ["replay"]
    assert list(summary.best) == ["finetune"]
    assert "is not compared here with another method" in found.answer[-1]
    assert equal_storage_lines(summary) == []
    assert summary.against_naive(summary.choices["replay"], AVERAGE) is None


def test_means_are_over_the_orders_and_seeds_that_all_methods_have():
    one = PlantedSequences({"finetune": PlantedMethod()}, orders=LATIN)
    other = PlantedSequences({"replay": METHODS["replay"]}, orders=LATIN[:3], seeds=(0, 1))
    summary = summary_of([*one.records(), *other.records()])
    samples = {row.means["average"].sample for row in summary.best.values()}
    assert samples == {"3 orders, 2 seeds"}
    assert summary.choices["finetune"].means["average"].sample == "4 orders, 3 seeds"


def test_order_matters_only_where_it_was_planted():
    plain = PlantedSequences({"finetune": PlantedMethod()}, orders=LATIN)
    dear = replace(plain, distance_exponent=0.7)
    effects = [
        order_effect(summary_of(s.records()).rows[0].values(FORGETTING)) for s in (plain, dear)
    ]
    assert effects[0].probability > 0.05
    assert effects[1].probability < 0.05
    assert effects[1].order_sd > 3 * effects[0].order_sd
    said, dearly = (effect.sentence("to what x forgets") for effect in effects)
    assert said.startswith("Whether the order of domains matters to what x forgets is undecided (")
    assert "the orders' means have a standard deviation of" in said
    assert dearly.startswith("The order of domains matters to what x forgets (")


def test_what_learning_each_domain_does_to_those_before_it_is_found_again():
    """Planted: a stage harms by 4 times the 0.7th power of the distance of its domain."""
    sweep = PlantedSequences({"finetune": PlantedMethod()}, orders=LATIN, distance_exponent=0.7)
    summary = summary_of(sweep.records())
    harms = domain_harms(summary.best["finetune"].chains)
    assert [harm.domain for harm in harms] == ["text", "screen", "histology", "aerial"]
    for harm in harms:
        truth = 4 * DISTANCES[harm.domain] ** 0.7
        assert harm.mean.value == pytest.approx(truth, rel=0.15)
        assert harm.mean.sample == "4 orders, 3 seeds"
        assert harm.where == "1, 2, 3, 4"
    (line,) = harm_lines(summary)
    assert line.startswith("finetune: learning text does most harm to the domains met before it, +")
    assert "that of screen, the next one, is less by +" in line
    assert "undecided" not in line
    assert "place" not in line, "each domain stood at each place"
    assert never_last_line(summary) == ""


def test_which_domain_does_most_harm_is_undecided_where_none_does():
    methods = {name: PlantedMethod() for name in ("finetune", "ewc")}
    found = SequenceFindings(
        PlantedSequences(methods | {"lora": METHODS["lora"]}, orders=LATIN).records()
    )
    lines = found.lines["Harm of a stage"]
    start = "which domain does most harm to those met before it is undecided: learning "
    assert [line.partition(": ")[0] for line in lines] == ["finetune", "ewc"]
    assert all(f": {start}" in line and "(corrected for 2 methods, Holm)" in line for line in lines)
    helpful = PlantedSequences({"finetune": PlantedMethod(harm=-4.0)}, orders=LATIN)
    (line,) = harm_lines(summary_of(helpful.records()))
    assert line.startswith("finetune: on average the stage of no domain harms the domains met")


def test_domains_that_are_never_last_are_named(found):
    """The orders that are planted if none are given end with screen, screen and histology."""
    warning = (
        "aerial is never last in these orders: averages at the end do not contain what it does as "
        "the last one."
    )
    assert warning in found.sure
    page = sequence_html(SequenceReport("t", found))
    harm = page.partition('id="harm"')[2].partition("</details>")[0]
    assert warning in harm
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", harm) == [
        "finetune",
        "replay, 64 images kept (reservoir)",
    ]
    assert "aerial stood at places 1, 2" in " ".join(found.lines["Harm of a stage"])
    one = PlantedSequences({"finetune": PlantedMethod()}, orders=(DOMAINS[:3],))
    assert never_last_line(summary_of(one.records())).startswith(
        "aerial and histology are never last in these orders: averages at the end do not contain "
    )


def test_where_an_order_lacks_a_seed_the_interval_is_over_seeds_and_says_so():
    values = {
        ((order,), (seed, 0)): 10.0 * (order == "b") + seed for order in "ab" for seed in range(3)
    }
    whole = mean_of_all(values)
    assert whole == mean_of(values)
    assert num_averaged(values) == 6
    del values[("b",), (2, 0)]
    mean = mean_of_all(values)
    assert num_averaged(values) == 4
    assert mean.value == pytest.approx(np.mean([(0 + 10) / 2, (1 + 11) / 2, 2]))
    assert mean.sample == (
        "2 orders, 3 seeds, not all with every seed: over seeds of their means over orders"
    )
    assert mean.half_width is not None
    assert mean_of_all({}) is None


def test_order_is_tested_at_every_length_and_corrected_for_all():
    """Five seeds can give p below any correction: planted, order matters from two domains on."""
    plain = PlantedSequences(
        {"finetune": PlantedMethod()}, orders=LATIN, seeds=(0, 1, 2, 3, 4), distance_exponent=0.7
    )
    tests = order_tests(summary_of(plain.records()))
    assert {(t.measure.name, t.row.stages) for t in tests.tests} == {
        (name, k) for name in ("forgetting", "average") for k in (2, 3, 4)
    }
    at_end = next(t.effect for t in tests.tests if t.row.stages == 4)
    assert at_end.num_tests == len(tests.tried) == 6
    assert all(t.effect.corrected <= 0.05 for t in tests.tests if t.measure is FORGETTING)
    assert tests.hopeless == ""
    said = tests.sentence("finetune")
    assert said.startswith("The order of domains matters to what finetune forgets (")
    assert "; corrected for 6 tests (Holm) p = 0.00" in said
    assert "Of fewer domains, which are not the same in all orders: after 2 p = 0.00" in said
    assert "no result could be told apart" not in said


def test_that_no_order_could_be_told_apart_after_the_correction_is_said(found):
    """Three orders and three seeds give 1/36 at least: too much for more than one test."""
    tests = order_tests(found.cases[0])
    count = len(tests.tried)
    assert count > 1
    line = (
        f"With 3 orders and 3 seeds, no result could be told apart after the correction for "
        f"{count} tests: the smallest p they can give is 0.028, {count} times that is more than "
        "0.05. It needs more orders or seeds."
    )
    assert tests.hopeless == line
    assert found.sure[-1].endswith(line)
    assert "permutation test p = " in found.sure[-1], "the p without the correction is kept"
    page = sequence_html(SequenceReport("t", found))
    assert line in page.partition('id="order"')[2].partition("</details>")[0]
    dear = PlantedSequences({"finetune": PlantedMethod()}, distance_exponent=0.7)
    said = SequenceFindings(dear.records()).sure[-1]
    assert said.startswith(
        "By this test alone the order of domains matters to what finetune forgets; among all that "
        "were made it is undecided ("
    )


def test_orders_that_begin_alike_are_one_until_they_part():
    alike = (("aerial", "histology", "screen"), ("aerial", "histology", "text"), LATIN[1][:3])
    sweep = PlantedSequences({"finetune": PlantedMethod()}, orders=alike)
    tests = order_tests(summary_of(sweep.records())).tests
    assert {(t.row.stages, t.effect.sample) for t in tests} == {
        (2, "2 orders, 3 seeds"),
        (3, "3 orders, 3 seeds"),
    }
    assert all((t.effect.probability is None) == (t.row.stages == 2) for t in tests)


def test_more_arrangements_than_are_counted_are_drawn():
    rng = np.random.default_rng(0)
    values = {((o,), (s, 0)): rng.normal() + 9 * k for k, o in enumerate("abcde") for s in range(4)}
    effect = order_effect(values)
    assert effect.probability == effect.least == 1 / (1 + DRAWS)
    flat = {unit: rng.normal() for unit in values}
    assert order_effect(flat).probability > 0.05


def test_the_spread_of_orders_is_set_against_what_chance_gives():
    """Both of means over the same seeds: of every exchange of two orders' values within two seeds."""
    values = {
        (("a",), (0, 0)): 1.0,
        (("b",), (0, 0)): 5.0,
        (("a",), (1, 0)): 2.0,
        (("b",), (1, 0)): 4.0,
    }
    effect = order_effect(values)
    # Means 1.5 and 4.5, or 2.5 and 3.5.
    assert effect.order_sd == pytest.approx(3 / 2**0.5)
    assert effect.chance_sd == pytest.approx(((3**2 / 2 + 1**2 / 2) / 2) ** 0.5)


def test_false_alarms_of_the_order_test_are_as_rare_as_it_says():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        of_seed = rng.normal(0, 3, 3)
        values = {((o,), (s, 0)): of_seed[s] + rng.normal() for o in "abc" for s in range(3)}
        alarms += order_effect(values).probability <= 0.05
    assert alarms / 200 <= 0.08


def test_a_value_that_never_differs_has_no_interval():
    """A bank is the same in every order: that says nothing about how sure it is."""
    orders = (("a", "b"), ("b", "a"), ("a", "c"))
    mean = mean_of({(order, (0, 0)): -1.8 for order in orders})
    assert (mean.short, mean.sign) == ("-1.80", 0)
    assert mean.text() == "-1.80 % (the same each time; 3 orders, 1 seed)"
    none = mean_of({(order, (0, 0)): 0.0 for order in orders})
    assert none.judged == "+0.00, the same each time"
    assert mean.judged == "-1.80, undecided"


def test_order_confounded_with_seed_is_refused():
    values = {(("a", "b"), (0, 0)): 1.0, (("b", "a"), (1, 0)): 5.0, (("a", "c"), (2, 0)): 9.0}
    effect = order_effect(values)
    assert effect.probability is None
    assert "add --orders or --data-seeds" in effect.refusal


def test_incomplete_chains_are_left_out_and_counted(planted):
    records = planted.records()
    last = max(records, key=lambda r: (r.params["stage"], r.params["method"] == "finetune"))
    middle = next(r for r in records if r.params["stage"] == 1 and r.params["method"] == "joint")
    kept = [r for r in records if r is not last and r is not middle]
    problems = " ".join(find_chains(kept).problems)
    assert "they end before the longest order does" in problems
    assert "a stage is missing" in problems


@pytest.fixture(scope="module")
def joined():
    """A good memory in all orders, a worse one in the two easiest; fine-tuning at two rates in half."""
    easiest = sorted(
        LATIN, key=lambda order: sum(k * DISTANCES[d] for k, d in enumerate(order, 1))
    )[:2]
    good, worse = (PlantedMethod(memories=(m,), memory_exponent=-0.02) for m in (64, 4))
    rates = PlantedMethod(rates={1e-4: 1.0, 3e-5: 0.4})
    parts = [
        ({"replay": good}, LATIN), ({"replay": worse}, easiest),
        ({"finetune": rates}, LATIN[:2]), ({"finetune": PlantedMethod()}, LATIN[2:]),
    ]  # fmt: skip
    sweeps = [PlantedSequences(methods, orders=o, distance_exponent=1) for methods, o in parts]
    return easiest, list({r.key: r for sweep in sweeps for r in sweep.records()}.values())


def test_settings_are_chosen_and_shown_in_orders_that_they_share(joined):
    easiest, records = joined
    replay = [r for r in records if r.params["method"] in ("replay", "source")]
    summary = summary_of(replay)
    many, few = sorted(summary.rows, key=lambda row: -row.setting.memory_images)
    assert (len(many.chains), len(few.chains)) == (12, 6)
    assert many.score > few.score, "by its own orders alone the worse one would be chosen"
    assert summary.choices["replay"].setting == many.setting
    assert summary.never_chosen == []
    rows = {row.setting: row for row in summary.alike}
    assert {c.order for row in rows.values() for c in row.chains} == set(easiest)
    assert rows[many.setting].score < rows[few.setting].score
    (table,) = tables(replay)
    assert rows[many.setting].means[AVERAGE.name].short in table
    assert many.means[AVERAGE.name].short not in table


def test_a_setting_with_too_few_orders_is_not_chosen_and_named(joined):
    (one, _), records = joined
    first = {">".join(one[:k]) for k in range(len(one) + 1)}
    replay = [
        r
        for r in records
        if r.params["method"] == "source"
        or r.params["memory_images"] == 64
        or (r.params["memory_images"] == 4 and r.params["sequence"] in first)
    ]
    summary = summary_of(replay)
    assert [row.setting.memory_images for row in summary.never_chosen] == [4]
    assert summary.choices["replay"].setting.memory_images == 64
    said = SequenceFindings(replay).lines["Left out"]
    assert any("it has other orders or seeds than other settings of its method" in s for s in said)


def test_methods_with_more_orders_than_are_compared_are_said(joined, found):
    (one, _), records = joined
    # Fine-tuning in four orders, four methods in one: that one is compared.
    names = ("lora", "joint", "l2_sp", "ewc")
    few = PlantedSequences({name: PlantedMethod() for name in names}, orders=[one])
    kept = [r for r in few.records() if r.params["sequence"]]
    kept += [r for r in records if r.params["method"] in ("finetune", "source")]
    said = SequenceFindings(kept).sure
    (line,) = [s for s in said if s.startswith("In more orders or seeds than")]
    assert "than the 3 chains that all of these have: finetune (12 chains)" in line
    assert "`--where method=finetune` compares these" in line
    assert not [s for s in found.sure if s.startswith("In more orders or seeds than")]


def test_different_learning_rates_in_different_chains_are_said(joined, found):
    _, records = joined
    said = SequenceFindings([r for r in records if r.params["method"] in ("finetune", "source")])
    (line,) = [s for s in said.sure if s.startswith("Validation chose from different learning")]
    assert "finetune (3e-05, 0.0001 in 6 chains; 0.0001 in 6 chains)" in line
    assert not [s for s in found.sure if s.startswith("Validation chose from different")]


def test_different_learning_rates_of_a_setting_that_was_not_chosen_are_said():
    """It was ranked by scores at its own rates."""
    two, one = (
        PlantedMethod(rates={1e-4: 1.0, 3e-5: 0.4}, memories=(4,)),
        PlantedMethod(memories=(4,)),
    )
    good = PlantedMethod(gain=20.0, memories=(64,))
    parts = [({"replay": good}, LATIN), ({"replay": two}, LATIN[:2]), ({"replay": one}, LATIN[2:])]
    rows = {r.key: r for methods, o in parts for r in PlantedSequences(methods, orders=o).records()}
    found = SequenceFindings(list(rows.values()))
    assert found.cases[0].choices["replay"].setting.memory_images == 64
    (line,) = [s for s in found.sure if s.startswith("Validation chose from different learning")]
    assert "4 images kept (reservoir) (" in line


FIVE_ORDERS = ["method=finetune,replay,lora", "learning_rate=1e-5,3e-5,3e-3"]


@pytest.mark.parametrize(
    ("where", "every_rate"), [([], False), ([], True), (FIVE_ORDERS, False)], ids=str
)
def test_the_tables_of_the_study_are_what_its_cells_give(where, every_rate):
    docs = Path(__file__).resolve().parents[3] / "docs"
    page = (docs / "domain_sequences.md").read_text()
    records = part_of(read_records(docs / "domain_sequences.parquet"), where)
    (table,) = tables(records, every_rate=every_rate)
    rows = [row for row in table.splitlines()[2:] if row.startswith("| ")]
    assert len(rows) > (2 if where else 5)
    if every_rate:
        rows = [row for row in rows if row.startswith(("| `finetune`", "| `replay`"))]
    assert [row for row in rows if row not in page] == []


def test_differences_from_one_method_are_paired_and_corrected():
    """Planted: `joint` keeps everything, so that fine-tuning ends higher by all that it forgets."""
    methods = {name: METHODS[name] for name in ("finetune", "joint", "lora")}
    records = PlantedSequences(methods).records()
    (table,) = differences(records, "joint")
    header, _, *rows = table.splitlines()
    assert header.startswith("| ")
    assert ", less `joint`, corrected for 2 | average loss | forgetting | learned gain |" in header
    assert [row.split("`")[1] for row in rows] == ["finetune", "lora"]
    best = summary_of(records).best
    own, naive = best["joint"].values(AVERAGE), best["finetune"].values(AVERAGE)
    mean = np.mean([naive[unit] - own[unit] for unit in own])
    assert f" {mean:+.2f} (" in rows[0]
    with pytest.raises(ConfigError, match=r"of the cells \(finetune, joint, lora\), not 'ewc'"):
        list(differences(records, "ewc"))


def test_differences_from_one_setting_are_those_of_all_others(planted):
    """Planted: less harm with a larger memory."""
    records = planted.records()
    (table,) = differences(records, "replay, 16 images kept (reservoir)")
    header, _, *rows = table.splitlines()
    assert ", less `replay`, 16 images kept (reservoir), corrected for 5 |" in header
    settings = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert settings == [
        "`finetune`", "`joint`", "`lora` 4", "`replay`, 4 images kept (reservoir)",
        "`replay`, 64 images kept (reservoir)",
    ]  # fmt: skip
    few, many = (float(row.split(" | ")[2].split(" ")[0]) for row in rows[-2:])
    assert many < 0 < few
    with pytest.raises(ConfigError, match=r"or a setting \(.*replay, 4 images kept"):
        list(differences(records, "replay, 16 images"))


def test_transfer_is_printed_with_what_joint_training_has_more():
    records = PlantedSequences({n: METHODS[n] for n in ("finetune", "joint", "lora")}).records()
    (table,) = transfers(records)
    header, _, *rows = table.splitlines()
    assert header.endswith(" | backward transfer | forward transfer | intransigence |")
    assert [row.split("`")[1] for row in rows] == ["finetune", "joint", "lora"]
    summary = summary_of(records)
    naive = summary.best["finetune"].means
    for mean in (naive["backward"], naive["forward"], summary.intransigence["finetune"]):
        assert f"| {mean.short} " in rows[0]
    assert rows[1].endswith(" | - |"), "joint training lacks nothing of itself"
    # Gains of 9 % after each domain, of joint training 10 %.
    assert summary.intransigence["lora"].value == pytest.approx(1, abs=0.2)
    one = PlantedSequences({"finetune": PlantedMethod()}, orders=(DOMAINS[:1],))
    (table,) = transfers(one.records())
    assert table.splitlines()[-1].endswith(" | - | - |"), "no forward transfer after one domain"


def test_transfer_is_not_printed_together_with_something_else(tmp_path):
    for other in ({"every_rate": True}, {"against": "joint"}, {"by_order": True}):
        with pytest.raises(ConfigError, match="--transfer is a table of its own"):
            main([tmp_path], transfer=True, **other)
    with pytest.raises(ConfigError, match="--by-order is a table of its own"):
        main([tmp_path], by_order=True, every_rate=True)


def test_each_order_has_means_over_its_seeds(joined):
    """In the report and on paper; planted harm goes with the distance of what comes late."""
    _, records = joined
    replay = [r for r in records if r.params["method"] in ("replay", "source")]
    (table,) = each_order(replay)
    rows = [row.removeprefix("| ").split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) == len(LATIN) + 2
    best, _ = sorted(summary_of(replay).rows, key=lambda row: -row.setting.memory_images)
    assert [tuple(row[1].split(">")) for row in rows if "64 images" in row[0]] == sorted(LATIN)
    page = sequence_html(SequenceReport("x", SequenceFindings(replay), None))
    for order, own in best.by_order.items():
        values = [v for (o, _), v in best.values(FORGETTING).items() if o == order]
        mean = own.means[FORGETTING.name]
        assert (mean.value, mean.num_orders, mean.num_seeds) == (
            pytest.approx(np.mean(values)),
            1,
            3,
        )
        assert mean.short in table
        assert mean.short.replace(" (", " <wbr>(") in page


def test_where_fine_tuning_cannot_be_read_says_why():
    methods = {"finetune": METHODS["finetune"], "lora": PlantedMethod(1.0, bank=True),
               "cawf": PlantedMethod(90.0, bank=True)}  # fmt: skip
    lines = equal_gain_lines(summary_of(PlantedSequences(methods).records()))
    why = {"cawf 4": "gains too little", "lora 4": "never gains so little"}
    assert sorted(lines) == [
        f"Fine-tuning cannot be read at the gain of {name} (reached in 0 of 9 chains: {reason}): give it "
        "more --learning-rates."
        for name, reason in why.items()
    ]


def test_how_many_chains_are_averaged_at_equal_gain_is_said():
    """Without fine-tuning's higher rates a chain does not reach the gain: its order is left out."""
    methods = {"finetune": METHODS["finetune"], "replay": PlantedMethod(11.0, 1.0)}
    records = PlantedSequences(methods).records()
    orders = sorted({str(r.params["sequence"]) for r in records if r.params["stage"] == 3})
    first, second = orders[:2]

    def line_without(lacking):
        """Fine-tuning has one rate in these (order, seed)."""
        kept = [
            r
            for r in records
            if r.params["method"] != "finetune"
            or r.params["stage"] < 3
            or (r.params["sequence"], r.params["data_seed"]) not in lacking
            or r.params["learning_rate"] == 3e-5
        ]
        (line,) = equal_gain_lines(summary_of(kept))
        return line

    assert "(reached in 9 of 9 chains)" in line_without([])
    line = line_without([(first, 0)])
    assert "(reached in 8 of 9 chains, 6 of them averaged)" in line
    assert "; 2 orders, 3 seeds)" in line
    assert "is left" not in line
    line = line_without([(first, 0), (first, 1), (second, 0), (second, 1)])
    assert "(reached in 5 of 9 chains, 3 of them averaged)" in line
    assert re.search(r"; (1 order, 3 seeds|3 orders, 1 seed)\)", line)
    left = "one order is left, so that the interval is over seeds alone."
    assert line_without(
        [(first, s) for s in range(3)] + [(second, 0), (second, 1), (second, 2)]
    ).endswith(left)


def test_a_gap_of_the_front_is_not_bridged():
    """Gains of 0.6 and 72 % with 0.4 and 48 % forgotten say nothing of what is forgotten at a gain of 9 %."""
    methods = {"finetune": PlantedMethod(rates={3e-5: 0.05, 1e-3: 6.0}),
               "lora": PlantedMethod(9.0, bank=True)}  # fmt: skip
    (line,) = equal_gain_lines(summary_of(PlantedSequences(methods).records()))
    assert "(reached in 0 of 9 chains: cells too far apart)" in line


def test_joint_training_has_no_size(found):
    """It keeps every image, whatever its rows say."""
    summary = found.cases[0]
    assert summary.best["joint"].num_bytes is None
    assert summary.best["finetune"].num_bytes == 5e6
    page = sequence_html(SequenceReport("t", found))
    (row,) = re.findall(r"<tr><td>joint</td>.*?</tr>", page.partition("Measures of every")[0])
    assert row.endswith(">-</td></tr>")


def test_what_learning_harmed_is_not_forgotten_by_what_changes_nothing():
    """A bank whose adapter is worse than the source codec: equation 3 counts that, nothing changes later."""
    methods = {"finetune": PlantedMethod(), "lora": PlantedMethod(-3.0, bank=True)}
    found = SequenceFindings(PlantedSequences(methods).records())
    lora = found.cases[0].best["lora"]
    assert lora.means["forgetting"].value > 1
    assert lora.changes_nothing
    assert not found.cases[0].best["finetune"].changes_nothing
    assert (
        "lora keeps an adapter for each domain and, with the right one given, forgets nothing"
        in (found.answer[1])
    )


def test_rows_of_two_studies_make_no_chain():
    """The same place with another batch, say: neither row is taken for the other."""
    records = PlantedSequences({"finetune": PlantedMethod()}).records()
    again = next(r for r in records if r.params["stage"] == 1)
    found = find_chains([*records, again.model_copy(update={"key": "of another study"})])
    seed, first = again.params["data_seed"], again.params["sequence"]
    whole = find_chains(records).every
    kept = {(c.order, c.seed) for c in found.every}
    assert kept == {(c.order, c.seed) for c in whole
                    if (c.order[0], c.seed[0]) != (first, seed)}  # fmt: skip
    assert len(kept) < len(whole)
    assert "1 stage left out that several rows claim" in found.problems[-1]
    assert f"finetune after {first}, data seed {seed}" in found.problems[-1]
    assert find_chains([*records, again]).problems == (), "the same row twice is one"


def test_matrices_say_of_how_many_orders_they_are_means(found):
    """And are there for rate and PSNR too, in each order."""
    matrix = next(f for f in sequence_figures(found) if f.name == "matrix")
    mean = next(v for v in matrix.variants if v.choice[2].startswith("mean"))
    assert mean.caption.endswith("Values are means of 9 chains in 3 orders, by place.")
    assert {v.choice[1] for v in matrix.variants} == {"loss", "rate", "PSNR"}
    every = PlantedSequences(
        {"finetune": PlantedMethod()}, orders=((*DOMAINS[:2],), (DOMAINS[1], DOMAINS[0]))
    )
    figures = sequence_figures(SequenceFindings(every.records()))
    captions = [v.caption for f in figures if f.name == "matrix" for v in f.variants]
    assert sum(c.endswith("means of 6 chains in all 2 orders, by place.") for c in captions) == 3


def test_each_length_has_the_rate_that_validation_chooses_for_it():
    """A higher rate gains more at once and harms more later: best after one domain, worst after three."""
    naive = PlantedMethod(harm=8.0, rates={1e-4: 1.0, 1e-3: 2.0})
    records = PlantedSequences({"finetune": naive, "ewc": PlantedMethod(harm=2.0)}).records()
    summary = summary_of(records)
    rates = {
        k: {c.learning_rate for c in at_length.best["finetune"].chains}
        for k, at_length in summary.by_length.items()
    }
    assert rates == {1: {1e-3}, 2: rates[2], 3: {1e-4}}
    first = summary.by_length[1].best["finetune"]
    assert first.means["average"].value == pytest.approx((2 * 8 - 2 * 12) / 2, abs=0.5)
    assert "forward" not in first.means, "of one domain there is none"
    growth = next(f for f in sequence_figures(SequenceFindings(records)) if f.name == "growth")
    gains = growth.variants[0].panels[2].series[0].points
    assert [round(p.y / 12) for p in gains][::2] == [2, 1]
    assert lengths_note(summary).endswith(f"; {AFRESH}.")
    one = PlantedSequences({"finetune": PlantedMethod(), "ewc": PlantedMethod(harm=1.0)})
    assert AFRESH not in lengths_note(summary_of(one.records()))


def test_probabilities_of_order_are_corrected_for_the_table(found):
    """For rows whose orders differ: a bank is the same in all of them, and was not tried."""
    page = sequence_html(SequenceReport("t", found))
    table = page.partition('id="order"')[2].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    assert "corrected (Holm)" in table
    by = {tuple(row[:3]): row[5:7] for row in rows}
    assert by["lora 4", "forgetting", "3"][1] == "-"
    assert {(row[0], row[2]) for row in rows} >= {("finetune", "2"), ("finetune", "3")}
    assert "1" not in {row[2] for row in rows}, "after one domain there is no order"
    tried = [(float(p), float(c)) for p, c in by.values() if c != "-"]
    assert len(tried) > 2
    assert min(c for _, c in tried) == pytest.approx(
        min(1.0, len(tried) * min(p for p, _ in tried)), abs=0.01
    )


def test_equal_gain_and_equal_storage(found):
    summary = found.cases[0]
    equal = {one.row.setting.method: one for one in summary.at_equal_gain}
    # Fine-tuning gains 4.8, 8.4, 12 and 72 % and harms in proportion: at a gain of 11 it harms by 11 / 3.
    assert (equal["replay"].reached, equal["replay"].num_chains) == (9, 9)
    of_replay = summary.best["replay"].means["forgetting"].value
    assert equal["replay"].difference.value + of_replay == pytest.approx(11 / 3 * 2, rel=0.1)
    assert equal["replay"].difference.sign == 1
    assert "joint" not in equal
    budgets = summary.at_equal_storage
    assert [row.budget for row in budgets] == sorted(row.budget for row in budgets)
    # The largest memory of replay fits the bank's budget only.
    largest = budgets[-1]
    assert {other.setting.method for other, _ in largest.others} | {
        largest.best.setting.method
    } == {"finetune", "lora", "replay"}


def test_what_the_archive_and_routing_cost(found):
    summary = found.cases[0]
    ages = old_streams(summary.best["finetune"])
    assert [s.psnr_drop_db.value for s in ages] == [0, 2, 4, 6]
    assert ages[-1].pixels_exact.value == 0
    assert old_streams(summary.best["lora"])[-1].pixels_exact.value == 100
    costs = {cost.seen: cost for cost in routing_costs(summary.best["lora"])}
    assert costs[True].percent.value == pytest.approx(-0.5)
    assert costs[False].wrong_percent.value == pytest.approx(25)
    assert routing_costs(summary.best["finetune"]) == []


def test_bd_rates_need_four_lambdas():
    method = {"finetune": PlantedMethod(rates={1e-4: 1.0})}
    few = PlantedSequences(method, orders=LATIN[:1], seeds=(0,), lambdas=(0.002, 0.006))
    many = replace(few, lambdas=(0.002, 0.006, 0.012, 0.025))
    (reason,) = bd_matrices(find_chains(few.records())).values()
    assert "add lambdas" in reason
    chains = find_chains(many.records())
    matrix = bd_matrices(chains)[free_of_lambda(chains.every[0].setting, LATIN[0])]
    # Rate grows as the loss does, at the same PSNR.
    assert matrix == pytest.approx(chains.every[0].percent, abs=1)


def without_validation(records, rate):
    """The same rows, those at a learning rate without a result on validation images."""
    return [
        r.model_copy(
            update={"metrics": {n: v for n, v in r.metrics.items() if "val_rd_loss" not in n}}
        )
        if r.params["learning_rate"] == rate
        else r
        for r in records
    ]


@pytest.fixture(scope="module")
def two_rates():
    """At each rate all chains end with more loss than the source codec's, at the higher one with most."""
    method = PlantedMethod(gain=2.0, harm=8.0, rates={1e-4: 1.0, 1e-3: 1.5})
    return PlantedSequences(
        {"finetune": method}, orders=LATIN[:1], seeds=(0,), lambdas=(0.002, 0.006, 0.012, 0.025)
    ).records()


def test_a_curve_without_validation_is_not_chosen_for_bd_rates(two_rates):
    """It competed as if its score were 0, and won wherever the others had lost something."""
    for unknown, known in ((1e-3, 1e-4), (1e-4, 1e-3)):
        chains = find_chains(without_validation(two_rates, unknown))
        (matrix,) = bd_matrices(chains).values()
        (chosen, *_) = (c for c in chains.every if c.learning_rate == known)
        assert chosen.score > 0
        assert matrix == pytest.approx(chosen.percent, abs=1)


def test_a_curve_counts_as_validated_where_all_its_lambdas_are(two_rates):
    partly = [
        r if r.params["rd_lambda"] == 0.002 else other
        for r, other in zip(two_rates, without_validation(two_rates, 1e-4), strict=True)
    ]
    chains = find_chains(partly)
    (matrix,) = bd_matrices(chains).values()
    (chosen, *_) = (c for c in chains.every if c.learning_rate == 1e-3)
    assert matrix == pytest.approx(chosen.percent, abs=1)


def test_bd_rates_of_several_learning_rates_need_a_choice(two_rates):
    none = without_validation(without_validation(two_rates, 1e-3), 1e-4)
    (reason,) = bd_matrices(find_chains(none)).values()
    assert reason == "several learning rates and no validation result to choose by"
    one = [r for r in none if r.params["learning_rate"] != 1e-3]
    chains = find_chains(one)
    (matrix,) = bd_matrices(chains).values()
    assert matrix == pytest.approx(chains.every[0].percent, abs=1)


def laws_of(sweep, method):
    laws = SequenceFindings(sweep.records()).laws
    return {law.response.name: law for law in laws if law.subject.method == method}


def test_planted_laws_are_found_again():
    methods = {"replay": PlantedMethod(10, 2, memories=(4, 16, 64), memory_exponent=-0.5)}
    sweep = PlantedSequences(methods, orders=LATIN, distance_exponent=0.0)
    found = laws_of(sweep, "replay")
    law = found[SOURCE_LOST.name]
    assert isinstance(law, Scaling)
    shape = {p.name: p for p in law.parameters()}
    assert shape["exponent:stage"].value == pytest.approx(1, abs=0.1)
    assert shape["exponent:memory_images"].value == pytest.approx(-0.5, abs=0.05)
    harm = found[STAGE_HARM.name]
    assert harm.chosen.law.name != "constant"
    assert "memory_images" in harm.chosen.law.axes


def test_distance_from_the_source_predicts_left_out_domains_where_it_was_planted():
    sweep = PlantedSequences(
        {"finetune": PlantedMethod()}, orders=LATIN, distance_exponent=0.8, noise=0.02
    )
    law = laws_of(sweep, "finetune")[STAGE_HARM.name]
    best = law.nearest_distance
    assert best.law.axes[-1] == "feature_sd"
    assert best.left_out_domains < law.chosen.left_out_domains / 3


def test_laws_are_refused_as_elsewhere():
    few = PlantedSequences({"finetune": PlantedMethod()}, orders=LATIN, seeds=(0, 1))
    found = laws_of(few, "finetune")
    assert all(isinstance(law, Refusal) for law in found.values())
    assert "3 are needed: add --data-seeds" in found[SOURCE_LOST.name].reason
    still = PlantedSequences({"finetune": PlantedMethod(harm=0)}, orders=LATIN, noise=0)
    assert "nothing to explain" in laws_of(still, "finetune")[SOURCE_LOST.name].reason


def test_no_trend_is_found_in_noise():
    flat = PlantedSequences({"finetune": PlantedMethod(harm=3.0)}, orders=LATIN, noise=0.5)
    law = laws_of(flat, "finetune")[STAGE_HARM.name]
    assert not law.beats_null


def test_naive_is_good_enough_only_where_it_is():
    equal = {"finetune": PlantedMethod(), "ewc": PlantedMethod()}
    assert (
        "It is undecided whether" in SequenceFindings(PlantedSequences(equal).records()).answer[-1]
    )
    worse = equal | {"ewc": PlantedMethod(harm=1.0)}
    found = SequenceFindings(PlantedSequences(worse, seed_sd=0.02).records())
    assert found.answer[-1].startswith(
        "Naive fine-tuning does worse after 1 domain: its loss over "
    )
    assert "finetune against ewc: verdicts are corrected for 3 lengths, Holm." in found.sure
    assert "good enough" not in " ".join(found.sure)


def test_lengths_that_were_tried_are_corrected_for():
    """Each length's interval excludes zero in one of twenty cases, and five were tried."""
    one = SequenceMean(2.0, 1.5, 3, 3, False, probability=0.03)
    (alone,) = corrected([one])
    assert (alone.sign, alone.judged) == (1, one.short)
    first, unknown, second = corrected([one, None, replace(one, probability=0.004)])
    assert unknown is None
    assert (first.probability, second.probability, first.num_compared) == (0.03, 0.008, 2)
    assert (first.sign, second.sign) == (1, 1)
    first, *_ = corrected([one] * 5)
    assert (first.sign, first.doubt) == (0, ", undecided by Holm's correction")
    assert replace(one, probability=0.3, half_width=4.0).doubt == ", undecided"


def test_a_length_that_only_the_correction_leaves_undecided_is_named():
    methods = {"finetune": PlantedMethod(), "ewc": PlantedMethod(harm=3.4)}
    summary = summary_of(PlantedSequences(methods, noise=0.6).records())
    line = good_enough_line(summary)
    assert line.startswith(
        "It is undecided whether ewc does better than naive fine-tuning: at the end, fine-tuning's loss over"
    )
    assert line.endswith("+0.45 to +1.82; 3 orders, 3 seeds), undecided by Holm's correction.")
    assert lengths_note(summary) == (
        "finetune against ewc: verdicts are corrected for 3 lengths, Holm; by itself the interval excludes "
        "zero after 3 domains: +1.14 (+0.45 to +1.82) %."
    )


def test_shares_have_no_sign_and_differences_are_called_what_they_are(found):
    summary = found.cases[0]
    oldest = old_streams(summary.best["lora"])[-1]
    assert oldest.pixels_exact.share == "100.00"
    page = sequence_html(SequenceReport("t", found))
    assert "+100.00" not in page.partition('id="archive"')[2].partition("</details>")[0]
    lines = equal_storage_lines(summary)
    assert all("what others forget minus that, paired" in line for line in lines)
    assert not any("forget more by" in line for line in lines)
    assert "that of finetune minus it" in page


def test_orders_are_not_called_domains():
    flat = PlantedSequences({"finetune": PlantedMethod(harm=3.0)}, orders=LATIN, noise=0.5)
    laws = SequenceFindings(flat.records()).laws
    assert [law.data.drawn_one for law in laws] == ["order", "domain"]
    figure = law_figure(laws)
    lost, harm = figure.variants
    assert lost.panels[1].title.startswith("Each order left out: off by ")
    assert lost.panels[1].x.label == "predicted from the other orders (%)"
    assert harm.panels[1].x.label == "predicted from the other domains (%)"
    assert "each order or domain is predicted only from the others" in figure.note
    unlike = [replace(law, chosen=law.null) for law in laws]
    assert law_lines(unlike) == [
        "Laws for 2 combinations of method and response: 1 where none beats a constant for each domain, 1 "
        "where none beats a constant for each order."
    ]
    assert law_text(unlike[0]).startswith("no law beats a constant for each order (")


def test_undecided_is_not_called_good_enough():
    assert _undecided({1: 0, 2: 1}, 2) == (
        " After 1 it is undecided, which is not the same as good enough."
    )
    assert _undecided({1: 1, 2: 1}, 2) == ""


def test_the_next_command_of_a_table_is_put_together_of_its_rows(planted):
    few = [r for r in planted.records() if r.params["data_seed"] in (0, 1)]
    step = SequenceFindings(few).next_step("")
    words = shlex.split(step.command)
    assert words[:2] == ["python", "sweeps/domain_sequence.py"]
    options = parse_options(SequenceOptions(), words[2:], "?")
    assert options.data_seeds == (0, 1, 2, 3, 4)
    assert options.learning_rates == ()
    assert set(options.methods) == {r.params["method"] for r in few} - {"source"}
    whole = {
        o for o in (r.params["sequence"] for r in few) if o.count(">") == len(options.domains) - 1
    }
    assert set(options.orders) == whole
    assert "were run" in step.size
    assert options.name == "surer"


def test_the_next_command_has_orders_of_one_length():
    """Of an order whose last stage was not run only a part is known: a sweep of unequal ones is refused."""
    sweep = PlantedSequences({"finetune": PlantedMethod()}, orders=LATIN, seeds=(0,))
    cut = ">".join(LATIN[1])
    step = SequenceFindings([r for r in sweep.records() if r.params["sequence"] != cut]).next_step(
        ""
    )
    options = parse_options(SequenceOptions(), shlex.split(step.command)[2:], "?")
    assert set(options.orders) == {">".join(LATIN[k]) for k in (0, 2, 3)}
    options.check()


def test_nothing_finished_is_said():
    assert "nothing can be said" in SequenceFindings([]).answer[0]
    assert "<h1>t</h1>" in sequence_html(SequenceReport("t", SequenceFindings([])))


def test_figures_and_tables_are_written_and_read_again(tmp_path):
    few = {name: METHODS[name] for name in ("finetune", "lora")}
    found = SequenceFindings(PlantedSequences(few, seeds=(0, 1)).records())
    figures = sequence_figures(found)
    assert [f.name for f in figures][:3] == ["growth", "measures", "matrix"]
    files = write_pictures([f for f in figures if f.name == "matrix"], tmp_path)
    assert {path.name for path in files} >= {"matrix_finetune.png", "matrix_lora.svg"}
    write_tables(found.records, tmp_path)
    again = SequenceFindings(read_records(tmp_path))
    assert again.answer == found.answer


def test_interfero_report_makes_it_from_the_table(tmp_path):
    records = PlantedSequences({"finetune": PlantedMethod()}, seeds=(0,)).records()
    write_tables(records, tmp_path / "sweep")
    said = make_report(Wanted(cells=(tmp_path / "sweep",), out=tmp_path / "out"))
    assert "forgets " in said
    assert "of loss on what it met before" in said
    assert (tmp_path / "out" / "sequence_growth.png").is_file()
    write_tables([*records, make_record()], tmp_path / "mixed")
    with pytest.raises(ConfigError, match="adaptation sweeps and sequence sweeps"):
        make_report(Wanted(cells=(tmp_path / "mixed",), out=tmp_path / "out"))
    write_tables([make_record()], tmp_path / "other")
    both = tmp_path / "sweep", tmp_path / "other"
    said = f"(adaptation: {both[1]}; sequence: {both[0]}): make a report of each kind"
    with pytest.raises(ConfigError, match=re.escape(said)):
        make_report(Wanted(cells=both, out=tmp_path / "out"))
