"""Commands that are changed, or put together of what cells tell: each of them runs as it is printed.

A command can name a cell's images again where they are bundled or were typed; how many cells it plans is told
from its words, as its `--dry-run` would.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from interfero.adaptation.table import METHOD_TABLE, MethodEntry
from interfero.domains.bundled_images import BUNDLED_IMAGES
from interfero.domains.graded_names import expanded, parse_graded
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.records import CellRecord

SMOKE = "--smoke"
NAME, STORAGE = "--name", "--storage"
SURER = "surer"
"""What a sweep is called whose command is put together; with a number where there are several."""
NOWHERE = "path/to/"
ALL = "all"
SIZES = {"residual_adapter": (1, 3)}
"""Of methods that have only some."""
SEARCHES = ("random", "tpe", "nsga2")
NUM_SAMPLES = 16
"""Cells of a block that a search asks for, unless it is told otherwise."""
_DEFAULTS = {"--source": "mbt2018-mean", "--init-seeds": "0"}
"""Of sweeps; a command that is put together leaves them out."""
Rates = tuple[float, ...]
Images = Literal["bundled", "other", "unknown"]
_Of = TypeVar("_Of")


@dataclass(frozen=True)
class Next:
    """What would make an answer surer."""

    reasons: tuple[str, ...]
    command: str
    """One a line; empty where the sweep's own is not known."""
    size: str = ""
    """How many cells that is, how many were run, the time; empty where options of the sweep's own decide."""

    @property
    def one_report(self) -> str:
        """The command that makes one report of several sweeps; empty for one, or where one has no name."""
        each = [words_of(line) for line in self.command.splitlines()]
        if len(each) < 2 or not all(NAME in own for own in each):
            return ""
        folders = [
            f"{own.get(STORAGE, ['interfero-storage'])[0].removeprefix('file://')}/{own[NAME][0]}/report"
            for own in each
        ]
        return shlex.join(["interfero", "report", "--cells", *folders])


def words_of(command: str) -> dict[str, list[str]]:
    """The words behind each option, and behind the first word, which is the program."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in shlex.split(command):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            values = found[name.replace("_", "-")] = [value] if equals else []
        elif found:
            values.append(word)
        else:
            values = found[word] = []
    return found


def smoke_reasons(command: str) -> list[str]:
    """What a smoke run's next step costs."""
    if SMOKE not in shlex.split(command):
        return []
    return [
        f"{SMOKE} keeps few steps and images, and the first value of other options: the command is without "
        "it, a whole sweep"
    ]


def again(command: str, changes: Mapping[str, Sequence[str]]) -> str:
    """The command with the changes; the same sweep resumed if there are none."""
    if changes:
        return changed_command(command, changes)
    words = shlex.split(command)
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def changed_command(
    command: str, changes: Mapping[str, Sequence[str]], suffix: str = f"-{SURER}"
) -> str:
    """The command with other values of some options, under another name.

    It neither resumes a sweep, whose options it would change, nor is a smoke run, which drops the values.
    """
    options = {**words_of(command), **changes}
    if options.get(NAME):
        options[NAME] = [f"{options[NAME][0]}{suffix}"]
    words = (w for option, own in options.items() for w in (option, *own))
    return shlex.join(word for word in words if word not in ("--resume", SMOKE))


def tried_rates(records: Iterable[CellRecord]) -> dict[str, Rates]:
    """The grid of each method, rates of failed cells too."""
    found: dict[str, set[float]] = defaultdict(set)
    for record in records:
        found[str(record.params["method"])].add(float(record.params["learning_rate"]))
    return {method: tuple(sorted(rates)) for method, rates in sorted(found.items())}


def texts(rates: Iterable[float]) -> list[str]:
    """Numbers as they are typed."""
    return [f"{rate:g}" for rate in rates]


def joined(options: Mapping[str, Sequence[str]]) -> str:
    """The words of a command: an option with no value is left out."""
    return shlex.join(w for option, own in options.items() if own for w in (option, *own))


def named(lines: Sequence[str]) -> list[str]:
    """Commands that are put together, each with a name for its sweep."""
    if len(lines) == 1:
        return [f"{lines[0]} {NAME} {SURER}"]
    return [f"{line} {NAME} {SURER}-{number}" for number, line in enumerate(lines, 1)]


def options_of(records: Sequence[CellRecord], typed: Mapping[str, str]) -> dict[str, list[str]]:
    """Options of a sweep over the same grid, by what the cells tell, without those that are defaults."""

    def values(name: str) -> list[str]:
        found = {r.params[name] for r in records if r.params.get(name) is not None}
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(found)]

    def above_zero(name: str) -> list[str]:
        return [text for text in values(name) if float(text)]

    loops = [json.loads(r.provenance.get("loop", "{}")) for r in records]
    # Said even if it is float32: what `auto` means is another machine's answer.
    precisions = sorted({loop["precision"] for loop in loops if "precision" in loop})

    def of_loop(name: str) -> list[str]:
        found = [loop[name] for loop in loops if name in loop]
        return [str(max(found))] if found else []

    options = {
        "python": ["sweeps/adapter_capacity.py"],
        "--source": values("codec"),
        "--source-domain": [
            text
            for name in sorted(_sources(records))
            if (text := source_domain(name, records, typed))
        ],
        "--domains": [target_domain(name, records, typed) for name in values("domain")],
        "--methods": values("method"), "--adapter-sizes": above_zero("adapter_size"),
        "--strengths": above_zero("strength"), "--lambdas": values("rd_lambda"),
        "--num-images": image_counts(records), "--learning-rates": [],
        "--num-steps": values("num_steps"), "--batch-size": of_loop("batch_size"),
        "--crop-size": of_loop("crop_size"), "--precision": precisions if len(precisions) == 1 else [],
        "--max-target-images": of_loop("max_target_images"),
        "--max-source-images": of_loop("max_source_images"), "--data-seeds": values("data_seed"),
        "--init-seeds": values("init_seed"),
    }  # fmt: skip
    return {o: v for o, v in options.items() if v != [_DEFAULTS.get(o)]}


def image_counts(records: Iterable[CellRecord]) -> list[str]:
    """Counts that every domain has; where the largest differ, `all`, which each domain reads as its own."""
    counts = _counts_of(records)
    shared = [str(n) for n in sorted(set.intersection(*counts.values()))]
    return shared if len(set(map(max, counts.values()))) == 1 else [*shared, ALL]


def by_value(found: Mapping[str, _Of]) -> dict[_Of, list[str]]:
    """Names that have the same value, in their order."""
    names: dict[_Of, list[str]] = defaultdict(list)
    for name, value in found.items():
        names[value].append(name)
    return dict(names)


def _counts_of(records: Iterable[CellRecord]) -> dict[str, set[int]]:
    """Image counts of each domain, in the order of the cells."""
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        counts[str(record.params["domain"])].add(int(record.params["num_images"]))
    return counts


def typed_domains(commands: Iterable[str]) -> dict[str, str]:
    """By name, what was typed for a domain: `thing=photos/thing`, or the name alone."""
    found: dict[str, str] = {}
    for command in commands:
        for option, words in words_of(command).items():
            for word in words if option in ("--domains", "--source-domain") else ():
                found.setdefault(word.partition("=")[0], word)
    return found


def target_domain(name: str, records: Iterable[CellRecord], typed: Mapping[str, str]) -> str:
    """What to type for a target: as it was typed, a bundled one by its name, else with a place to fill in."""
    return typed.get(name) or _named(name, _of_target(name, records))


def source_domain(name: str, records: Iterable[CellRecord], typed: Mapping[str, str]) -> str:
    """The same for a source domain; empty for the default, which a command leaves out."""
    text = typed.get(name) or _named(name, _of_source(name, records))
    return "" if text == DEFAULT_SOURCE else text


def domain_reasons(records: Sequence[CellRecord], typed: Mapping[str, str]) -> list[str]:
    """What a reader has to know of the images that a command would run: they may be others."""
    targets = {str(r.params["domain"]) for r in records} - typed.keys()
    kinds = {name: _of_target(name, records) for name in sorted(targets)}
    sources = sorted(_sources(records) - typed.keys())
    kinds |= {f"{name} (source)": _of_source(name, records) for name in sources}
    found, lines = by_value(kinds), []
    others = found.get("other", [])
    if changed := [n for n in others if n.removesuffix(" (source)") in BUNDLED_IMAGES]:
        has = "has" if len(changed) == 1 else "have"
        lines.append(
            f"{', '.join(changed)} {has} other images here than the bundled domain of that name"
        )
    if "unknown" in found:
        lines.append(
            f"the cells do not say whether {', '.join(found['unknown'])} is the bundled domain of that name: "
            "if it is not, give its folder as NAME=PATH"
        )
    return lines


def unknown_folders() -> str:
    """What a command with `NOWHERE` in it still needs."""
    return f"where the images are is not known: put their folders in place of {NOWHERE}"


def domains_by_counts(
    records: Sequence[CellRecord], typed: Mapping[str, str], *, all_asked: bool
) -> dict[tuple[str, ...], list[str]]:
    """Domains by the image counts that their cells have: one command has one list of counts for all.

    Args:
        records: Cells.
        typed: By name, what was typed for a domain.
        all_asked: Whether the largest count of each domain is what `all` gave it.
    """
    counts = dict(sorted(_counts_of(records).items()))
    texts: dict[str, tuple[str, ...]] = {}
    for name, own in counts.items():
        largest = max(own)
        bundled = name not in typed and _of_target(name, records) == "bundled"
        whole = all_asked or (bundled and BUNDLED_IMAGES[name].num_images == largest)
        texts[name] = tuple(ALL if whole and n == largest else str(n) for n in sorted(own))
    if len(set(texts.values())) > 1 and len(set(map(max, counts.values()))) == 1:
        # Some may be asked for all that they have, and others for the same number.
        texts = {name: tuple(map(str, sorted(own))) for name, own in counts.items()}
    return by_value(texts)


def _named(name: str, images: Images) -> str:
    return f"{name}={NOWHERE}{name}" if images == "other" else name


def _of_target(name: str, records: Iterable[CellRecord]) -> Images:
    own = [r for r in records if r.params["domain"] == name]
    hashes = {r.provenance.get("domain_hash", "") for r in own} - {""}
    least = min((int(r.params["num_images"]) for r in own), default=0)
    return _images(name, hashes, least)


def _of_source(name: str, records: Iterable[CellRecord]) -> Images:
    own = [r for r in records if r.provenance.get("source_domain") == name]
    return _images(name, {r.provenance.get("source_domain_hash", "") for r in own} - {""}, 0)


def _sources(records: Iterable[CellRecord]) -> set[str]:
    return {r.provenance.get("source_domain", "") for r in records} - {""}


def _images(name: str, hashes: set[str], least: int) -> Images:
    """Whether hashes of a domain's images are those of the bundled domain that has its name."""
    known, graded = BUNDLED_IMAGES.get(name), parse_graded(name)
    if known is None:
        return "unknown" if graded is not None and graded.base in BUNDLED_IMAGES else "other"
    if known.fingerprint in hashes:
        return "bundled"
    # A subset that took drawn images has their hash, too.
    return "unknown" if not hashes or (known.drawn and least > known.num_images) else "other"


def planned_cells(command: str, records: Sequence[CellRecord], *, known: bool) -> int:
    """Cells that a command plans.

    Args:
        command: One line.
        records: The cells that it goes on from: an option that the command leaves out had their values.
        known: Whether it is their own sweep's, changed. Else it is put together of them, and learning rates
            and strengths that it leaves out are each method's own.
    """
    given = words_of(command)
    counts = _image_counts(given, records)
    lambdas, seeds = (
        len(given.get(option) or _levels(records, name))
        for option, name in (("--lambdas", "rd_lambda"), ("--data-seeds", "data_seed"))
    )
    if given.get("--sampler", [""])[0] in SEARCHES:
        samples = int(given.get("--num-samples", [str(NUM_SAMPLES)])[0])
        return sum(counts) * lambdas * seeds * samples
    methods = given.get("--methods") or _levels(records, "method")
    steps = len(set(given.get("--num-steps") or _levels(records, "num_steps")))
    star = given["--design"] == ["star"] if "--design" in given else known and is_star(records)
    total = 0
    for method in methods:
        sizes = _num_sizes(method, given, records)
        axes = [(lambdas, count, steps, sizes) for count in counts]
        places = (1 + sum(n - 1 for n in a) if star else math.prod(a) for a in axes)
        total += sum(places) * _points(method, given, records, known=known)
    return total * seeds


def is_star(records: Iterable[CellRecord]) -> bool:
    """Whether cells are a star (`--design star`), and no grid: two axes or more, each left alone.

    The axes are lambda, images, steps and size; a centre is a cell that none of its domain and method leaves
    by more than one of them.
    """
    places: dict[tuple[Any, Any], set[tuple[Any, ...]]] = defaultdict(set)
    for record in records:
        params = record.params
        axes = tuple(
            params.get(n) for n in ("rd_lambda", "num_images", "num_steps", "adapter_size")
        )
        places[params["domain"], params["method"]].add(axes)

    def off(a: Iterable[Any], b: Iterable[Any]) -> int:
        return sum(x != y for x, y in zip(a, b, strict=True))

    crossed = any(
        sum(len(set(values)) > 1 for values in zip(*found, strict=True)) > 1
        for found in places.values()
    )
    centred = all(
        any(all(off(place, centre) <= 1 for place in found) for centre in found)
        for found in places.values()
    )
    return crossed and centred


def time_text(planned: Iterable[tuple[str, float]], records: Sequence[CellRecord]) -> str:
    """`; about 3.2 hours of computing, at the times of these cells`; empty where a time is not known.

    Args:
        planned: Each command with how many cells it plans.
        records: The cells that they go on from: a command's cells take what those of its methods took.
    """
    total = 0.0
    for line, count in planned:
        methods = words_of(line).get("--methods") or _levels(records, "method")
        times = [r.seconds for r in records if r.params["method"] in methods and r.seconds > 0]
        if not times:
            return ""
        total += count * statistics.fmean(times)
    lasts = f"{total / 3600:.1f} hours" if total >= 5400 else f"{max(1.0, total / 60):.0f} minutes"
    return f"; about {lasts} of computing, at the times of these cells"


def _levels(records: Iterable[CellRecord], name: str) -> list[str]:
    return sorted({str(r.params[name]) for r in records})


def _image_counts(given: Mapping[str, list[str]], records: Sequence[CellRecord]) -> list[int]:
    """How many image counts each domain has; `all` and the same number in figures are one."""
    counts = _counts_of(records)
    typed = expanded(given.get("--domains", ()))
    domains = [spec.partition("=")[0] for spec in typed] or list(counts)
    asked, found = given.get("--num-images"), []
    for domain in domains:
        own = counts.get(domain, {0})
        found.append(len({max(own) if n == ALL else int(n) for n in asked} if asked else own))
    return found


def _num_sizes(method: str, given: Mapping[str, list[str]], records: Iterable[CellRecord]) -> int:
    """Adapter sizes of a method: those asked for that it has, else those that its cells had."""
    if METHOD_TABLE.get(method, MethodEntry()).size_unit is None:
        return 1
    asked, allowed = [int(v) for v in given.get("--adapter-sizes", ())], SIZES.get(method)
    own = [r for r in records if r.params["method"] == method]
    return len([v for v in asked if allowed is None or v in allowed]) or len(
        _levels(own, "adapter_size")
    )


def _points(
    method: str, given: Mapping[str, list[str]], records: Sequence[CellRecord], *, known: bool
) -> int:
    """Strengths x learning rates x initial seeds, as far as a method has them."""
    entry = METHOD_TABLE.get(method, MethodEntry())
    own = [r for r in records if r.params["method"] == method]
    strengths = 1
    if entry.strength_unit is not None:
        tried = {float(r.params.get("strength", 0)) for r in own} if known else entry.strengths
        strengths = len(given.get("--strengths") or tried)
    rates = given.get("--learning-rates") or (
        _levels(own, "learning_rate") if known and own else entry.learning_rates
    )
    seeds = given.get("--init-seeds") or (_levels(records, "init_seed") if known else ["0"])
    return strengths * len(rates) * (len(seeds) if entry.random_init else 1)
