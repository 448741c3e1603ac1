"""What `--help` says of every option of every command and sweep: its default, once."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from interfero.cli.main import COMMANDS, main
from interfero.engine.options.parsing import parse_options

SWEEPS = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "sweeps").glob("*.py"))
GROUPS = {
    "codecs": ("list", "import", "export"), "map": ("export",), "pool": ("start", "stop", "status"),
    "store": ("list", "verify", "prune"),
}  # fmt: skip
PARSERS = [
    *((name,) for name in COMMANDS if name not in GROUPS),
    *((group, name) for group, names in GROUPS.items() for name in names),
]


@pytest.fixture
def entries(capsys, monkeypatch):
    """The lines of a help by option, each joined to one."""
    # So narrow that groups stand one below the other.
    monkeypatch.setenv("COLUMNS", "80")

    def made(run):
        with pytest.raises(SystemExit) as end:
            run()
        assert end.value.code == 0
        found = {}
        for line in capsys.readouterr().out.splitlines():
            # A stream without an encoding, as here, has no frames.
            if not line.startswith(("│ ", "  ")) or not line.strip("│ "):
                continue
            text = line.strip("│ ")
            # Options and positional arguments begin at the left; their text is further in.
            if line[2] != " ":
                name, _, text = text.partition("  ")
                name = f"{name} {len(found)}" if name in found else name
                found[name] = ""
            found[name] = f"{found[name]} {text.strip()}".strip()
        return {name: text for name, text in found.items() if not name.startswith("-h, --help")}

    return made


def check(entries):
    for name, text in entries.items():
        assert text, name
        said = len(re.findall(r"\bdefaults?\b", text.lower()))
        other = "(required)" in text or "(repeatable)" in text
        assert said == (0 if other else 1), f"{name}: {text}"
        assert "default: )" not in text, f"{name}: {text}"
        assert "default: None" not in text, f"{name}: {text}"


@pytest.mark.parametrize("command", PARSERS, ids=" ".join)
def test_help_of_a_command_says_each_default_once(command, entries, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["interfero", *command, "--help"])
    found = entries(main)
    assert found or command in (("codecs", "list"), ("pool", "stop"), ("pool", "status"))
    check(found)


@pytest.mark.parametrize("name", SWEEPS)
def test_help_of_a_sweep_says_each_default_once(name, entries):
    sweep = importlib.import_module(f"sweeps.{name}").SWEEP
    found = entries(lambda: parse_options(sweep.options, ["--help"], sweep.question))
    assert len(found) > 20
    check(found)
    steps = next(text for option, text in found.items() if option.startswith("--num-steps"))
    budgets = " ".join(map(str, sweep.options.budgets))
    assert steps.endswith(f"(default: {budgets})")
