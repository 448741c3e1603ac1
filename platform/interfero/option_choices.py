"""What was typed, looked at before it is parsed: a refusal is a line with option, rule and remedy.

A misspelled option, command or word is refused with the nearest, and a word that is no number by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from interfero.errors import ConfigError, nearest


def check_arguments(kinds: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Refuse options that there are not, and words that an option does not take, all in one error.

    Args:
        kinds: Types of all options, by their names without dashes before them.
        arguments: As typed.

    Raises:
        ConfigError: names each option and word, and what to write.
    """
    if any(word in ("-h", "--help") for word in arguments):
        return
    named = {_option(name, kind): kind for name, kind in kinds.items()}
    problems = [
        *_unknown(named, arguments), *_other_words(named, arguments), *_no_numbers(named, arguments)
    ]  # fmt: skip
    if problems:
        raise ConfigError("\n".join(problems))


def check_choices(kinds: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Refuse words that an option does not take, all in one error.

    Args:
        kinds: Types of options, by their names without dashes before them; any that takes other words passes.
        arguments: As typed.

    Raises:
        ConfigError: names each option, the word, the nearest word that it takes, and all of them.
    """
    problems = list(_other_words({_option(n, k): k for n, k in kinds.items()}, arguments))
    if problems:
        raise ConfigError("\n".join(problems))


def _unknown(kinds: Mapping[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    switches = [f"--no-{o.removeprefix('--')}" for o, k in kinds.items() if _leaves(k) == {bool}]
    for argument in arguments:
        word = argument.partition("=")[0].replace("_", "-")
        if not word.startswith("--") or word == "--" or word.startswith("--tyro-"):
            continue
        if word not in kinds and word not in switches:
            known = [*kinds, *(switches if word.startswith("--no-") else ())]
            near = difflib.get_close_matches(word, known, n=2, cutoff=0.75)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            yield f"no option {word}: {hint}--help lists all"


def _other_words(kinds: Mapping[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    for option, kind in kinds.items():
        choices = choices_of(kind)
        for word in _given(option, arguments, several=_is_tuple(kind)) if choices else ():
            if word not in choices:
                yield f"{option} {word!r}: {nearest(word, choices)}"


def _no_numbers(kinds: Mapping[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    for option, kind in kinds.items():
        leaves = _leaves(kind) - {NoneType}
        if not leaves or not leaves <= {int, float}:
            continue
        # Of a number or several, all words up to the next option are meant.
        for word in _given(option, arguments, several=_has_tuple(kind)):
            if word != "None" and not _parses(word, whole=leaves == {int}):
                yield f"{option} {word!r}: {_number_rule(word, whole=leaves == {int})}"


def _parses(word: str, *, whole: bool) -> bool:
    with suppress(ValueError):
        int(word) if whole else float(word)
        return True
    return False


def _number_rule(word: str, *, whole: bool) -> str:
    """What an option takes instead, and how the same is written where it is a whole number."""
    if not whole:
        return "takes numbers, as in 0.013 or 1e-4"
    with suppress(ValueError, OverflowError):
        if (value := float(word)) == int(value):
            return f"takes whole numbers in figures; write {int(value)}"
    return "takes whole numbers, as in 20"


def check_command(commands: Mapping[str, Callable[..., Any]], arguments: Sequence[str]) -> None:
    """Refuse a misspelled command or option, and words that its options do not take.

    Raises:
        ConfigError: names the word, and the nearest there is.
    """
    if not arguments or arguments[0].startswith("-"):
        return
    name, *rest = arguments
    if name not in commands:
        raise ConfigError(f"no command {name!r}: {nearest(name, commands)}")
    kinds = get_type_hints(commands[name], include_extras=True)
    kinds.pop("return", None)
    check_arguments(kinds, rest)


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


def _option(name: str, kind: Any) -> str:
    """What is typed for a parameter: its own name, or the one that tyro is told."""
    if get_origin(kind) is Annotated:
        told = (getattr(mark, "name", None) for mark in kind.__metadata__)
        name = next((own for own in told if isinstance(own, str)), name)
    return f"--{name.replace('_', '-')}"


def _leaves(kind: Any) -> set[Any]:
    """The types that one word of an option can have."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _leaves(inside[0])
    if origin in (Union, UnionType, tuple):
        return set().union(*(_leaves(arm) for arm in inside if arm is not Ellipsis))
    return {kind}


def _has_tuple(kind: Any) -> bool:
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _has_tuple(inside[0])
    return origin is tuple or (origin in (Union, UnionType) and any(map(_has_tuple, inside)))


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
