"""What editors and terminals show: code with coloured syntax, and shell sessions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from interfero.domains.rendering import words
from interfero.domains.rendering.dice import Dice
from interfero.domains.rendering.widgets import Pen

_KEYWORDS = frozenset(
    ("def", "return", "if", "for", "in", "class", "not", "and", "None", "True", "False")
)


def code(dice: Dice) -> Iterator[str]:
    """Endless lines that look like Python."""
    names = [n for n in words.NOUNS if len(n) < 9]
    for _ in itertools.count():
        a, b, c = dice.several(names, 3)
        verb = dice.pick(("load", "build", "read", "count", "find", "merge", "draw", "parse"))
        yield dice.pick((f"def {verb}_{a}({b}, {c}=None):", f"class {a.title()}({b.title()}):",
                         f"# {words.clause(dice)}"))  # fmt: skip
        depth = 1
        for _ in range(dice.between(3, 9)):
            a, b, c = dice.several(names, 3)
            line = dice.pick(
                (
                    f"{a} = {b}.{c}({dice.between(0, 99)})",
                    f"{a} = [{b} for {b} in {c}]",
                    f'{a}["{b}"] = "{words.title(dice)}"',
                    f"self.{a} = {dice.real(0, 9):.2f} * {b}",
                    f"# {words.noun_phrase(dice)}",
                    f"if {a} > {dice.between(0, 999)} and not {b}:",
                    f"for {a} in {b}.{c}s():",
                )
            )
            yield "    " * depth + line
            depth = min(3, depth + 1) if line.endswith(":") else max(1, depth - dice.between(0, 1))
        yield f"    return {dice.pick(names)}"
        yield ""


def coloured(pen: Pen, x: int, y: int, right: int, line: str) -> None:
    """One line of code, each token in its colour."""
    keyword, string, comment, number, name = pen.theme.code
    face = pen.face("mono")
    wide = face.getlength("0")
    x += round(wide * (len(line) - len(line.lstrip())))
    text = line.strip()
    if text.startswith("#"):
        pen.text(x, y, text, comment, face=face, width=right - x)
        return
    start = 0
    for whole in _tokens(text):
        at = x + round(wide * start)
        start += len(whole)
        token = whole[: max(0, int((right - at) / wide))]
        bare = token.strip()
        called = text[start : start + 1] == "("
        kinds = ((bare in _KEYWORDS, keyword), (bare.startswith('"'), string),
                 (bare[:1].isdigit(), number), (called, name))  # fmt: skip
        pen.text(at, y, token, next((c for on, c in kinds if on), pen.theme.ink), face=face)


def _tokens(text: str) -> Iterator[str]:
    """Words, strings in double quotes, and single other characters."""
    quoted = text.split('"')
    for i, part in enumerate(quoted):
        if i % 2:
            yield f'"{part}"'
            continue
        for alike, letters in itertools.groupby(part, key=lambda c: c.isalnum() or c in "_."):
            run = "".join(letters)
            yield from ([run] if alike else run)


def session(dice: Dice) -> list[str]:
    """One command and its output."""
    names = dice.several(words.NOUNS, 6)
    kind = dice.between(0, 4)
    if kind == 0:
        sizes = [f"{dice.between(100, 99999):6d} {words.short_date(dice)}" for _ in names]
        rows = [f"-rw-r--r-- 1 root {s} {n}.txt" for s, n in zip(sizes, names, strict=True)]
        return [f"ls -l {names[0]}", *rows]
    if kind == 1:
        places = [f"src/{n}.c:{dice.between(1, 999)}" for n in names[1:4]]
        return [f"grep -rn {names[0]} src", *(f"{p}: {words.noun_phrase(dice)}" for p in places)]
    if kind == 2:
        rows = [f"test_{n} ... ok ({dice.real(0, 3):.2f} s)" for n in names]
        return ["make test", *rows, f"Ran {dice.between(6, 400)} tests: passed"]
    if kind == 3:
        return ["git status", "On branch main", *(f"    modified:   {n}.py" for n in names[:3])]
    return [f"cat {names[0]}.txt", *(words.clause(dice) for _ in range(dice.between(1, 4)))]
