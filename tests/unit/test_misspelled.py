"""A misspelled word for an option that takes one of a few, and a misspelled command: the nearest is named."""

import importlib
import sys
from typing import Annotated, Literal

import pytest
import tyro

from interfero.cli.main import main
from interfero.engine.options.parsing import parse_options
from interfero.engine.sweep import USAGE_EXIT
from interfero.engine.sweep import main as sweep_main
from interfero.errors import ConfigError
from interfero.option_choices import check_arguments, check_choices, choices_of

COMMANDS = {
    "encode a.png b.ifr --mode targt": "--mode 'targt': did you mean 'target'?",
    "encode a.png b.ifr --mode=sorce": "--mode 'sorce': did you mean 'source'?",
    "map export --out x --budget num_step": "--budget 'num_step': did you mean 'num_steps'?",
    "store verify --storage {here} --kind product trainin": "did you mean 'training'?",
    "predict --domain text --num-images 5 --method finetun": "did you mean 'finetune'?",
    "predict --domain histolgy --num-images 5 --method lora": "did you mean 'histology'?",
    "reprt --cells x": "no command 'reprt': did you mean 'report'?",
    "pool strt": "no command 'strt': did you mean 'start'?",
    "report --cels x": "no option --cels: did you mean --cells?",
    "report --cels=x": "no option --cels: did you mean --cells?",
    "encode a.png b.ifr --lamda 0.1": "no option --lamda: did you mean --lambda?",
    "store verify --storag x": "no option --storag: did you mean --storage?",
    "predict --domain text --num-images many --method lora": "--num-images 'many': takes whole numbers, as",
    "predict --domain text --num-images 2e1 --method lora": "'2e1': takes whole numbers in figures; write 20",
    "encode a.png b.ifr --lambda 0.5x": "--lambda '0.5x': takes numbers, as in 0.013",
}
SWEEPS = {
    "adapter_capacity --sampler hlving": "--sampler 'hlving': did you mean 'halving'?",
    "adapter_capacity --sampler=tpee": "--sampler 'tpee': did you mean 'tpe'?",
    "adapter_capacity --early-stopping ahsa": "--early-stopping 'ahsa': did you mean 'asha'?",
    "adapter_capacity --early_stopping ahsa": "--early-stopping 'ahsa': did you mean 'asha'?",
    "adapter_capacity --schedule cosin": "--schedule 'cosin': did you mean 'cosine'?",
    "adapter_capacity --precision bfloat61": "--precision 'bfloat61': did you mean 'bfloat16'?",
    "adapter_capacity --domain text": "no option --domain: did you mean --domains?",
    "adapter_capacity --no-pol": "no option --no-pol: did you mean --no-pool?",
    "adapter_capacity --num-steps 1e3": "--num-steps '1e3': takes whole numbers in figures; write 1000",
    "adapter_capacity --num-steps 50 1.5": "--num-steps '1.5': takes whole numbers, as in 20",
    "adapter_capacity --lambdas 0.013 0.5x": "--lambdas '0.5x': takes numbers, as in 0.013",
    "adapter_capacity --window 40 x": "--window 'x': takes numbers",
    "adapter_capacity --max-forgetting much": "--max-forgetting 'much': takes numbers",
    "covariate_shift --configurations OX": "did you mean OO or OC or OT?",
    "covariate_shift --configurations oo": "did you mean OO?",
    "adapter_capacity --methods finetun": "did you mean 'finetune'?",
    "adapter_capacity --domains histolgy": "did you mean 'histology'?",
    "adapter_capacity --source mbt2018-meen": "did you mean 'mbt2018-mean'?",
    "domain_sequence --orders latn": "did you mean 'latin'?",
    "domain_sequence --orders text>chart --domains text charts": "did you mean 'charts'?",
    "domain_sequence --buffers balanced resevoir": "--buffers 'resevoir': did you mean 'reservoir'?",
    "domain_sequence --methods finetun": "did you mean 'finetune'?",
    "covariate_shift --tasks own domnant": "--tasks 'domnant': did you mean 'dominant'?",
    "covariate_shift --codecs jpg": "did you mean 'jpeg'?",
    "covariate_shift --class-weights median": "did you mean 'median_frequency'?",
    "covariate_shift --architecture unett": "did you mean 'unet'?",
    "dataset_restoration --restorations gan regresion": "did you mean 'regression'?",
}


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_command_names_the_nearest(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["interfero", *typed.format(here=tmp_path).split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert COMMANDS[typed] in capsys.readouterr().err


@pytest.mark.parametrize("typed", SWEEPS)
def test_a_sweep_names_the_nearest(typed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    name, *arguments = typed.split()
    with pytest.raises(SystemExit) as end:
        sweep_main(importlib.import_module(f"sweeps.{name}").SWEEP, arguments)
    assert end.value.code == USAGE_EXIT
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert SWEEPS[typed] in said
    assert said.count("did you mean") <= 1, "one suggestion, not a page of them"


def test_all_misspelled_options_are_named_at_once_and_good_ones_pass():
    options = importlib.import_module("sweeps.domain_sequence").SWEEP.options
    with pytest.raises(ConfigError, match=r"'resevoir'.*\n.*'onn'|'onn'.*\n.*'resevoir'"):
        parse_options(options, ["--buffers", "resevoir", "--fuse-packs", "onn"], "")
    found = parse_options(
        options, ["--buffers", "balanced", "reservoir", "--fuse-packs=off", "--domains", "a"], ""
    )
    assert (found.buffers, found.fuse_packs) == (("balanced", "reservoir"), "off")


def test_options_that_there_are_pass_however_they_are_typed():
    """Underscores, `=`, negations, numbers below zero, None, what tyro adds, and any word of text."""
    kinds = {
        "num_steps": int | tuple[int, ...], "packs": bool, "limit": float | None, "name": str | None,
        "pair": tuple[float, float] | None, "rd_lambda": Annotated[float, tyro.conf.arg(name="lambda")],
    }  # fmt: skip
    typed = (
        "a.png --num_steps=3 --no-packs --packs --limit None --limit -1e-3 --name 0.5x --pair -1 inf "
        "--lambda 0.1 --tyro-print-completion bash"
    )
    check_arguments(kinds, typed.split())
    check_arguments(kinds, ["--nosuch", "--help"])
    with pytest.raises(
        ConfigError,
        match=r"^no option --rd-lambda: did you mean --lambda\? --help lists all\n--pair 'x'",
    ):
        check_arguments(kinds, ["--rd-lambda", "1", "--pair", "0", "x"])


def test_what_takes_other_words_too_is_left_to_its_own_rules():
    assert choices_of(Literal["a", "b"] | None) == ("a", "b", "None")
    assert choices_of(int | Literal["a"]) == choices_of(str) == choices_of(tuple[int, int]) == ()
    check_choices({"mode": Literal["a"] | None, "name": str}, ["--mode", "None", "--name", "x"])
    # A word after the one that an option takes is a positional argument.
    check_choices({"mode": Literal["a"]}, ["--mode", "a", "file.png"])
