"""Commands that are changed, or put together of what cells tell: each of them runs as it is printed."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interfero.analysis.next_domains import source_domain, target_domain
from interfero.records import CellRecord

SMOKE = "--smoke"
NAME, STORAGE = "--name", "--storage"
SURER = "surer"
"""What a sweep is called whose command is put together; with a number where there are several."""
_DEFAULTS = {"--source": "mbt2018-mean", "--init-seeds": "0"}
"""Of sweeps; a command that is put together leaves them out."""
Rates = tuple[float, ...]


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
    """The words behind each option."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in shlex.split(command):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            values = found[name.replace("_", "-")] = [value] if equals else []
        else:
            values.append(word)
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
    words = shlex.split(command)
    for option, values in changes.items():
        if option in words:
            start = words.index(option) + 1
            end = start
            while end < len(words) and not words[end].startswith("--"):
                end += 1
            words[start:end] = values
        else:
            words += [option, *values]
    if NAME in words[:-1]:
        words[words.index(NAME) + 1] += suffix
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

    sources = {r.provenance.get("source_domain", "") for r in records}
    sources -= {""}
    loops = [json.loads(r.provenance.get("loop", "{}")) for r in records]
    # Said even if it is float32: what `auto` means is another machine's answer.
    precisions = sorted({loop["precision"] for loop in loops if "precision" in loop})

    def of_loop(name: str) -> list[str]:
        return (
            [str(max(found))] if (found := [loop[name] for loop in loops if name in loop]) else []
        )

    options = {
        "python": ["sweeps/adapter_capacity.py"],
        "--source": values("codec"),
        "--source-domain": [
            text for name in sorted(sources) if (text := source_domain(name, records, typed))
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
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        counts[str(record.params["domain"])].add(int(record.params["num_images"]))
    largest = {max(own) for own in counts.values()}
    shared = [str(n) for n in sorted(set.intersection(*counts.values()))]
    return shared if len(largest) == 1 else [*shared, "all"]
