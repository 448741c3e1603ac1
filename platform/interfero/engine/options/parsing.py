"""The command line of a sweep: one flat set of options, shown in groups."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from interfero.engine.options.base import SweepOptions
from interfero.engine.options.marks import HIDDEN, PLAN, OptionGroup, Unset
from interfero.option_choices import check_arguments
from interfero.option_help import SAID, default_in_words

OptionsT = TypeVar("OptionsT", bound=SweepOptions)
# Its overloads do not know fields that are given by a dictionary.
_MAKE: Any = create_model


def parse_options(default: OptionsT, arguments: Sequence[str] | None, description: str) -> OptionsT:
    """Parse options from the command line; exits with 2 if that fails.

    tyro shows a nested structure as a group. Options are flat for all code that reads them, so the
    structure exists only while they are parsed.

    Args:
        default: The options of the sweep.
        arguments: Command-line arguments; the default is those of this process.
        description: The question of the sweep.

    Raises:
        ConfigError: there is no such option, or it does not take a word; the nearest is named.
    """
    given = sys.argv[1:] if arguments is None else arguments
    check_arguments({name: f.annotation for name, f in type(default).model_fields.items()}, given)
    kinds = _groups(default, given)
    parsed = tyro.cli(_outer(kinds), args=arguments, description=description)
    values: dict[str, Any] = {}
    for name in kinds:
        values |= dict(getattr(parsed, name))
    return type(default)(**values)


def _groups(default: SweepOptions, given: Sequence[str]) -> dict[str, Any]:
    """A model for each group of options, by the group's name."""
    asks_for_help = any(word in ("-h", "--help") for word in given)
    groups: dict[str, dict[str, Any]] = {}
    for name, field in type(default).model_fields.items():
        if asks_for_help and HIDDEN in field.metadata:
            continue
        fields = groups.setdefault(group_of(field).title, {})
        # The line breaks of a docstring would end lines of the help in mid-sentence.
        text = " ".join((field.description or "").split())
        value = getattr(default, name)
        fields[name] = (_annotated(field, value), Field(value, description=text))
    return {
        title.replace(" ", "_"): _MAKE(
            title, __doc__="", __config__=ConfigDict(frozen=True), **fields
        )
        for title, fields in groups.items()
    }


def _outer(kinds: Mapping[str, Any]) -> Any:
    """The model that tyro parses: the groups, without their names before the options'."""
    flat: Any = tyro.conf.OmitArgPrefixes
    return _MAKE("Options", **{name: (flat[kind], kind()) for name, kind in kinds.items()})


def group_of(field: FieldInfo) -> OptionGroup:
    """The heading under which `--help` shows an option."""
    return next((mark for mark in field.metadata if isinstance(mark, OptionGroup)), PLAN)


def _annotated(field: FieldInfo, default: object) -> Any:
    """The type of an option with its marks, including those for tyro."""
    kind: Any = field.annotation
    for mark in field.metadata:
        kind = Annotated[kind, mark]
    if default not in (None, ()):
        return kind
    words = next((mark.words for mark in field.metadata if isinstance(mark, Unset)), "")
    return Annotated[kind, default_in_words(words) if words else SAID]
