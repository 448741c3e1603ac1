"""What README.md and docs/ promise: links lead somewhere, commands parse, the site has every page."""

import functools
import importlib
import re
import shlex
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tyro
import yaml

import interfero
from interfero.cli import codecs, map, pool, store
from interfero.cli.main import COMMANDS
from interfero.engine import packs
from interfero.engine.adaptation.study import AdaptationStudy
from interfero.engine.options.parsing import parse_options
from interfero.engine.restoration import plan as restoration_plan
from interfero.engine.restoration.study import RestorationStudy
from interfero.engine.sequence import plan as sequence_plan
from interfero.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILES = [
    path
    for folder in (
        "platform",
        "trainables",
        "sweeps",
        "tests",
        "tools",
        "benchmarks",
        "clusters",
        "findings",
    )
    for path in (ROOT / folder).rglob("*.*")
] + list(ROOT.glob("*.yaml"))
MADE = {"index.md", "contributing.md", "changelog.md"}
"""Pages of the site that tools/site_pages.py makes of files at the top of the repository."""
GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "codecs": {"list": codecs.codecs, "import": codecs.import_command, "export": codecs.export_command},
    "map": {"export": map.export_command},
    "pool": {"start": pool.start_command, "stop": pool.stop_command, "status": pool.status_command},
    "store": {"list": store.list_command, "verify": store.verify_command, "prune": store.prune_command},
}  # fmt: skip
FENCE = re.compile(r"^```.*?^```\n", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\.venv/bin/)?(python|interfero|make|pytest)\s")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The fragments that GitHub and MkDocs make of a page's headings."""
    titles = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", FENCE.sub("", text)))
    for link in links:
        if link.startswith(("https://", "http://")):
            continue
        place, _, fragment = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{link}: no such file"
        if fragment:
            assert fragment in anchors(target.read_text()), f"{link}: no such heading"
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    used = set(re.findall(r"[^`\w]\[(arXiv:[^\]]+)\][^(:]", text))
    assert used <= defined


def code(text: str) -> Iterator[str]:
    """Lines of a page's code blocks, continued ones joined, and its code spans."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = FENCE.sub("\n", text)
    blocks += re.findall(r"(?:^    .+\n)+", rest, re.MULTILINE)
    for block in blocks:
        values = dict(re.findall(r'^(\w+)="(.*?)"', block, re.DOTALL | re.MULTILINE))
        for key, value in values.items():
            block = block.replace(f"${key}", value)
        for line in block.replace("\\\n", " ").splitlines():
            yield line.strip()
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))


def commands(page: Path) -> list[list[str]]:
    """Commands of ours on a page, each as its words."""
    found = [line for line in code(page.read_text()) if COMMAND.match(line)]
    parts = [part for line in found for part in line.split(" && ") if COMMAND.match(part)]
    return [shlex.split(part.replace("...", ""), comments=True) for part in parts]


def read_options(function: Callable[..., Any], arguments: list[str]) -> None:
    """Read a command's options without doing what it does."""

    @functools.wraps(function)
    def nothing(*args: Any, **kwargs: Any) -> None:
        """Stands in for the command."""

    tyro.cli(nothing, args=arguments)


def check_sweep(script: str, arguments: list[str]) -> None:
    sweep = importlib.import_module(f"sweeps.{Path(script).stem}").SWEEP
    parse_options(sweep.options, arguments, "").check()


def check_script(script: str, arguments: list[str]) -> None:
    """Benchmarks and tools import what they measure: their options are looked for in their text."""
    text = (ROOT / script).read_text()
    for option in (word for word in arguments if word.startswith("--")):
        field = option.removeprefix("--").replace("-", "_")
        assert option in text or re.search(rf"\b{field}: ", text), f"{script} has no {option}"


def check_interfero(arguments: list[str]) -> None:
    """A command that is only named, without arguments, has to exist; any other has to parse."""
    command, *rest = arguments
    if command in GROUPS:
        word, *rest = rest or ["list"]
        function = GROUPS[command][word]
    elif command != "--help":
        function = COMMANDS[command]
    if rest:
        read_options(function, rest)


def check(words: list[str]) -> None:
    program, *arguments = words
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {w for w in arguments if w.isalpha()} <= targets
    elif program == "interfero":
        check_interfero(arguments)
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in arguments)
    elif arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
    elif arguments[0] == "-m":
        module = arguments[1].replace(".", "/")
        known = arguments[1].partition(".")[0] in ("pytest", "compressai", "mkdocs")
        assert known or (ROOT / f"{module}.py").is_file()
        if arguments[1] == "trainables.source":
            check_script("trainables/source.py", arguments)
    elif arguments[0].startswith("sweeps/"):
        # The README's table writes "python sweeps/..." above the names.
        if arguments != ["sweeps/"]:
            check_sweep(arguments[0], arguments[1:])
    else:
        check_script(arguments[0], arguments[1:])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page):
    for words in commands(page):
        try:
            check(words)
        except (SystemExit, Exception) as error:
            pytest.fail(f"{' '.join(words)}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page):
    """In code spans; a path may leave out the folders above it, as a reader would."""
    spans = re.findall(r"`([^`\s]+\.(?:py|sh|yaml))`", FENCE.sub("", page.read_text()))
    foreign = {"examples/train.py"}
    for span in set(spans) - foreign:
        assert any(path.match(span) for path in FILES), f"no file {span}"


def test_reliability_says_what_each_target_runs():
    """Of the files that it names, `make test` leaves those out that the Makefile keeps for `make faults`."""
    makefile, page = (ROOT / name for name in ("Makefile", "docs/reliability.md"))
    found = re.search(r"^CLUSTER_FAULTS := ((?:.*\\\n)*.*)$", makefile.read_text(), re.MULTILINE)
    kept = set(re.findall(r"test_\w+\.py", found[1]))
    named, _, rest = page.read_text().partition("Of these files, `make test` runs ")
    said = set(re.findall(r"test_\w+\.py", rest.partition("`make faults` runs")[0]))
    assert said == set(re.findall(r"test_\w+\.py", named)) - kept
    faults = {path.name for path in (ROOT / "tests/faults").glob("test_*.py")}
    assert faults - kept == {"test_signals.py", "test_storage.py"}, (
        "make faults runs all of tests/faults/"
    )


def test_the_commands_are_found():
    found = [" ".join(words) for page in PAGES for words in commands(page)]
    assert {"make demo", "make test", "interfero store verify"} <= set(found)
    assert sum(line.startswith("python sweeps/") for line in found) > 10


@pytest.mark.parametrize("wrong", [
    "python sweeps/adapter_capacity.py --no-such-option 1", "python sweeps/none.py --smoke",
    "interfero encode picture.png", "interfero codecs nothing", "interfero nothing",
    "make nothing", "pytest tests/none.py", "python tools/join_cells.py --no-such-option",
])  # fmt: skip
def test_wrong_commands_are_noticed(wrong, capsys):
    with pytest.raises((SystemExit, AssertionError, KeyError, ImportError, ConfigError)):
        check(shlex.split(wrong))


def test_the_site_shows_every_page():
    text = (ROOT / "mkdocs.yml").read_text()
    nav = yaml.safe_load(text)["nav"]
    shown = set(re.findall(r"'([\w.]+\.md)'", str(nav)))
    assert shown == MADE | {page.name for page in (ROOT / "docs").glob("*.md")}


def test_the_reference_has_every_public_name():
    places = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    shown = {}
    for place in places:
        module, _, last = place.rpartition(".")
        shown[last] = getattr(importlib.import_module(module), last, None)
    for public in interfero.__all__:
        assert shown[public] is getattr(interfero, public)


@pytest.mark.parametrize("plan", [restoration_plan, sequence_plan])
def test_every_kind_of_node_has_its_place_among_the_packs(plan):
    (union, _) = typing.get_args(packs.AnyNode)
    kinds = {
        node.kind
        for node in typing.get_args(union)
        if node.__module__ == plan.__name__.replace(".plan", ".nodes")
    }
    assert set(plan._ORDER) == kinds


def test_the_recipe_of_a_kind_of_node_names_what_the_code_needs():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    recipe = text.partition("## Add a kind of node\n")[2].partition("\n## ")[0]
    hashed = {f.name for study in (AdaptationStudy, RestorationStudy) for f in fields(study)}
    needed = {"_ORDER", "AnyNode", "identity", *hashed - {"make_runner", "answer"}}
    assert {name for name in needed if f"`{name}`" not in recipe} == set()
    assert len(re.findall(r"^\d+\. ", recipe, re.MULTILINE)) <= 10
