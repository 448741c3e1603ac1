"""What would make an answer surer, and the commands that do it: each of them runs as it is printed."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from interfero.adaptation.table import METHOD_TABLE, MethodEntry
from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import (
    CONTROL,
    Choice,
    choose_learning_rates,
    missing_settings,
    seed_of,
    setting_of,
    unbracketed,
)
from interfero.analysis.focus import centre_text, in_centre
from interfero.domains.bundled import BUNDLED
from interfero.domains.graded_names import parse_graded
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.records import CellRecord

MIN_SEEDS = 5
"""That a suggestion asks for: Student's t is then 2.8 standard errors wide, with three 4.3."""
MAX_FACTOR = 5
"""Between neighbours of a learning-rate grid; a wider gap is worth a rate in its middle."""
MAX_TIMES = 5
"""What a command may have of the cells that were run, before it is of the centre alone."""
MAX_CROSS = 1.5
"""Cells of the product over those that were run, from which they are a cross and no product."""
MAX_GRID = 8
"""Rates that are still a grid: a search draws more, and its option takes the ends of a range."""
_SMOKE = "--smoke"
NOWHERE = "path/to/"
_DEFAULTS = {"--source": "mbt2018-mean", "--source-domain": DEFAULT_SOURCE, "--init-seeds": "0"}
"""Of sweeps; a command that is put together leaves them out."""
_Rates = tuple[float, ...]


@dataclass(frozen=True)
class Next:
    """What would make an answer surer."""

    reasons: tuple[str, ...]
    command: str
    """One a line; empty where the sweep's own is not known."""
    size: str = ""
    """How many cells that is, and how many were run; empty where options of the sweep's own decide."""


def next_step(records: Sequence[CellRecord], *commands: str) -> Next | None:
    """More seeds, wider grids, the cells that failed; None where nothing of that is missing.

    Of a cross, and where all of it would be many times what was run, its centre is repeated: the cells that
    the answer is about.

    Args:
        records: All cells of a sweep, or of several.
        commands: What started each, as far as it is known. One is changed; of several, one is put together
            of what the cells tell, with the domains as they were typed.
    """
    known = [command for command in commands if command]
    command = known[0] if len(known) == 1 else ""
    # The control forgets least at the smallest rate of any grid: a wider one finds nothing for it.
    choices = [c for c in choose_learning_rates(records) if c.setting.method != CONTROL]
    changes, reasons = seed_changes(records)
    tried = _tried(records)
    wider = {m: rates for m, rates in _wider(choices).items() if rates != tried[m]}
    if wider:
        reasons += _rate_reasons(choices, wider)
    failed = sum(r.status == "failed" for r in records)
    absent = sum(m.num_failed == 0 for m in missing_settings(records))
    if failed or absent:
        parts = [f"{counted(failed, 'cell')} failed"] if failed else []
        parts += [f"{counted(absent, 'setting')} did not run"] if absent else []
        other = bool(changes or wider)
        reasons.append(tried_again(" and ".join(parts), command, changed=other))
    if not reasons:
        return None
    reasons += smoke_reasons(command)
    shared = len(set(tried.values())) == 1
    if not command and wider and shared and len(tried) > 1:
        reasons.append("all methods had one grid of learning rates: left away, each has its own")
        rates: dict[str, _Rates] = dict.fromkeys(tried, ())
    else:
        rates = {m: own if len(own) <= MAX_GRID else () for m, own in {**tried, **wider}.items()}
    part = _repeated(records, tried, rates, changes, known=bool(command))
    if part is not records:
        whole = counted(_num_cells(records, rates, changes), "cell")
        reasons.append(
            f"the command repeats the centre alone, {centre_text(records)}: every combination of what was "
            f"run would be {whole}"
        )
    size = "" if _SMOKE in shlex.split(command) else _size(part, records, rates, changes)
    if not command:
        together = "\n".join(_from_records(part, rates, changes, typed_domains(known)))
        if NOWHERE in together:
            reasons.append(unknown_folders())
        return Next(tuple(reasons), together, size)
    if part is not records:
        options = _options_of(part, {})
        changes |= {name: options[name] for name in ("--lambdas", "--num-images")}
    if shared and set(wider) >= set(tried) - {CONTROL} and len(set(wider.values())) == 1:
        changes["--learning-rates"] = _texts(next(iter(wider.values())))
        wider = {}
    lines = [again(command, changes)] if changes or failed or absent else []
    lines += [
        changed_command(command, {**changes, **own}, f"-surer-{own['--methods'][0]}")
        for own in _by_grid(wider)
    ]
    resumed_only = lines == [again(command, {})]
    return Next(tuple(reasons), "\n".join(lines), "" if resumed_only else size)


def _repeated(
    records: Sequence[CellRecord], tried: Mapping[str, _Rates], rates: Mapping[str, _Rates],
    changes: Mapping[str, Sequence[str]], *, known: bool,
) -> Sequence[CellRecord]:  # fmt: skip
    """The cells whose settings a command repeats: all, or the centre of a cross or of a large sweep."""
    # A command that is known makes the cells that it made; one that is put together makes a whole product.
    cross = not known and _num_cells(records, tried, {}) > MAX_CROSS * len(records)
    if not cross and _num_cells(records, rates, changes) <= MAX_TIMES * len(records):
        return records
    centre = in_centre(records)
    return centre if 0 < len(centre) < len(records) else records


def _num_cells(
    records: Sequence[CellRecord], rates: Mapping[str, _Rates], changes: Mapping[str, Sequence[str]]
) -> int:
    """Of the product of all that cells differ in.

    Args:
        records: Cells with the settings.
        rates: Each method's learning rates; none are its own.
        changes: Options with other values; `--data-seeds` is read.
    """
    names = ("domain", "codec", "rd_lambda", "num_steps")
    blocks = math.prod(len({r.params[name] for r in records}) for name in names)
    seeds = changes.get("--data-seeds") or {r.params["data_seed"] for r in records}
    variants: dict[str, set[tuple[int, float, int]]] = defaultdict(set)
    for record in records:
        setting = setting_of(record)
        variant = setting.adapter_size, setting.strength, seed_of(record)[1]
        variants[setting.method].add(variant)
    each = sum(
        len(own) * len(rates[method] or METHOD_TABLE.get(method, MethodEntry()).learning_rates)
        for method, own in variants.items()
    )
    return blocks * len(_image_counts(records)) * len(seeds) * each


def _size(
    part: Sequence[CellRecord], records: Sequence[CellRecord], rates: Mapping[str, _Rates],
    changes: Mapping[str, Sequence[str]],
) -> str:  # fmt: skip
    cells = counted(_num_cells(part, rates, changes), "cell")
    return f"That is {cells}, where {len(records)} were run"


def seed_changes(
    records: Iterable[CellRecord], kind: Literal["data", "init"] = "data"
) -> tuple[dict[str, list[str]], list[str]]:
    """The changed option where there are few seeds of a kind, and why."""
    seeds = sorted({int(r.params[f"{kind}_seed"]) for r in records})
    if not seeds or len(seeds) >= MIN_SEEDS:
        return {}, []
    more = range(seeds[-1] + 1, seeds[-1] + 1 + MIN_SEEDS - len(seeds))
    each = f"{counted(len(seeds), f'{kind} seed')} {'has' if len(seeds) == 1 else 'have'}"
    return (
        {f"--{kind}-seeds": [str(seed) for seed in [*seeds, *more]]},
        [f"{each} run: {MIN_SEEDS} make the intervals narrower"],
    )


def tried_again(what: str, command: str, *, changed: bool) -> str:
    """Why cells are missing, and what runs them: `again` resumes a sweep only if nothing else is changed."""
    resumed = command and not changed
    return f"{what}: {'--resume' if resumed else 'the command'} tries them again"


def smoke_reasons(command: str) -> list[str]:
    """What a smoke run's next step costs."""
    if _SMOKE not in shlex.split(command):
        return []
    return [
        f"{_SMOKE} keeps few steps and images, and the first value of other options: the command is without "
        "it, a whole sweep"
    ]


def again(command: str, changes: Mapping[str, Sequence[str]]) -> str:
    """The command with the changes; the same sweep resumed if there are none."""
    if changes:
        return changed_command(command, changes)
    words = shlex.split(command)
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def changed_command(
    command: str, changes: Mapping[str, Sequence[str]], suffix: str = "-surer"
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
    if "--name" in words[:-1]:
        words[words.index("--name") + 1] += suffix
    return shlex.join(word for word in words if word not in ("--resume", _SMOKE))


def _tried(records: Iterable[CellRecord]) -> dict[str, _Rates]:
    """The grid of each method, rates of failed cells too."""
    found: dict[str, set[float]] = defaultdict(set)
    for record in records:
        found[str(record.params["method"])].add(float(record.params["learning_rate"]))
    return {method: tuple(sorted(rates)) for method, rates in sorted(found.items())}


def _wider(choices: Iterable[Choice]) -> dict[str, _Rates]:
    """By method, its grid with what lies past an edge that was chosen, and inside gaps beside a choice."""
    grids: dict[str, set[float]] = defaultdict(set)
    chosen: dict[str, set[float]] = defaultdict(set)
    edges: dict[str, set[str | None]] = defaultdict(set)
    for choice in choices:
        method = choice.setting.method
        grids[method] |= {point.learning_rate for point in choice.grid}
        chosen[method] |= set(choice.learning_rates)
        edges[method] |= {pick.edge for pick in choice.picks}
    return {
        method: _more_rates(tuple(sorted(rates)), chosen[method], edges[method])
        for method, rates in grids.items()
        if 1 < len(rates) <= MAX_GRID
    }


def _more_rates(rates: _Rates, chosen: set[float], edges: set[str | None]) -> _Rates:
    step = math.sqrt(10)
    more = [_rounded(rates[0] / step, rates)] if "lowest" in edges else []
    more += [_rounded(rates[-1] * step, rates)] if "highest" in edges else []
    more += [
        float(f"{math.sqrt(low * high):.0e}")
        for low, high in pairwise(rates)
        if high / low > MAX_FACTOR and {low, high} & chosen
    ]
    known = {f"{rate:.0e}" for rate in rates}
    # 3.16e-4 and 3e-4 are one point of a grid; a rate of 1 is refused.
    return tuple(sorted({*rates, *(r for r in more if f"{r:.0e}" not in known and r < 1)}))


def _rounded(value: float, rates: _Rates) -> float:
    """To one digit; to 1 or 3 where the whole grid has these."""
    if not all(f"{rate:.0e}"[0] in "13" for rate in rates):
        return float(f"{value:.0e}")
    low = math.floor(math.log10(value))
    near = [float(f"{digit}e{low + up}") for up in (0, 1) for digit in (1, 3)]
    return min(near, key=lambda rate: abs(math.log(rate / value)))


def _texts(rates: Iterable[float]) -> list[str]:
    return [f"{rate:g}" for rate in rates]


def _rate_reasons(choices: Sequence[Choice], wider: Mapping[str, _Rates]) -> list[str]:
    few = unbracketed(choices)
    if few:
        return [few]
    at_edge = [
        c.setting.method for c in choices for p in c.picks if p.edge in ("lowest", "highest")
    ]
    total = sum(len(c.picks) for c in choices)
    reasons = []
    if at_edge:
        methods = ", ".join(dict.fromkeys(at_edge))
        verb = "is" if len(at_edge) == 1 else "are"
        reasons.append(
            f"{len(at_edge)} of {total} chosen learning rates {verb} at the edge of their grid ({methods})"
        )
    apart = [method for method in wider if method not in at_edge]
    if apart:
        reasons.append(
            f"the chosen learning rate is more than a factor of {MAX_FACTOR} from the next "
            f"({', '.join(apart)})"
        )
    return reasons


def _by_grid(rates: Mapping[str, _Rates]) -> list[dict[str, list[str]]]:
    """Options for the methods that share a grid: what one method needs makes another diverge."""
    methods: dict[_Rates, list[str]] = defaultdict(list)
    for method, own in rates.items():
        methods[own].append(method)
    return [
        {"--methods": members, "--learning-rates": _texts(own)} for own, members in methods.items()
    ]


def typed_domains(commands: Iterable[str]) -> dict[str, str]:
    """By name, what was typed for a domain: `thing=photos/thing`, or the name alone."""
    found: dict[str, str] = {}
    for command in commands:
        option = ""
        for word in shlex.split(command):
            if word.startswith("--"):
                option = word
            elif option in ("--domains", "--source-domain"):
                found.setdefault(word.partition("=")[0], word)
    return found


def _domain(name: str, typed: Mapping[str, str]) -> str:
    """What to type for a domain: as it was typed, a bundled one by its name, else with a place to fill in."""
    graded = parse_graded(name)
    if name in typed or name in BUNDLED or (graded is not None and graded.base in BUNDLED):
        return typed.get(name, name)
    return f"{name}={NOWHERE}{name}"


def _from_records(
    records: Sequence[CellRecord], rates: Mapping[str, _Rates], changes: Mapping[str, Sequence[str]],
    typed: Mapping[str, str],
) -> list[str]:  # fmt: skip
    """Sweeps over the same grid, of cells whose own command is not known: one for each set of rates."""
    options = _options_of(records, typed)
    return [_joined({**options, **own, **changes}) for own in _by_grid(rates)]


def sequence_command(records: Sequence[CellRecord], changes: Mapping[str, Sequence[str]]) -> Next:
    """The sweep over sequences that has the same chains with the changes, put together of what rows tell."""
    rows = [r for r in records if r.params["sequence"] and r.params["method"] != "source"]
    orders = sorted({str(r.params["sequence"]) for r in rows})
    whole = [o for o in orders if not any(other.startswith(f"{o}>") for other in orders)]

    def values(name: str) -> list[str]:
        return sorted({str(r.params.get(name, "none")) for r in rows} - {"0", "none"})

    options = {
        **_options_of(rows, {}),
        "python": ["sweeps/domain_sequence.py"],
        "--num-images": values("images_asked") or _image_counts(rows), "--orders": whole,
        "--memory-images": values("memory_images"), "--buffers": values("buffer"),
    }  # fmt: skip
    together = _joined({**options, **changes})
    tried, cells = _tried(rows), Counter(str(r.params["method"]) for r in rows)
    seeds = len(changes.get("--data-seeds", ())) / len({r.params["data_seed"] for r in rows}) or 1
    size = sum(
        n * seeds * len(METHOD_TABLE.get(method, MethodEntry()).learning_rates) / len(tried[method])
        for method, n in cells.items()
    )
    reasons = (unknown_folders(),) if NOWHERE in together else ()
    return Next(reasons, together, f"That is about {size:.0f} rows, where {len(records)} were run")


def _joined(options: Mapping[str, Sequence[str]]) -> str:
    return shlex.join(w for option, own in options.items() if own for w in (option, *own))


def unknown_folders() -> str:
    """What a command with `NOWHERE` in it still needs."""
    return f"where the images are is not known: put their folders in place of {NOWHERE}"


def _options_of(records: Sequence[CellRecord], typed: Mapping[str, str]) -> dict[str, list[str]]:
    def values(name: str) -> list[str]:
        found = {r.params[name] for r in records if r.params.get(name) is not None}
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(found)]

    def above_zero(name: str) -> list[str]:
        return [text for text in values(name) if float(text)]

    sources = {r.provenance.get("source_domain", "") for r in records}
    sources -= {"", _DEFAULTS["--source-domain"]}
    loops = [json.loads(r.provenance.get("loop", "{}")) for r in records]

    def of_loop(name: str) -> list[str]:
        return (
            [str(max(found))] if (found := [loop[name] for loop in loops if name in loop]) else []
        )

    options = {
        "python": ["sweeps/adapter_capacity.py"],
        "--source": values("codec"),
        "--source-domain": [_domain(name, typed) for name in sorted(sources)],
        "--domains": [_domain(name, typed) for name in values("domain")],
        "--methods": values("method"), "--adapter-sizes": above_zero("adapter_size"),
        "--strengths": above_zero("strength"), "--lambdas": values("rd_lambda"),
        "--num-images": _image_counts(records), "--learning-rates": [],
        "--num-steps": values("num_steps"), "--batch-size": of_loop("batch_size"),
        "--crop-size": of_loop("crop_size"), "--max-target-images": of_loop("max_target_images"),
        "--max-source-images": of_loop("max_source_images"), "--data-seeds": values("data_seed"),
        "--init-seeds": values("init_seed"),
    }  # fmt: skip
    return {o: v for o, v in options.items() if v != [_DEFAULTS.get(o)]}


def _image_counts(records: Iterable[CellRecord]) -> list[str]:
    """Counts that every domain has; where the largest differ, `all`, which each domain reads as its own."""
    counts: dict[str, set[int]] = defaultdict(set)
    for record in records:
        counts[str(record.params["domain"])].add(int(record.params["num_images"]))
    largest = {max(own) for own in counts.values()}
    shared = [str(n) for n in sorted(set.intersection(*counts.values()))]
    return shared if len(largest) == 1 else [*shared, "all"]
