from pathlib import Path

import pytest

from interfero.adaptation import METHODS
from interfero.engine.adaptation.grid import grid_hyperparameters
from interfero.engine.options.adaptation import AdaptationOptions, fuses_packs
from interfero.engine.options.base import storage_folder
from interfero.errors import ConfigError

GOOD = AdaptationOptions(domains=("text",))

BAD = {
    "domains": ((), "--domains is empty"),
    "methods": (("cawf", "cawf"), "--methods names one value twice"),
    "lambdas": ((-0.1,), "--lambdas must be above 0"),
    "learning_rates": ((1.5,), "--learning-rates must lie between 0 and 1"),
    "adapter_sizes": ((0,), "--adapter-sizes must be 1 or more"),
    "num_images": (("some",), "--num-images takes counts"),
    "data_seeds": ((0, -1), "--data-seeds must not be negative, got -1"),
    "num_steps": (
        0,
        "--num-steps must be above 0, got 0: give more, or leave it out for the default",
    ),
    "num_samples": (-2, "--num-samples must be above 0, got -2"),
    "batch_size": (0, "--batch-size must be above 0"),
    "cpus_per_trial": (0.0, "--cpus-per-trial must be above 0"),
    "gpus_per_trial": (-1.0, "--gpus-per-trial must not be negative"),
    "max_failed": (-1, "--max-failed must not be negative"),
    "max_concurrent": (-1, "--max-concurrent must not be negative"),
    "crop_size": (100, "--crop-size must be a multiple of 64 pixels, got 100"),
    "name": ("a/b", "--name may hold letters"),
    "resume": (True, "--resume needs --name"),
    "max_source_images": (0, "--max-source-images must be above 0"),
    "checkpoint_seconds": (-1.0, "--checkpoint-seconds must not be negative, got -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_rule_names_option_and_value(name):
    value, message = BAD[name]
    with pytest.raises(ConfigError) as caught:
        GOOD.model_copy(update={name: value}).check()
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1, "one mistake, one line"


def test_one_adapter_for_all_rates_takes_several_lambdas():
    changes = {"methods": ("lora", "lora_all_rates"), "lambdas": (0.013,)}
    with pytest.raises(ConfigError, match=r"lora_all_rates with one of --lambdas, 0\.013"):
        GOOD.model_copy(update=changes).check()
    GOOD.model_copy(update=changes | {"lambdas": (0.0045, 0.013)}).check()


def test_all_problems_are_reported_at_once():
    wrong = {name: value for name, (value, _) in BAD.items() if name not in ("name", "resume")}
    with pytest.raises(ConfigError) as caught:
        GOOD.model_copy(update=wrong).check()
    for name, (_, message) in BAD.items():
        assert (message in str(caught.value)) == (name in wrong)


def test_a_size_that_would_only_fill_the_memory_is_refused_before_anything_is_built():
    with pytest.raises(
        ConfigError, match="--adapter-sizes must be at most 1024, got 5000: a size is a rank"
    ):
        GOOD.model_copy(update={"adapter_sizes": (2, 5000)}).check()


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_sampler_takes_one_initial_seed(sampler):
    several = {"sampler": sampler, "init_seeds": (0, 1)}
    with pytest.raises(ConfigError, match="takes one of --init-seeds"):
        GOOD.model_copy(update=several).check()
    GOOD.model_copy(update={"init_seeds": (0, 1)}).check()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_one_objective_can_be_stopped_early(sampler):
    GOOD.model_copy(update={"sampler": sampler, "early_stopping": "asha"}).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stopping": "asha"}, "cells that feed scaling fits are never stopped early"),
        ({"early_stopping": "asha", "sampler": "nsga2"}, "compares cells by one objective"),
        (
            {"early_stopping": "asha", "sampler": "tpe", "workers_per_trial": 2, "batch_size": 8},
            "only a cell that one process trains can be stopped",
        ),
        (
            {"max_forgetting": 1.0},
            "--max-forgetting 1.0 with --sampler halving: it guides a search",
        ),
        ({"max_forgetting": -1.0, "sampler": "tpe"}, "must be 0 or more, got -1.0"),
        ({"max_forgetting": float("nan"), "sampler": "tpe"}, "must be 0 or more, got nan"),
    ],
)
def test_what_a_search_alone_can_do_is_refused_elsewhere(changes, message):
    with pytest.raises(ConfigError, match=message):
        GOOD.model_copy(update=changes).check()


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_may_be_constrained(sampler):
    GOOD.model_copy(update={"sampler": sampler, "max_forgetting": 0.0}).check()


@pytest.mark.parametrize(
    ("workers", "batch_size", "methods", "problem"),
    [
        (3, 8, ("finetune",), "--batch-size 8 cannot be divided equally among --workers-per-trial 3"),
        (2, 6, ("lora", "replay"), "for replay, half of whose crops come from the source domain: "
         "choose a multiple of 4"),
        (2, 6, ("lora",), None),
        (2, 8, ("replay", "gated_adapters"), None),
        (1, 7, ("replay",), None),
    ],
)  # fmt: skip
def test_workers_part_batches_equally(workers, batch_size, methods, problem):
    options = GOOD.model_copy(
        update={"workers_per_trial": workers, "batch_size": batch_size, "methods": methods}
    )
    if problem is None:
        options.check()
        return
    with pytest.raises(ConfigError) as caught:
        options.check()
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1, "one mistake, one line"


def test_several_workers_take_one_gpu_each_at_most():
    GOOD.model_copy(update={"gpus_per_trial": 2.0}).check()
    both = {"gpus_per_trial": 2.0, "workers_per_trial": 2}
    with pytest.raises(ConfigError, match="--gpus-per-trial 2: each of several processes"):
        GOOD.model_copy(update=both).check()


def test_smoke_is_never_larger_than_what_was_asked():
    asked = GOOD.model_copy(update={"num_steps": 3, "adapter_sizes": (4, 8), "lambdas": (0.1, 0.2)})
    smoke = asked.smallest()
    assert (smoke.num_steps, smoke.adapter_sizes, smoke.lambdas) == (3, (4,), (0.1,))
    assert smoke.methods == asked.methods
    smoke.check()


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("lambdas", (0.013, NAN), "--lambdas"),
        ("strengths", (INF,), "--strengths"),
        ("cpus_per_trial", INF, "--cpus-per-trial"),
        ("gpus_per_trial", NAN, "--gpus-per-trial"),
        ("checkpoint_seconds", NAN, "--checkpoint-seconds"),
        ("max_domain_memory", INF, "--max-domain-memory"),
        ("data_seeds", (0, 2**63), "--data-seeds"),
        ("init_seeds", (2**63,), "--init-seeds"),
    ],
)
def test_what_is_no_number_of_this_machine_is_refused(name, value, option):
    with pytest.raises(ConfigError, match=option):
        GOOD.model_copy(update={name: value}).check()


def test_times_of_one_process_are_no_times_of_a_group():
    with pytest.raises(ConfigError, match="--calibrate with --workers-per-trial 2"):
        GOOD.model_copy(update={"calibrate": True, "workers_per_trial": 2}).check()


@pytest.mark.parametrize(
    ("changes", "fuses"),
    [
        ({}, False),
        ({"gpus_per_trial": 0.5}, True),
        ({"gpus_per_trial": 1.0, "packs": False}, False),
        ({"gpus_per_trial": 1.0, "workers_per_trial": 2}, False),
        ({"gpus_per_trial": 1.0, "sampler": "random", "early_stopping": "asha"}, False),
        ({"gpus_per_trial": 1.0, "fuse_packs": "off"}, False),
        ({"fuse_packs": "on"}, True),
    ],
)
def test_packs_fuse_on_a_gpu_or_when_asked_to(changes, fuses):
    options = GOOD.model_copy(update=changes)
    options.check()
    assert fuses_packs(options) == fuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packs": False}, "--fuse-packs on with --no-packs"),
        (
            {"sampler": "tpe", "early_stopping": "asha"},
            "--fuse-packs on with --early-stopping asha",
        ),
        ({"workers_per_trial": 2}, "--fuse-packs on with --workers-per-trial 2"),
    ],
)
def test_what_cannot_fuse_is_refused_where_it_is_asked_for(changes, message):
    with pytest.raises(ConfigError, match=message):
        GOOD.model_copy(update={"fuse_packs": "on", **changes}).check()


@pytest.mark.parametrize(
    ("storage", "folder"),
    [
        ("results", "results"),
        ("/data/sweeps", "/data/sweeps"),
        ("file:///data/sweeps", "/data/sweeps"),
        ("file:/data/sweeps", "/data/sweeps"),
        ("file://localhost/data/my%20sweeps%20%231", "/data/my sweeps #1"),
        ("FILE:///data", "/data"),
    ],
)
def test_results_are_kept_in_a_folder_by_path_or_uri(storage, folder):
    options = GOOD.model_copy(update={"storage": storage})
    options.check()
    assert storage_folder(options) == Path(folder)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://bucket/sweeps", "mount what s3:// names there and give the folder's path (NFS, say"),
        ("gs://bucket", "mount what gs:// names there"),
        ("file://server/data", "a file URI names an absolute path of this machine"),
        ("file:///data?x=1", "a file URI names an absolute path of this machine"),
    ],
)
def test_other_storage_is_refused_and_told_how_to_mount_it(storage, said):
    with pytest.raises(ConfigError) as caught:
        GOOD.model_copy(update={"storage": storage}).check()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1, "one mistake, one line"


@pytest.mark.parametrize(
    ("given", "expected", "widens"),
    [
        ({}, "halving", True),
        ({"num_steps": (60, 250)}, "halving", True),
        ({"num_steps": (60, 250), "learning_rates": (1e-4, 1e-3)}, "halving", False),
        ({"num_steps": (60, 250), "widen_rates": False}, "halving", False),
        # Nothing to halve, and a grid that was named, or is to stay what it is.
        ({"learning_rates": (1e-4, 1e-3)}, "grid", False),
        ({"widen_rates": False}, "grid", False),
        ({"sampler": "grid", "num_steps": (60, 250)}, "grid", False),
        ({"sampler": "tpe"}, "tpe", False),
    ],
)
def test_budgets_are_halved_and_own_grids_widened_by_default(given, expected, widens):
    asked = AdaptationOptions(domains=("text",), **given).settled()
    assert (asked.sampler, asked.widens) == (expected, widens)
    asked.check()


def test_the_smallest_run_widens_nothing():
    for sampler in ("auto", "halving"):
        asked = AdaptationOptions(domains=("text",), sampler=sampler).smallest().settled()
        assert asked.sampler == "grid"
        asked.check()


def test_methods_have_learning_rates_of_their_own():
    asked = AdaptationOptions(domains=("text",), methods=("finetune", "lora"), adapter_sizes=(4,))
    rates = {
        m: {p.learning_rate for p in grid_hyperparameters(asked) if p.method == m}
        for m in asked.methods
    }
    assert rates == {m: set(METHODS[m].learning_rates) for m in asked.methods}
    assert rates["finetune"] != rates["lora"]
    named = asked.model_copy(update={"learning_rates": (2e-3,)})
    assert {p.learning_rate for p in grid_hyperparameters(named)} == {2e-3}


def test_short_names_of_many_domains_are_replaced_before_anything_is_planned(monkeypatch):
    monkeypatch.delenv("INTERFERO_DATA", raising=False)
    options = AdaptationOptions(domains=("photos.corruptions", "text"))
    assert len(options.domains) == 76
    assert options.smallest().domains == ("photos.gaussian_noise-1",)
    with pytest.raises(ConfigError, match="--domains names one value twice"):
        AdaptationOptions(domains=("photos.fog", "photos.fog-3")).check()
