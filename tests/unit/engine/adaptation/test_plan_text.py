"""What `--dry-run` prints."""

import io
from functools import partial

import pytest
from rich.console import Console

from interfero.engine.adaptation.cost import CostEstimate, Span
from interfero.engine.adaptation.estimating import expected_packs
from interfero.engine.adaptation.plan_text import print_cells, print_cost, print_plan
from interfero.engine.adaptation.study import AdaptationStudy
from interfero.engine.prices import Price
from interfero.engine.spending import PackShare
from interfero.store.sweep import SweepStore


def shown(write):
    text = io.StringIO()
    write(Console(file=text, width=100))
    return text.getvalue()


def cells_text(plan, known=frozenset(), *, every=True):
    packs = plan.cell_packs([c for c in plan.cells if c.key not in known])
    return shown(lambda console: print_cells(console, plan, packs, known, every=every))


def dry_run(made, store):
    """What a study says of a plan, where other sweeps of the storage may have finished cells."""
    study = AdaptationStudy(make_runner=None, entry="", answer="capacity")
    done = store.reusable({cell.key for cell in made.cells})
    return shown(lambda console: study.show(console, "", "", made, store, done))


def cost(**changes):
    given = {
        "num_cells": 6, "unknown": {}, "num_timings": 9,
        "pack_seconds": Span(1750.0, 1800.0, 1850.0), "share": PackShare(2.0, 0.5),
        "wall_seconds": Span(1800.0, 1860.0, 1920.0),
        "start_up_seconds": 12.0, "at_once": 2,
    }  # fmt: skip
    return shown(lambda console: print_cost(console, CostEstimate(**given | changes)))


def test_a_plan_counts_the_test_images_that_are_coded(plan):
    """Not those that a domain has: --max-target-images leaves most of them out."""
    made = plan(max_concurrent=1, max_target_images=2, max_source_images=99)
    text = shown(lambda console: print_plan(console, "t", "q", made))
    target, source = made.domains["thing"], made.source_domain
    assert f"and 2 of {len(target.test)} test {target.unit}" in text
    assert f"and {len(source.test)} test {source.unit}" in text


def test_every_cell_stands_under_its_pack_and_block(plan):
    made = plan(max_concurrent=1, num_images=("2", "4"))
    lines = cells_text(made).splitlines()
    blocks = [i for i, line in enumerate(lines) if line.startswith("  block ")]
    assert len(blocks) == 2
    assert "thing, lambda 0.013, 2 crops, seed 0" in lines[blocks[0]]
    first = lines[blocks[0] + 1 : blocks[1]]
    assert first[0].startswith("    pack of 4 cawf, one source pass for all, about ")
    assert first[5].startswith("    pack of 2 finetune, batches drawn once, about ")
    mine = [c.key for c in made.cells if c.block == made.blocks[0]]
    assert sorted(line.split()[0] for line in (*first[1:5], *first[6:])) == sorted(mine)
    assert "6 cells" not in first[0]


def test_reused_cells_are_in_no_pack(plan):
    made = plan(max_concurrent=1)
    known = frozenset(c.key for c in made.cells if c.hyperparameters.method == "cawf")
    text = cells_text(made, known)
    assert text.count("(reused)") == len(known) == 4
    assert "4 of 6 cells are reused" in text
    assert "pack of 4 cawf" not in text


def test_a_long_plan_lists_every_cell_or_names_them_by_their_axes(plan):
    rates = tuple(i * 1e-4 for i in range(1, 6))
    made = plan(
        max_concurrent=1, num_images=("2", "3", "4"), data_seeds=(0, 1), learning_rates=rates
    )
    assert made.num_cells == 90
    text = cells_text(made, every=False)
    assert not any(cell.key in text for cell in made.cells)
    assert len(text.splitlines()) < 15
    assert "each of 6 blocks: thing x lambda 0.013 x images 2 3 4 x data seed 0 1" in text
    assert "cawf x size 1 x lr 0.0001 0.0002 0.0003 0.0004 0.0005 x init seed 0" in text
    assert "90 cells; --list-cells prints each with its key" in text
    assert made.options.list_cells, "a dry run prints the cells unless it is asked not to"
    every = cells_text(made)
    assert all(cell.key in every for cell in made.cells)


def test_blocks_that_differ_are_told_apart(plan):
    rates = tuple(i * 1e-4 for i in range(1, 6))
    made = plan(
        max_concurrent=1, num_images=("2", "3", "4"), data_seeds=(0, 1), learning_rates=rates
    )
    one = made.cells[0]
    text = cells_text(made, frozenset({one.key}), every=False)
    assert "1 block: thing x lambda 0.013 x images 2 x data seed 0" in text
    assert "1 cell reused: finetune x lr 0.0001 x init seed 0" in text
    assert (
        "each of 5 blocks: thing x lambda 0.013 x images 2 3 4 x data seed 0 1 (5 of these 6)"
        in text
    )


def test_the_precision_says_why(plan):
    assert "float32: as asked for" in cells_text(plan())


def test_a_sampler_shows_its_space(plan):
    text = cells_text(plan(sampler="tpe", num_samples=5))
    assert "5 cells chosen by tpe" in text
    assert "learning rate 0.001 to 0.01" in text


def test_a_sampler_is_expected_to_ask_for_each_method_and_size(plan):
    packs = expected_packs(plan(sampler="random", num_samples=6, num_images=("2", "4")))
    points = [p.nodes[0].hyperparameters for p in packs]
    assert len(points) == 12
    assert {(p.method, p.adapter_size) for p in points} == {
        ("finetune", 0),
        ("cawf", 1),
        ("cawf", 2),
    }


def test_a_cost_says_how_sure_it_is():
    text = cost()
    assert "an estimate from 9 timed cells: 6 cells to train, 1 CPU hours (0.972 to 1.03), " in text
    assert "0.25 GPU hours (0.243 to 0.257)\n" in text
    assert "31 minutes (30 to 32) with 2 packs at once, 12 s of start-up included" in text
    assert "uncalibrated" not in text


def test_one_measurement_has_no_spread():
    assert "1 CPU hours, 0.25 GPU hours\n" in cost(pack_seconds=Span(1800.0, 1800.0, 1800.0))


def test_a_cost_is_money_where_a_price_is_known():
    text = cost(share=PackShare(2.0, 0.5, Price(low=0.4, high=0.4)))
    assert "(0.243 to 0.257), price 0.2 (at 0.4 per pack hour)\n" in text


def test_what_is_not_known_is_in_no_sum():
    text = cost(unknown={"ewc": 2})
    assert "6 cells to train, 2 of them without an estimate and in no sum, 1 CPU hours" in text
    assert "without an estimate: ewc (2 cells); --calibrate times a few" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unknown": {"ewc": 6}}, "cost: uncalibrated (no step of this plan has been timed here"),
        ({"num_cells": 0}, "cost: nothing is left to train"),
    ],
)
def test_nothing_known_or_nothing_left_is_said(changes, said):
    text = cost(**changes)
    assert said in text
    assert "CPU hours" not in text


def test_all_images_are_another_number_in_each_domain(plan):
    rates = tuple(i * 1e-4 for i in range(1, 12))
    here = plan().options.domains
    made = plan(max_concurrent=1, domains=(*here, "text"), learning_rates=rates)
    numbers = sorted(block.num_images for block in made.blocks)
    text = cells_text(made, every=False)
    joined = " ".join(map(str, numbers))
    assert f"each of 2 blocks: thing text x lambda 0.013 x images {joined} (by domain)" in text


def test_cells_of_several_budgets_say_how_long_they_train(plan):
    made = plan(num_steps=(4, 8), methods=("finetune",), max_concurrent=1)
    text = cells_text(made, frozenset({made.cells[0].key}))
    for cell in made.cells:
        (line,) = (line for line in text.splitlines() if cell.key in line)
        assert f" num_steps={cell.loop.num_steps}" in line
    assert "pack of 2 finetune, 8 steps" in text
    assert "num_steps=" not in cells_text(plan())


def test_a_dry_run_of_halving_counts_from_finished_cells_of_any_sweep(plan, record, tmp_path):
    made = plan(
        num_steps=(4, 8, 16), sampler="halving", methods=("finetune",), dry_run=True,
        learning_rates=(1e-4, 1e-3, 1e-2), max_concurrent=1,
    )  # fmt: skip
    earlier, said = SweepStore(tmp_path, "one"), partial(dry_run, made, SweepStore(tmp_path, "two"))
    assert "halving: 7 of 9 cells to train at most\n" in said()
    for cell in made.cells:
        rate, steps = cell.hyperparameters.learning_rate, cell.loop.num_steps
        if steps == 4 or rate < 1e-2:
            gain = {"val/rd_gain_percent": -rate}
            earlier.write_record(record(cell, metrics=gain))
    text = said()
    assert "halving: 0 of 9 cells to train at most, 7 finished, 2 stopped by those" in text
    assert "cost: nothing is left to train" in text


def test_a_dry_run_says_how_many_cells_may_be_added(plan, record, tmp_path):
    made = plan(
        num_steps=4, methods=("finetune",), dry_run=True, learning_rates=(), sampler="halving",
        max_concurrent=1,
    )  # fmt: skip
    earlier, said = SweepStore(tmp_path, "one"), partial(dry_run, made, SweepStore(tmp_path, "two"))
    assert (
        "learning rates: up to 3 trainings more, in no estimate, where a setting's best is the highest"
        in said()
    )
    assert "halving: " not in said(), "there is one number of steps"
    for cell in made.cells:
        gain = {"val/rd_gain_percent": cell.hyperparameters.learning_rate}
        earlier.write_record(record(cell, metrics=gain))
    text = said()
    assert "learning rates: 1 cell added, and up to 2 more" in text
    assert "pack of 1 finetune" in text


def test_a_star_says_what_its_centre_is(plan):
    made = plan(design="star", num_images=("3", "2"), num_steps=(8, 4), adapter_sizes=(2, 1))
    text = shown(lambda console: print_plan(console, "", "", made))
    assert "design: a star around 3 images, 8 steps, size 2; one of these changes at a time" in text
    assert "design" not in shown(lambda console: print_plan(console, "", "", plan()))


def test_a_plan_says_which_members_fuse(plan):
    made = plan(max_concurrent=1, fuse_packs="on", methods=("cawf", "gated_adapters"))
    text = cells_text(made)
    assert "--fuse-packs on: members of one method and size step as one computation" in text
    assert "; one by one: gated_adapters" in text
    assert "pack of 4 cawf, one source pass for all, fused 2 + 2, about " in text
    assert "pack of 4 gated_adapters, batches drawn once, about " in text
    assert "fuse" not in cells_text(plan(max_concurrent=1))
