"""A part of the cells of a table, chosen by their parameters."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.errors import ConfigError
from interfero.records import CellRecord

_UNADAPTED = "source"
"""The method of rows of the codec before any adaptation: every part needs them."""
_SHOWN = 12
"""Values that a message names."""


def part_of(records: Sequence[CellRecord], where: Sequence[str]) -> list[CellRecord]:
    """Cells with given values of parameters; rows of the codec that was not adapted stay.

    Args:
        records: Of one kind of sweep.
        where: `NAME=VALUE`, or `NAME=VALUE,VALUE`, such as `method=finetune,lora`; a cell has to
            meet each. Numbers are compared as numbers: `3e-5` is `0.00003`.

    Raises:
        ConfigError: one is of another form, or names a parameter or value that no cell has.
    """
    rest = list(records)
    for condition in where:
        name, values = parsed(condition)
        known = sorted({other for r in records for other in r.params})
        if name not in known:
            raise ConfigError(
                f"--where {condition}: no cell has a parameter {name!r}; they have {', '.join(known)}"
            )
        found = {_comparable(r.params[name]) for r in records if name in r.params}
        for value in values:
            if _comparable(value) not in found:
                raise ConfigError(
                    f"--where {condition}: no cell has {name} {value!r}; give one of {_named(found)}"
                )
        wanted = {_comparable(value) for value in values}
        rest = [r for r in rest if _is_unadapted(r) or _comparable(r.params.get(name)) in wanted]
    if all(_is_unadapted(r) for r in rest):
        raise ConfigError(f"--where {' '.join(where)}: no cell meets all of these: leave one out")
    return rest


def parsed(condition: str) -> tuple[str, list[str]]:
    """The name and the values of a condition.

    Raises:
        ConfigError: it has another form.
    """
    name, sign, text = condition.partition("=")
    values = [value.strip() for value in text.split(",")]
    if not (name and sign and all(values)):
        raise ConfigError(
            f"--where {condition}: give NAME=VALUE or NAME=VALUE,VALUE, such as method=finetune,lora"
        )
    return name.strip(), values


def _is_unadapted(record: CellRecord) -> bool:
    return record.params.get("method") == _UNADAPTED


def _comparable(value: object) -> float | str | None:
    """A number as one, whether it was typed or measured."""
    if value is None:
        return None
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def _named(values: set[float | str | None]) -> str:
    """Values for a message, numbers in their order; of many the first ones."""
    numbers = sorted(value for value in values if isinstance(value, float))
    texts = [f"{number:g}" for number in numbers]
    texts += sorted(value for value in values if isinstance(value, str))
    return ", ".join([*texts[:_SHOWN], *(["..."] if len(texts) > _SHOWN else [])])
