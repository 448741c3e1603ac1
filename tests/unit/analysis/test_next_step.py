"""What would make an answer surer: commands that run, by hand, and that their text agrees with."""

import json
import shlex

import pytest

from interfero.analysis.next_command import again
from interfero.analysis.next_step import next_step
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options

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
    assert step.command == (
        "python sweeps/adapter_capacity.py --source simulated --source-domain natural=path/to/natural "
        "--domains crops=path/to/crops histology --methods lora --adapter-sizes 1 "
        "--strengths 0.5 --lambdas 0.0067 --num-images 1 all --learning-rates 0.0001 0.0003 0.001 "
        "--num-steps 300 --batch-size 4 --crop-size 64 --max-target-images 6 --max-source-images 7 "
        "--data-seeds 0 1 2 3 4"
    )
    assert option(step.command, "--strengths") == ["0.5"]
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
    assert few.reasons[-1] == "1 cell failed: the command tries them again"
    assert few.command == "python s.py --name a-surer --data-seeds 0 1 2 3 4"
