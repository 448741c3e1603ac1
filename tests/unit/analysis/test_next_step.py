"""What would make an answer surer: commands that run, by hand, and that their text agrees with."""

import itertools
import json
import shlex

import pytest

from interfero.adaptation import METHODS
from interfero.analysis.next_command import SIZES, Next, again, is_star, planned_cells
from interfero.analysis.next_step import next_step
from interfero.analysis.next_widest import further_domain
from interfero.analysis.report.sections import next_parts
from interfero.domains.bundled import BUNDLED
from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.engine.adaptation.design import SweepDesign
from interfero.engine.adaptation.grid import blocks_of, grid_hyperparameters
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options
from sweeps.adapter_capacity import SWEEP

RATES = (1e-4, 3e-4, 1e-3)


@pytest.fixture
def swept(record, measured):
    """Cells of one method: validation prefers the last rates."""

    def build(method="finetune", rates=RATES, seeds=range(5), best=1, **params):
        return [
            record(
                method, int(method == "lora"), rate, data_seed=seed,
                metrics=measured(float(i == best % len(rates)), 0.0), **params,
            )
            for seed in seeds
            for i, rate in enumerate(rates)
        ]  # fmt: skip

    return build


def dry_run(command, *names):
    """How many cells the planning of a sweep makes of each line of a command, of bundled domains."""
    domains = {name: BUNDLED[name].load() for name in names}
    found = []
    for line in command.splitlines():
        options = parse_options(SWEEP.options, shlex.split(line)[2:], "?").settled()
        typed = {name: domains[name] for name in options.domains}
        blocks = blocks_of(options, typed, domains[DEFAULT_SOURCE])
        found.append(len(blocks) * len(options.budgets) * len(grid_hyperparameters(options)))
    return found


def of_bundled(records):
    """The same cells, with the hash of the bundled domains' images."""
    return [
        r.model_copy(
            update={"provenance": {"domain_hash": BUNDLED_IMAGES[r.params["domain"]].fingerprint}}
        )
        for r in records
    ]


def option(command, name):
    """The values of an option, which the sweep's own parser must take."""
    words = shlex.split(command)
    assert parse_options(AdaptationOptions(), words[2:], "?").data_seeds
    start = words.index(name) + 1
    end = next((i for i in range(start, len(words)) if words[i].startswith("--")), len(words))
    return words[start:end]


def test_more_seeds_and_wider_grids_as_a_command(swept):
    command = "python s.py --data-seeds 0 1 --name study --num-steps 50 --resume"
    step = next_step(swept(seeds=(0, 1), best=-1), command)
    assert step.command == (
        "python s.py --data-seeds 0 1 2 3 4 --name study-surer --num-steps 50 "
        "--learning-rates 0.0001 0.0003 0.001 0.003"
    )
    assert step.reasons == (
        "2 data seeds have run: 5 make the intervals narrower",
        "2 of 2 chosen learning rates are at the edge of their grid (finetune)",
    )


def test_where_nothing_is_missing_nothing_is_asked_for(swept):
    assert next_step(swept(), "python s.py") is None


def test_a_smoke_runs_next_step_is_no_smoke_run(swept):
    """--smoke would keep the first of the seeds that it asks for."""
    step = next_step(swept(rates=(1e-3,), seeds=(0,)), "python s.py --smoke --name a")
    assert step.command == "python s.py --name a-surer --data-seeds 0 1 2 3 4"
    assert "the command is without it, a whole sweep" in step.reasons[-1]


def test_a_command_of_records_has_all_that_they_tell(swept):
    loop = {"batch_size": 4, "crop_size": 64, "max_target_images": 6, "max_source_images": 7}
    told = {"source_domain": "natural", "loop": json.dumps(loop)}
    records = [
        r.model_copy(update={"provenance": told})
        for domain, most in (("histology", 51), ("crops", 6))
        for count in (1, most)
        for r in swept("lora", seeds=(0,), domain=domain, num_images=count, strength=0.5)
    ]
    step = next_step(records, "")
    first, second = step.command.splitlines()
    assert first == (
        "python sweeps/adapter_capacity.py --source simulated --source-domain natural=path/to/natural "
        "--domains crops=path/to/crops --methods lora --adapter-sizes 1 "
        "--strengths 0.5 --lambdas 0.0067 --num-images 1 6 --learning-rates 0.0001 0.0003 0.001 "
        "--num-steps 300 --batch-size 4 --crop-size 64 --max-target-images 6 --max-source-images 7 "
        "--data-seeds 0 1 2 3 4 --name surer-1"
    )
    assert second == first.replace("crops=path/to/crops", "histology").replace(
        "images 1 6", "images 1 51"
    ).replace("surer-1", "surer-2")
    assert option(first, "--strengths") == ["0.5"]
    assert step.reasons[-1] == (
        "where the images are is not known: put their folders in place of path/to/"
    )
    same = [r for r in records if r.params["num_images"] == 1]
    assert option(next_step(same, "").command, "--num-images") == ["1"]


@pytest.mark.parametrize(
    ("source", "said"), [("photos", " --source-domain photos "), ("photographs", "")]
)
def test_an_earlier_default_source_domain_is_named_and_the_present_one_is_not(swept, source, said):
    told = {"source_domain": source}
    records = [r.model_copy(update={"provenance": told}) for r in swept(seeds=(0,))]
    command = next_step(records, "").command
    assert said in command
    assert ("--source-domain" in command) == bool(said)


def test_domains_of_a_command_that_is_put_together_are_as_they_were_typed(swept):
    """Of several sweeps, or of a table that names none: what was typed, else the name of a bundled domain."""
    names = ("histology", "mine", "photos.fog-3", "text")
    records = [r for d in names for r in swept(seeds=(0,), domain=d)]
    first = "python s.py --domains histology=scans/tissue mine=a/b --num-steps 5 --name a"
    second = "python s.py --source-domain photos --domains text --name b"
    step = next_step(records, first, second)
    assert option(step.command, "--domains") == [
        "histology=scans/tissue", "mine=a/b", "photos.fog-3", "text",
    ]  # fmt: skip
    assert not any("path/to" in reason for reason in step.reasons)
    assert option(next_step(records, "").command, "--domains") == [
        "histology", "mine=path/to/mine", "photos.fog-3", "text",
    ]  # fmt: skip
    assert next_step(records, first, "").command.startswith("python s.py --domains histology=scans")


def test_sweeps_that_are_put_together_have_names_and_become_one_report(swept):
    records = [
        r.model_copy(update={"seconds": 60.0, "key": f"{n} {r.key}"})
        for n in (5, 20)
        for r in swept(seeds=(0,), domain=f"d{n}", num_images=n)
    ]
    step = next_step(records, "")
    assert [option(line, "--name") for line in step.command.splitlines()] == [
        ["surer-1"],
        ["surer-2"],
    ]
    # Two sweeps of five seeds and three rates.
    assert step.size == (
        "That is 30 cells (15 + 15), where 6 were run; about 30 minutes of computing, at the times of these "
        "cells"
    )
    assert step.one_report == (
        "interfero report --cells interfero-storage/surer-1/report interfero-storage/surer-2/report"
    )
    ((_, _), _, (_, said)) = next_parts(step)
    assert step.one_report in said
    one = next_step(records[:3], "")
    assert (option(one.command, "--name"), one.one_report) == (["surer"], "")
    assert next_step(swept(seeds=(0,)), "").size == "That is 15 cells, where 3 were run"
    elsewhere = Next((), "python s.py --storage file:///a --name x\npython s.py --name y")
    assert elsewhere.one_report.endswith("--cells /a/x/report interfero-storage/y/report")
    assert Next((), "python s.py --name x\npython s.py").one_report == ""


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_command_of_records_trains_in_their_precision(swept, precision):
    """The default, auto, is what pays on the machine that it runs on."""
    told = {"loop": json.dumps({"precision": precision})}
    records = [r.model_copy(update={"provenance": told}) for r in swept(seeds=(0,))]
    assert option(next_step(records, "").command, "--precision") == [precision]
    both = [records[0].model_copy(update={"provenance": {"loop": '{"precision": "x"}'}}), *records]
    assert "--precision" not in next_step(both, "").command


def test_seed_zero_is_kept_in_a_command_of_records(swept):
    assert option(next_step(swept(best=-1), "").command, "--data-seeds") == list("01234")


@pytest.mark.parametrize(
    ("rates", "best", "proposed"),
    [
        ((1e-4, 1e-3), 0, "3e-05 0.0001 0.0003 0.001"),
        ((3e-5, 1e-4, 3e-4), 2, "3e-05 0.0001 0.0003 0.001"),
        ((1e-4, 1e-3, 1e-2), 1, "0.0001 0.0003 0.001 0.003 0.01"),
        ((3.16e-5, 1e-4, 3.16e-4), 0, "1e-05 3.16e-05 0.0001 0.000316"),
        ((2e-4, 5e-4), 1, "0.0002 0.0005 0.002"),
    ],
)
def test_rates_continue_the_grid_and_fill_its_gaps(swept, rates, best, proposed):
    step = next_step(swept(rates=rates, best=best), "python s.py --learning-rates 1")
    assert " ".join(option(step.command, "--learning-rates")) == proposed


def test_a_rate_of_one_is_not_proposed(swept):
    assert next_step(swept(rates=(0.03, 0.1, 0.3), best=2), "python s.py") is None


def test_each_method_has_its_own_grid(swept):
    """Fine-tuning would diverge at the rates that lora needs."""
    lora = swept("lora", rates=(1e-3, 3e-3, 1e-2), best=2)
    command = "python s.py --methods finetune lora --name a"
    step = next_step([*swept(), *lora], command)
    assert step.command == (
        "python s.py --methods lora --name a-surer-lora --learning-rates 0.001 0.003 0.01 0.03"
    )
    assert step.reasons == ("5 of 10 chosen learning rates are at the edge of their grid (lora)",)
    few = [r for r in (*swept(), *lora) if r.params["data_seed"] < 2]
    every, one = next_step(few, command).command.splitlines()
    assert every == "python s.py --methods finetune lora --name a-surer --data-seeds 0 1 2 3 4"
    assert option(one, "--data-seeds") == list("01234")
    unknown = next_step(few, "").command.splitlines()
    assert [option(line, "--methods") for line in unknown] == [["finetune"], ["lora"]]
    assert option(unknown[0], "--learning-rates") == ["0.0001", "0.0003", "0.001"]
    assert option(unknown[1], "--learning-rates") == ["0.001", "0.003", "0.01", "0.03"]


def crossed(swept):
    """Image counts at one lambda, lambdas at one image count: 9 of 25 combinations."""
    places = [(0.013, n) for n in (1, 5, 20, 50, 100)] + [
        (v, 20) for v in (0.001, 0.004, 0.05, 0.2)
    ]
    return [
        r
        for value, count in places
        for method in ("finetune", "lora")
        for r in swept(
            method, rates=(1e-4, 1e-3), seeds=(0, 1, 2), rd_lambda=value, num_images=count
        )
    ]


def test_of_a_cross_the_centre_is_repeated_and_each_method_has_its_own_rates(swept):
    """The product would be 25 places, not 9, and lora's rates make fine-tuning diverge."""
    records = crossed(swept)
    step = next_step(records, "")
    (command,) = step.command.splitlines()
    assert option(command, "--lambdas") == ["0.013"]
    assert option(command, "--num-images") == ["20"]
    assert option(command, "--data-seeds") == list("01234")
    assert option(command, "--methods") == ["finetune", "lora"]
    assert "--learning-rates" not in command
    # Five seeds at three rates of each method.
    assert step.size == f"That is 30 cells, where {len(records)} were run"
    assert any("would be 750 cells" in reason for reason in step.reasons)
    assert any("left away, each has its own" in reason for reason in step.reasons)


def test_a_known_command_grows_to_no_many_times_what_was_run(swept):
    """One seed at two of the rates: five seeds and four rates of all would be ten times as many."""
    records = [
        r
        for value in (0.004, 0.013, 0.05)
        for r in swept(rates=(1e-4, 1e-3), seeds=(0,), best=0, rd_lambda=value)
    ]
    step = next_step(records, "python s.py --lambdas 0.004 0.013 0.05 --name a")
    assert option(step.command, "--lambdas") == ["0.013"]
    assert step.size == "That is 20 cells, where 6 were run"


def test_the_control_asks_for_no_smaller_rates(swept):
    assert next_step([*swept(), *swept("continue_source", best=0)], "python s.py") is None


def test_what_tries_failed_cells_again_is_the_command(swept, fail):
    """Resumed if that is all there is to do; under a new name if options change."""
    records = swept()
    records[0] = fail(records[0])
    step = next_step(records, "python s.py --name a")
    assert step.reasons == ("1 cell failed: --resume tries them again",)
    assert step.command == "python s.py --name a --resume" == again(step.command, {})
    few = next_step(records[:6], "python s.py --name a --resume")
    assert few.reasons[-1] == "1 cell failed: the command tries those of them that it has again"
    assert few.command == "python s.py --name a-surer --data-seeds 0 1 2 3 4"


SMALL = {"histology": 6, "fundus": 12, "astronomy": 12, "textures": 20}
"""Bundled domains that are read in no time, with all images that they have for training."""


def capacity(record, measured, counts):
    """The demo's cells on some domains: fine-tuning is best at its highest rate, cawf inside its grid."""
    grid = [("finetune", 0, rate) for rate in (3e-5, 1e-4, 3e-4)]
    grid += [("continue_source", 0, rate) for rate in (3e-5, 1e-4, 3e-4)]
    grid += [("cawf", size, rate) for size in (1, 2, 4, 8) for rate in (3e-4, 1e-3, 3e-3, 1e-2)]
    return of_bundled(
        record(
            method, size, rate, domain=domain, num_images=count, num_steps=50, codec="mbt2018-mean",
            rd_lambda=0.013,
            metrics=measured(1 / rate if method == "continue_source" else rate * (rate < 9e-3), 0.0),
        )
        for domain, own in counts.items()
        for count in own
        for method, size, rate in grid
    )  # fmt: skip


def test_the_size_is_what_a_dry_run_of_the_command_plans(record, measured):
    """Two commands, one for the wider grid: they are added, though they share cells."""
    records = capacity(record, measured, {d: (n,) for d, n in SMALL.items()})
    command = f"python sweeps/adapter_capacity.py --domains {' '.join(SMALL)} --name a"
    step = next_step(records, command)
    assert len(step.command.splitlines()) == 2
    planned = dry_run(step.command, *SMALL, DEFAULT_SOURCE)
    assert planned == [4 * 5 * 22, 4 * 5 * 4]
    assert step.size == "That is 520 cells (440 + 80), where 88 were run"
    # Without the command it is put together of the cells: one for each grid, all images by their word.
    step = next_step(records, "")
    planned = dry_run(step.command, *SMALL, DEFAULT_SOURCE)
    each = " + ".join(map(str, planned))
    assert step.size == f"That is {sum(planned)} cells ({each}), where 88 were run"
    assert option(step.command.splitlines()[0], "--num-images") == ["all"]


def test_a_command_names_the_methods_and_counts_that_its_cells_have(record, measured):
    """Fine-tuning alone was run at five images: the centre is its own, and no other method's."""
    few = capacity(record, measured, dict.fromkeys(SMALL, (2,)))
    more = capacity(record, measured, dict.fromkeys(SMALL, (5,)))
    records = [
        r
        for r in (*few, *more)
        if (r.params["method"] == "finetune") == (r.params["num_images"] == 5)
    ]
    step = next_step(records, "")
    planned = dry_run(step.command, *SMALL, DEFAULT_SOURCE)
    assert f"That is {sum(planned)} cells" in step.size
    assert sum(planned) <= 5 * len(records)


def test_domains_of_other_counts_have_commands_of_their_own(record, measured):
    """20, 5 and 1 images are no `all`, which would train on other subsets in all three."""
    counts = {"textures": (20,), "fundus": (5,), "histology": (1,)}
    step = next_step(capacity(record, measured, counts), "")
    named = {
        tuple(option(line, "--domains")): option(line, "--num-images")
        for line in step.command.splitlines()
    }
    # Twenty is all that textures has; that is known of a bundled domain.
    assert named == {("textures",): ["all"], ("fundus",): ["5"], ("histology",): ["1"]}
    planned = dry_run(step.command, *counts, DEFAULT_SOURCE)
    assert step.size.startswith(f"That is {sum(planned)} cells (")
    # A known command that repeats the centre alone says which domains have which count.
    crossed = capacity(record, measured, {"textures": (20,), "fundus": (5,)})
    crossed += [
        r.model_copy(update={"key": f"{r.key} {v}", "params": {**r.params, "rd_lambda": v}})
        for r in crossed
        for v in (0.0009, 0.0045)
    ]
    command = (
        "python sweeps/adapter_capacity.py --domains textures fundus --num-images 5 20 --name a"
    )
    command += " --lambdas 0.0009 0.0045 0.013"
    step = next_step(crossed, command)
    names = [tuple(option(line, "--domains")) for line in step.command.splitlines()]
    assert set(names) == {("textures",), ("fundus",)}
    assert option(step.command.splitlines()[0], "--name") == ["a-surer-5"]
    planned = dry_run(step.command, "textures", "fundus", DEFAULT_SOURCE)
    assert step.size.startswith(f"That is {sum(planned)} cells (")


def test_other_images_under_a_bundled_name_are_not_run_as_the_bundled_ones(swept):
    def seen(name, told, **params):
        return [
            r.model_copy(update={"provenance": told})
            for r in swept(seeds=(0,), domain=name, **params)
        ]

    same = seen("fundus", {"domain_hash": BUNDLED_IMAGES["fundus"].fingerprint})
    others = seen("text", {"domain_hash": "0" * 32})
    step = next_step([*same, *others], "")
    assert option(step.command, "--domains") == ["fundus", "text=path/to/text"]
    assert "text has other images here than the bundled domain of that name" in step.reasons
    # Cells that say nothing, more images than there are without drawing, a corruption: not to be known.
    unsure = [
        *seen("histology", {}),
        *seen("charts", {"domain_hash": "1" * 32}, num_images=100),
        *seen("photos.fog-3", {"domain_hash": "2" * 32}),
    ]
    (reason,) = (r for r in next_step([*same, *unsure], "").reasons if "do not say" in r)
    assert "whether charts, histology, photos.fog-3 is the bundled domain of that name" in reason
    assert not any("do not say" in r for r in next_step(same, "").reasons)
    known = next_step(others, "python s.py --domains text=my/pages --name a")
    assert not any("bundled" in reason for reason in known.reasons)


def test_other_source_images_under_the_default_name_are_asked_for(swept):
    def command(fingerprint):
        told = {"source_domain": DEFAULT_SOURCE, "source_domain_hash": fingerprint}
        records = [r.model_copy(update={"provenance": told}) for r in swept(seeds=(0,))]
        return next_step(records, "").command

    assert "--source-domain photographs=path/to/photographs" in command("0" * 32)
    assert "--source-domain" not in command(BUNDLED_IMAGES[DEFAULT_SOURCE].fingerprint)


@pytest.mark.parametrize("name", BUNDLED)
def test_what_is_known_of_bundled_images_is_what_they_are(name):
    domain, known = BUNDLED[name].load(), BUNDLED_IMAGES[name]
    assert (domain.fingerprint, domain.max_images) == known[:2]
    assert known.drawn == (BUNDLED[name].draw is not None)


def test_what_sizes_a_method_takes_is_what_its_class_says():
    for name, method in METHODS.items():
        accepted = tuple(size for size in range(1, 20) if method.accepts(size))
        wanted = SIZES.get(name, tuple(range(1, 20))) if method.size_unit else ()
        assert accepted == wanted


def test_what_trains_nothing_is_not_repeated(swept):
    """Its test results are the same in every data seed."""
    records = [*swept(seeds=(0, 1)), *swept("latent_refinement", seeds=(0, 1))]
    assert "latent_refinement" not in next_step(records).command
    assert "--methods finetune" in next_step(records).command
    assert "latent_refinement" in next_step(swept("latent_refinement", seeds=(0, 1))).command


def test_what_trains_nothing_has_no_wider_grid(swept):
    """Its chosen rate is at an edge: the command repeated it with five seeds, for an answer without it."""
    records = [*swept(seeds=(0, 1)), *swept("latent_refinement", seeds=(0, 1), best=-1)]
    step = next_step(records)
    assert "latent_refinement" not in step.command
    assert "the command leaves out latent_refinement, which trains nothing" in step.reasons
    assert not any("edge" in reason for reason in step.reasons)
    known = next_step(records, "python s.py --data-seeds 0 1 --name a")
    assert option(known.command, "--methods") == ["finetune"]
    # Its own cells are no less tried again where they failed.
    alone = swept("latent_refinement", seeds=(0, 1), best=-1)
    assert "latent_refinement" in next_step(alone).command


def spread(record, measured, gains):
    """Cells of each domain with a gain a seed; the rate in the middle is the best."""
    return [
        record(
            domain=domain, data_seed=seed, learning_rate=rate,
            metrics=measured(gain if rate == RATES[1] else gain - 9, 0.0),
        )
        for domain, own in gains.items()
        for seed, gain in enumerate(own)
        for rate in RATES
    ]  # fmt: skip


def test_a_further_domain_is_asked_for_where_domains_make_the_interval_wide(record, measured):
    few = {"histology": (1.0, 1.1, 1.0, 1.1, 1.0), "fundus": (9.0, 9.1, 9.0, 9.1, 9.0)}
    records = of_bundled(spread(record, measured, few))
    step = next_step(records)
    wide, added = step.reasons
    # Cases 1.04 and 9.04: half of the difference times Student's t with one degree, 12.706.
    assert wide.startswith(
        "the 95 % interval is wider over 2 domains than over 5 seeds (gain of finetune ±50.82 and ±0.07 %): "
    )
    assert added == "the command adds charts, which is bundled"
    assert option(step.command, "--domains") == ["fundus", "histology", "charts"]
    # Five seeds at three rates of three domains.
    assert step.size.startswith("That is 45 cells")
    known = next_step(records, "python s.py --domains histology fundus --num-images all --name a")
    assert option(known.command, "--domains") == ["histology", "fundus", "charts"]
    # A command without the option has the bundled domains: which one to add is the reader's.
    words = next_step(records, "python s.py --name a")
    assert (words.command, words.size) == ("", "")
    assert "--domains NAME=PATH" in words.reasons[0]


def test_further_seeds_are_asked_for_where_seeds_make_it_wide(record, measured):
    """Five seeds were enough for any interval, however wide."""
    wide = (-9.0, 12.0, 0.0, 9.0, -4.0)
    records = spread(record, measured, {"histology": wide, "fundus": wide})
    step = next_step(records, "python s.py --data-seeds 0 1 2 3 4")
    assert option(step.command, "--data-seeds") == list("0123456789")
    assert step.reasons[0].startswith(
        "the 95 % interval is wider over 5 seeds than over 2 domains (gain"
    )
    assert step.reasons[0].endswith("10 data seeds make it surer than further domains")


def test_a_domain_that_a_command_adds_has_the_images_that_it_asks_for():
    assert further_domain(["charts", "windows"], ["5", "12"]) == "fundus"
    assert further_domain(["charts", "windows"], ["13"]) == ""
    assert further_domain([], ["all"]) == "charts"


def test_a_search_plans_so_many_cells_a_block(swept):
    records = swept(seeds=(0, 1))
    line = "python s.py --sampler tpe --num-samples 7 --lambdas 0.1 0.2 --data-seeds 0 1 2"
    assert planned_cells(line, records, known=True) == 7 * 2 * 3


STAR = {"rd_lambda": (0.013, 0.05), "num_images": (20, 5, 1), "num_steps": (60, 250)}


def starred(swept, **axes):
    """Cells of a star, or of the whole grid: two rates and two seeds a place."""
    axes = STAR | axes
    whole = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    centre = whole[0]
    star = [w for w in whole if sum(w[n] != centre[n] for n in axes) <= 1]
    return [
        [r for place in places for r in swept("lora", RATES[:2], range(2), **place)]
        for places in (star, whole)
    ]


def test_a_star_is_counted_as_a_star(swept):
    star, whole = starred(swept)
    assert [is_star(cells) for cells in (star, whole)] == [True, False]
    # A cross of two axes, each with two values, lacks one place of the grid.
    cross, square = starred(swept, num_images=(20,))
    assert [is_star(cells) for cells in (cross, square)] == [True, False]
    # One axis alone is a star and a grid.
    assert not any(map(is_star, starred(swept, num_images=(20,), rd_lambda=(0.013,))))
    assert planned_cells("python s.py", star, known=True) == len(star) == 5 * 4
    assert planned_cells("python s.py", whole, known=True) == len(whole) == 12 * 4
    # What is typed has the last word, and further seeds have a star each.
    assert planned_cells("python s.py --design star --data-seeds 0 1 2", whole, known=True) == 30
    assert planned_cells("python s.py --design full", star, known=True) == len(whole)


def test_a_star_plans_as_many_cells_as_are_said(swept):
    line = (
        "python sweeps/adapter_capacity.py --design star --domains charts histology --methods lora finetune "
        "--learning-rates 1e-4 3e-4 --lambdas 0.013 0.05 --num-images 3 1 --num-steps 60 250 "
        "--adapter-sizes 4 2 8 --data-seeds 0 1 2"
    )
    domains = {name: BUNDLED[name].load() for name in ("charts", "histology")}
    options = parse_options(SWEEP.options, shlex.split(line)[2:], "?").settled()
    design = SweepDesign(options, domains)
    cells = [
        1
        for block in blocks_of(options, domains, BUNDLED[DEFAULT_SOURCE].load())
        for point in grid_hyperparameters(options)
        for steps in options.budgets
        if design.has(block, point, steps)
    ]
    assert planned_cells(line, swept(), known=True) == len(cells)


def test_methods_keep_their_own_sizes_and_strengths(swept):
    """Weights of one method are no weights of another, and sizes of one are no sizes of all."""
    records = [
        *swept("lora", seeds=(0,)),
        *swept("ewc", seeds=(0,), strength=3.0),
        *swept("replay", seeds=(0,), strength=0.3),
        *swept("finetune", seeds=(0,)),
    ]
    lines = next_step(records, "").command.splitlines()
    named = {tuple(option(line, "--methods")): line for line in lines}
    assert set(named) == {("ewc", "finetune", "lora"), ("replay",)}
    assert option(named["ewc", "finetune", "lora"], "--strengths") == ["3"]
    assert option(named["replay",], "--strengths") == ["0.3"]
    assert "--adapter-sizes" not in named["replay",]


def test_what_is_in_no_mean_of_the_answer_is_not_repeated(swept, with_grey):
    """Half of the cells of a suggested command were of a grey domain, others of a method that diverged."""
    records = with_grey(
        [*swept(seeds=(0,), domain="charts"), *swept(seeds=(0,), domain="text"),
         *swept("from_scratch", seeds=(0,), domain="charts")],
        "text",
    )  # fmt: skip
    lost = {"target/rd_gain_percent": -900.0}
    records = [
        r.model_copy(update={"metrics": {**r.metrics, **lost}})
        if r.params["method"] == "from_scratch"
        else r
        for r in records
    ]
    step = next_step(records)
    assert "--domains charts" in step.command
    assert "text" not in step.command
    assert "from_scratch" not in step.command
    assert (
        "the command leaves out what is in no mean of the answer: text (grey) and from_scratch (diverged "
        "everywhere)"
    ) in step.reasons
    only = with_grey(swept(seeds=(0,), domain="text"), "text")
    assert "--domains text" in next_step(only).command
