"""What would make an answer surer, and the commands that do it: each of them runs as it is printed."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
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
from interfero.analysis.next_command import (
    NOWHERE,
    SMOKE,
    Next,
    Rates,
    again,
    changed_command,
    image_counts,
    joined,
    options_of,
    smoke_reasons,
    texts,
    tried_rates,
    typed_domains,
    unknown_folders,
)
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
    wish, reasons = _wish(records, command)
    if not reasons:
        return None
    rates, why = _rates_of(wish)
    reasons += smoke_reasons(command) + why
    part = _repeated(records, wish.tried, rates, wish.changes, known=bool(command))
    if part is not records:
        reasons.append(_centre_reason(records, rates, wish.changes))
    size = "" if SMOKE in shlex.split(command) else _size(part, records, rates, wish.changes)
    if command:
        lines = _changed_lines(wish, None if part is records else part)
        return Next(tuple(reasons), "\n".join(lines), "" if lines == [again(command, {})] else size)
    together = "\n".join(_from_records(part, rates, wish.changes, typed_domains(known)))
    reasons += [unknown_folders()] if NOWHERE in together else []
    return Next(tuple(reasons), together, size)


@dataclass(frozen=True)
class _Wish:
    """What is missing of a sweep, or of several."""

    command: str
    """The sweep's own; empty where it is not known."""
    changes: dict[str, list[str]]
    """Options with other values."""
    tried: dict[str, Rates]
    """The grid of each method."""
    wider: dict[str, Rates]
    """Of those whose grid is to have more rates."""
    retried: bool
    """Whether cells failed or did not run."""

    @property
    def one_grid(self) -> bool:
        """Whether all methods had the same rates."""
        return len(set(self.tried.values())) == 1


def _wish(records: Sequence[CellRecord], command: str) -> tuple[_Wish, list[str]]:
    """What is missing, and why it is."""
    # The control forgets least at the smallest rate of any grid: a wider one finds nothing for it.
    choices = [c for c in choose_learning_rates(records) if c.setting.method != CONTROL]
    changes, reasons = seed_changes(records)
    tried = tried_rates(records)
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
    return _Wish(command, changes, tried, wider, bool(failed or absent)), reasons


def _rates_of(wish: _Wish) -> tuple[dict[str, Rates], list[str]]:
    """The rates of each method, none standing for its own, and why they are others than were asked for."""
    tried, wider = wish.tried, wish.wider
    if not wish.command and wider and wish.one_grid and len(tried) > 1:
        why = "all methods had one grid of learning rates: left away, each has its own"
        return dict.fromkeys(tried, ()), [why]
    return {m: own if len(own) <= MAX_GRID else () for m, own in {**tried, **wider}.items()}, []


def _centre_reason(
    records: Sequence[CellRecord], rates: Mapping[str, Rates], changes: Mapping[str, Sequence[str]]
) -> str:
    whole = counted(_num_cells(records, rates, changes), "cell")
    return (
        f"the command repeats the centre alone, {centre_text(records)}: every combination of what was "
        f"run would be {whole}"
    )


def _changed_lines(wish: _Wish, centre: Sequence[CellRecord] | None) -> list[str]:
    """The sweep's own command with the changes, and one for each grid of rates that is wider.

    Args:
        wish: What is missing.
        centre: The cells that are repeated; None if all of them are.
    """
    command, changes, wider = wish.command, dict(wish.changes), wish.wider
    if centre is not None:
        options = options_of(centre, {})
        changes |= {name: options[name] for name in ("--lambdas", "--num-images")}
    every = set(wider) >= set(wish.tried) - {CONTROL}
    if wish.one_grid and every and len(set(wider.values())) == 1:
        changes["--learning-rates"] = texts(next(iter(wider.values())))
        wider = {}
    lines = [again(command, changes)] if changes or wish.retried else []
    return lines + [
        changed_command(command, {**changes, **own}, f"-surer-{own['--methods'][0]}")
        for own in _by_grid(wider)
    ]


def _repeated(
    records: Sequence[CellRecord], tried: Mapping[str, Rates], rates: Mapping[str, Rates],
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
    records: Sequence[CellRecord], rates: Mapping[str, Rates], changes: Mapping[str, Sequence[str]]
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
    return blocks * len(image_counts(records)) * len(seeds) * each


def _size(
    part: Sequence[CellRecord], records: Sequence[CellRecord], rates: Mapping[str, Rates],
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


def _wider(choices: Iterable[Choice]) -> dict[str, Rates]:
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


def _more_rates(rates: Rates, chosen: set[float], edges: set[str | None]) -> Rates:
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


def _rounded(value: float, rates: Rates) -> float:
    """To one digit; to 1 or 3 where the whole grid has these."""
    if not all(f"{rate:.0e}"[0] in "13" for rate in rates):
        return float(f"{value:.0e}")
    low = math.floor(math.log10(value))
    near = [float(f"{digit}e{low + up}") for up in (0, 1) for digit in (1, 3)]
    return min(near, key=lambda rate: abs(math.log(rate / value)))


def _rate_reasons(choices: Sequence[Choice], wider: Mapping[str, Rates]) -> list[str]:
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


def _by_grid(rates: Mapping[str, Rates]) -> list[dict[str, list[str]]]:
    """Options for the methods that share a grid: what one method needs makes another diverge."""
    methods: dict[Rates, list[str]] = defaultdict(list)
    for method, own in rates.items():
        methods[own].append(method)
    return [
        {"--methods": members, "--learning-rates": texts(own)} for own, members in methods.items()
    ]


def _from_records(
    records: Sequence[CellRecord], rates: Mapping[str, Rates], changes: Mapping[str, Sequence[str]],
    typed: Mapping[str, str],
) -> list[str]:  # fmt: skip
    """Sweeps over the same grid, of cells whose own command is not known: one for each set of rates."""
    options = options_of(records, typed)
    return [joined({**options, **own, **changes}) for own in _by_grid(rates)]
