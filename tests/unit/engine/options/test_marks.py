"""Every option says where it stands in --help; what a kind of sweep lacks is accepted and not shown."""

import pytest

from interfero.engine.options import marks
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.base import SweepOptions, free_options
from interfero.engine.options.marks import OptionGroup
from interfero.engine.options.parsing import parse_options
from interfero.engine.options.restoration import RestorationOptions
from interfero.errors import ConfigError

KINDS = (AdaptationOptions, RestorationOptions)
FREE = {
    "name", "storage", "resume", "reuse", "packs", "max_failed", "dry_run", "list_cells",
    "accept_code_change", "checkpoint_seconds", "max_concurrent", "address", "num_samples",
    "calibrate", "max_domain_memory", "pool", "price_per_pack_hour",
}  # fmt: skip
"""What --resume may change: a name less, and a resumption is refused; a name more, and it mixes numbers."""
HIDDEN = {
    "source": ("other", "--source other"), "source_domain": ("x", "--source-domain x"),
    "sampler": ("tpe", "--sampler tpe"), "early_stopping": ("asha", "--early-stopping asha"),
    "calibrate": (True, "--calibrate"),
}  # fmt: skip
"""Options of adaptation sweeps that outside tools pass to every sweep."""


def is_hidden(field):
    return marks.HIDDEN in field.metadata


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_that_is_shown_has_a_group_and_words(kind):
    for name, field in kind.model_fields.items():
        assert field.description, name
        groups = [mark for mark in field.metadata if isinstance(mark, OptionGroup)]
        assert len(groups) == (0 if is_hidden(field) else 1), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_resumption_may_change_is_what_decides_no_number(kind):
    assert free_options(kind) == FREE


def help_of(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        parse_options(kind(), ["--help"], "Why?")
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_of_a_restoration_sweep_leaves_out_what_it_has_not(capsys, monkeypatch):
    shown = help_of(RestorationOptions, capsys, monkeypatch)
    for name in (*HIDDEN, "num_samples", "packs"):
        option = f"--{name.replace('_', '-')} "
        assert option not in shown, option
    for option in ("--codecs", "--rates", "--init-seeds", "--resume", "--max-concurrent"):
        assert f"{option} " in shown
    adaptation = help_of(AdaptationOptions, capsys, monkeypatch)
    assert all(f"--{name.replace('_', '-')} " in adaptation for name in HIDDEN)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_option_is_read_and_refused_by_name(name):
    value, said = HIDDEN[name]
    given = [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    options = parse_options(RestorationOptions(), given, "Why?")
    assert getattr(options, name) == value
    with pytest.raises(ConfigError, match=said):
        options.check()


def test_all_sweeps_take_what_tools_pass_to_all():
    for kind in KINDS:
        assert set(SweepOptions.model_fields) <= set(kind.model_fields)
        given = ["--name", "n", "--storage", "s", "--max-concurrent", "1", "--no-packs"]
        options = parse_options(kind(domains=("x",)), given, "Why?")
        assert (options.name, options.storage, options.packs) == ("n", "s", False)


def test_help_breaks_lines_where_the_terminal_ends_and_not_the_docstring(capsys, monkeypatch):
    for line in help_of(AdaptationOptions, capsys, monkeypatch).splitlines():
        assert not line.strip("│ ").startswith("continues from where a shorter one")
