"""Options of a sweep as keyword arguments, and arguments that no function can take."""

import subprocess
import sys

import numpy as np
import pytest

import interfero
from interfero.api import command_arguments
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options
from interfero.engine.sweep import Sweep
from interfero.errors import (
    AdapterError,
    BitstreamError,
    CodecError,
    ConfigError,
    DomainError,
    InterferoError,
    StorageError,
)

SWEEP = Sweep(
    kind="mine",
    question="Why?",
    options=AdaptationOptions(domains=("text",), num_steps=50),
    study=lambda: pytest.fail("options alone need no study"),
)


def test_options_are_typed_as_a_user_would_type_them():
    changed = {"num_steps": 4, "domains": ("text", "charts"), "smoke": True, "reuse": False}
    arguments = command_arguments(SWEEP, changed)
    assert arguments == [
        "--num-steps", "4", "--domains", "text", "charts", "--smoke", "--no-reuse",
    ]  # fmt: skip
    assert parse_options(SWEEP.options, arguments, "") == SWEEP.options.model_copy(update=changed)


def test_what_the_sweep_has_already_is_not_typed():
    assert command_arguments(SWEEP, {"num_steps": 50, "name": None}) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_step": 3}, "no option 'num_step': did you mean 'num_steps'?"),
        ({"num_steps": "many"}, "num_steps.int: Input should be a valid integer"),
    ],
)
def test_options_that_cannot_be_read_are_refused(options, reason):
    with pytest.raises(ConfigError, match=r".") as error:
        command_arguments(SWEEP, options)
    assert reason in str(error.value)


def test_a_wrong_option_is_an_error_of_this_project_with_its_remedy():
    for wrong, said in (
        ({"domainz": ("text",)}, "no option 'domainz': did you mean 'domains'?"),
        ({"domains": "text"}, "domains takes several values, got 'text': write ('text',)"),
        ({"data_seeds": 3}, "data_seeds takes several values, got 3: write (3,)"),
        ({"reuse": "maybe"}, "unable to interpret input, got 'maybe'"),
    ):
        with pytest.raises(ConfigError) as error:
            interfero.AdaptationOptions(**wrong)
        assert said in str(error.value)
        assert "http" not in str(error.value)


IMAGE = np.zeros((64, 64, 3), np.uint8)
WRONG = {
    "a mode": (lambda c: interfero.encode(IMAGE, c, mode="best"), ConfigError,
               "no mode 'best': known: auto, source, target"),
    "no source": (lambda _: interfero.load_codec(None, 0.013), CodecError,
                  "source must be str, got None of type NoneType: name a codec (bmshj"),
    "a lambda as text": (lambda _: interfero.load_codec("mbt2018-mean", "0.013"), CodecError,
                         "rd_lambda must be Real, got '0.013' of type str: give a number"),
    "a path as image": (lambda c: interfero.encode("a.png", c), BitstreamError,
                        "an image must be ndarray, got 'a.png' of type str: read_image(FILE)"),
    "a name as codec": (lambda _: interfero.encode(IMAGE, "mbt2018-mean"), CodecError,
                        "codec must be Codec, got 'mbt2018-mean' of type str: load_codec("),
    "one adapter": (lambda c: interfero.encode(IMAGE, c, c), ConfigError,
                    "adapters must be Sequence, got a value of type Codec: write [ADAPTED]"),
    "a codec as adapter": (lambda c: interfero.encode(IMAGE, c, [c]), ConfigError,
                           "an adapter must be AdaptedCodec, got a value of type Codec"),
    "arrays as domain": (lambda c: interfero.evaluate(c, [IMAGE]), ConfigError,
                         "an image must be Sample, got a value of type ndarray: write Sample("),
    "a name as domain": (lambda c: interfero.evaluate(c, "text"), ConfigError,
                         "domain must be Domain, got 'text' of type str: load_domain("),
    "a name to evaluate": (lambda _: interfero.evaluate("mbt2018-mean", []), ConfigError,
                           "codec must be Codec or ClassicalPoint, got 'mbt2018-mean'"),
    "a number as domain": (lambda _: interfero.load_domain(3), DomainError,
                           "a domain must be str, got 3 of type int: name it as 'text'"),
    "a number as path": (lambda _: interfero.read_image(3), DomainError,
                         "path must be str or Path, got 3 of type int: give the path"),
    "a number as folder": (lambda _: interfero.load_cells(3), StorageError, "path must be str"),
    "a number as data": (lambda c: interfero.decode(3, c), BitstreamError, "data must be bytes"),
    "a number as file": (lambda c: interfero.load_adapter(3, c), AdapterError, "got 3 of type int"),
    "a name below": (lambda _: interfero.load_adapter("a", "b"), CodecError, "codec must be Codec"),
    "no such file": (lambda c: interfero.load_adapter("/nowhere/a", c), AdapterError,
                     "there is no file /nowhere/a: check the path"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "said"), WRONG.values(), ids=WRONG)
def test_an_argument_of_another_kind_is_refused_with_its_remedy(tiny_codec_file, call, kind, said):
    codec = interfero.load_codec(str(tiny_codec_file), 0.013)
    with pytest.raises(InterferoError) as error:
        call(codec)
    assert type(error.value) is kind
    assert said in str(error.value)


def test_only_public_names_are_shown():
    script = "import interfero; print(dir(interfero) == sorted(interfero.__all__))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
