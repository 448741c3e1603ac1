"""Options and commands that take one of a few words: a misspelled one is refused with the nearest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from interfero.errors import ConfigError, nearest


def check_choices(kinds: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Refuse words that an option does not take, all in one error.

    Args:
        kinds: Types of options, by their names without dashes before them; any that takes other words passes.
        arguments: As typed.

    Raises:
        ConfigError: names each option, the word, the nearest word that it takes, and all of them.
    """
    problems = []
    for name, kind in kinds.items():
        choices = choices_of(kind)
        option = f"--{name.replace('_', '-')}"
        for word in _given(option, arguments, several=_is_tuple(kind)) if choices else ():
            if word not in choices:
                problems.append(f"{option} {word!r}: {nearest(word, choices)}")
    if problems:
        raise ConfigError("\n".join(problems))


def check_command(commands: Mapping[str, Callable[..., Any]], arguments: Sequence[str]) -> None:
    """Refuse a misspelled command, and words that its options do not take.

    Raises:
        ConfigError: names the word, the nearest there is, and all of them.
    """
    if not arguments or arguments[0].startswith("-"):
        return
    name, *rest = arguments
    if name not in commands:
        raise ConfigError(f"no command {name!r}: {nearest(name, commands)}")
    check_choices(get_type_hints(commands[name], include_extras=True), rest)


def choices_of(kind: Any) -> tuple[str, ...]:
    """Words that an option of a type takes; empty if it takes others than a few."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return choices_of(inside[0])
    if origin is Literal:
        return tuple(map(str, inside))
    if origin is tuple and len(inside) == 2 and inside[1] is Ellipsis:
        return choices_of(inside[0])
    if origin in (Union, UnionType):
        arms = [("None",) if arm is NoneType else choices_of(arm) for arm in inside]
        return tuple(word for arm in arms for word in arm) if all(arms) else ()
    return ()


def _is_tuple(kind: Any) -> bool:
    origin, inside = get_origin(kind), get_args(kind)
    return _is_tuple(inside[0]) if origin is Annotated else origin is tuple


def _given(option: str, arguments: Sequence[str], *, several: bool) -> list[str]:
    """What was typed for an option: `--option WORD`, `--option=WORD`, and more words if it takes several."""
    found: list[str] = []
    taking = 0
    for argument in arguments:
        if argument.startswith("--"):
            word, equals, value = argument.partition("=")
            own = word.replace("_", "-") == option
            found += [value] if own and equals else []
            taking = 0 if not own or equals else len(arguments) if several else 1
        elif taking:
            found.append(argument)
            taking -= 1
    return found
