"""Options of a sweep as keyword arguments."""

import pytest

from interfero.api import command_arguments
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options
from interfero.engine.sweep import Sweep
from interfero.errors import ConfigError

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
