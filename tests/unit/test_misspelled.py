"""A misspelled word for an option that takes one of a few, and a misspelled command: the nearest is named."""

import importlib
import sys
from typing import Literal

import pytest

from interfero.cli.main import main
from interfero.engine.options.parsing import parse_options
from interfero.engine.sweep import USAGE_EXIT
from interfero.engine.sweep import main as sweep_main
from interfero.errors import ConfigError
from interfero.option_choices import check_choices, choices_of

COMMANDS = {
    "encode a.png b.ifr --mode targt": "--mode 'targt': did you mean 'target'?",
    "encode a.png b.ifr --mode=sorce": "--mode 'sorce': did you mean 'source'?",
    "map export --out x --budget num_step": "--budget 'num_step': did you mean 'num_steps'?",
    "store verify --storage {here} --kind product trainin": "did you mean 'training'?",
    "predict --domain text --num-images 5 --method finetun": "did you mean 'finetune'?",
    "predict --domain histolgy --num-images 5 --method lora": "did you mean 'histology'?",
    "reprt --cells x": "no command 'reprt': did you mean 'report'?",
    "pool strt": "no command 'strt': did you mean 'start'?",
}
SWEEPS = {
    "adapter_capacity --sampler hlving": "--sampler 'hlving': did you mean 'halving'?",
    "adapter_capacity --sampler=tpee": "--sampler 'tpee': did you mean 'tpe'?",
    "adapter_capacity --early-stopping ahsa": "--early-stopping 'ahsa': did you mean 'asha'?",
    "adapter_capacity --early_stopping ahsa": "--early-stopping 'ahsa': did you mean 'asha'?",
    "adapter_capacity --schedule cosin": "--schedule 'cosin': did you mean 'cosine'?",
    "adapter_capacity --precision bfloat61": "--precision 'bfloat61': did you mean 'bfloat16'?",
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


def test_all_misspelled_options_are_named_at_once_and_good_ones_pass():
    options = importlib.import_module("sweeps.domain_sequence").SWEEP.options
    with pytest.raises(ConfigError, match=r"'resevoir'.*\n.*'onn'|'onn'.*\n.*'resevoir'"):
        parse_options(options, ["--buffers", "resevoir", "--fuse-packs", "onn"], "")
    found = parse_options(
        options, ["--buffers", "balanced", "reservoir", "--fuse-packs=off", "--domains", "a"], ""
    )
    assert (found.buffers, found.fuse_packs) == (("balanced", "reservoir"), "off")


def test_what_takes_other_words_too_is_left_to_its_own_rules():
    assert choices_of(Literal["a", "b"] | None) == ("a", "b", "None")
    assert choices_of(int | Literal["a"]) == choices_of(str) == choices_of(tuple[int, int]) == ()
    check_choices({"mode": Literal["a"] | None, "name": str}, ["--mode", "None", "--name", "x"])
    # A word after the one that an option takes is a positional argument.
    check_choices({"mode": Literal["a"]}, ["--mode", "a", "file.png"])
