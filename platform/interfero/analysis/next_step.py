"""What would make an answer surer, and the commands that do it: each of them runs as it is printed."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from interfero.adaptation.table import trains
from interfero.analysis.capacity_table import counted
from interfero.analysis.cells import Cells, cell_diverged
from interfero.analysis.choices import (
    CONTROL,
    Choice,
    choose_learning_rates,
    missing_settings,
    unbracketed,
)
from interfero.analysis.focus import centre_text, in_centre
from interfero.analysis.next_command import (
    ALL,
    NOWHERE,
    SMOKE,
    SURER,
    Next,
    Rates,
    again,
    by_value,
    changed_command,
    domain_reasons,
    domains_by_counts,
    joined,
    named,
    options_of,
    planned_cells,
    smoke_reasons,
    target_domain,
    texts,
    time_text,
    tried_rates,
    typed_domains,
    unknown_folders,
    words_of,
)
from interfero.analysis.next_widest import further_domain, wide_texts
from interfero.analysis.parts import without_grey
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
    typed = typed_domains(known)
    # Each domain's largest image count is all that it has, unless counts are named.
    asked_all = bool(known) and all(ALL in words_of(c).get("--num-images", [ALL]) for c in known)
    reasons += smoke_reasons(command)
    if wish.own_rates:
        reasons.append("all methods had one grid of learning rates: left away, each has its own")
    plan = _Plan(records, wish, typed, asked_all)
    part, aside = (records, "") if command else _worth_repeating(records)
    reasons += [aside] if aside else []
    lines = plan.lines(part)
    centre = in_centre(part)
    if 0 < len(centre) < len(part) and plan.is_too_much(lines):
        whole = counted(sum(plan.sizes(lines)), "cell")
        part, lines = centre, plan.lines(centre)
        reasons.append(
            f"the command repeats the centre alone, {centre_text(records)}: every combination of options "
            f"would be {whole}"
        )
    decided_elsewhere = SMOKE in shlex.split(command) or lines == [again(command, {})]
    size = "" if decided_elsewhere or not lines else plan.size(lines)
    reasons += plan.added(lines)
    if not command:
        reasons += domain_reasons(part, typed)
        reasons += [unknown_folders()] if any(NOWHERE in line for line in lines) else []
    return Next(tuple(reasons), "\n".join(lines), size)


def _worth_repeating(records: Sequence[CellRecord]) -> tuple[Sequence[CellRecord], str]:
    """Cells without grey domains and without methods that diverged everywhere, and which these are.

    More of them would make no mean of the answer surer.
    """
    every = Cells(records)
    astray: dict[str, bool] = defaultdict(lambda: True)
    for record in every:
        astray[str(record.params["method"])] &= cell_diverged(record.metrics)
    kept = Cells(r for r in without_grey(every) if not astray[str(r.params["method"])])
    if not kept or len(kept) == len(every):
        return records, ""
    grey = {str(r.params["domain"]) for r in every} - {str(r.params["domain"]) for r in kept}
    parts = [f"{', '.join(sorted(grey))} (grey)"] if grey else []
    gone = sorted(method for method, lost in astray.items() if lost)
    parts += [f"{', '.join(gone)} (diverged everywhere)"] if gone else []
    return kept, f"the command leaves out what is in no mean of the answer: {' and '.join(parts)}"


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
    domains: bool
    """Whether an interval is wide over domains."""
    idle: bool
    """Whether there are methods that train nothing beside those that do."""

    @property
    def one_grid(self) -> bool:
        """Whether all methods had the same rates."""
        return len(set(self.tried.values())) == 1

    @property
    def own_rates(self) -> bool:
        """Whether each method is to have its own, where one grid for all was too narrow."""
        return bool(not self.command and self.wider and self.one_grid and len(self.tried) > 1)

    @property
    def rates(self) -> dict[str, Rates]:
        """Each method's learning rates; none are its own."""
        found = {**self.tried, **self.wider}
        return {m: () if self.own_rates or len(r) > MAX_GRID else r for m, r in found.items()}


def _wish(records: Sequence[CellRecord], command: str) -> tuple[_Wish, list[str]]:
    """What is missing, and why it is."""
    # The control forgets least at the smallest rate of any grid: a wider one finds nothing for it.
    choices = [c for c in choose_learning_rates(records) if c.setting.method != CONTROL]
    every = tried_rates(records)
    # Of what trains nothing, more seeds repeat the results, and a wider grid is no answer's.
    tried = {m: rates for m, rates in every.items() if trains(m)} or every
    choices = [c for c in choices if c.setting.method in tried]
    wide = wide_texts(Cells(records))
    changes, reasons = seed_changes(records)
    if not changes and "seed" in wide:
        # They are no longer few: as many again.
        seeds = {int(r.params["data_seed"]) for r in records}
        changes = _more_seeds("data", seeds, len(seeds))
        reasons = [
            f"{wide['seed']}: {2 * len(seeds)} data seeds make it surer than further domains"
        ]
    if "domain" in wide:
        reasons.append(
            f"{wide['domain']}: a further domain makes it surer than further seeds, and any folder of images "
            "is one (--domains NAME=PATH)"
        )
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
    idle = sorted(every.keys() - tried.keys())
    if idle and (changes or wider):
        reasons.append(f"the command leaves out {', '.join(idle)}, which trains nothing")
    retried = bool(failed or absent)
    return _Wish(command, changes, tried, wider, retried, "domain" in wide, bool(idle)), reasons


@dataclass(frozen=True)
class _Plan:
    """The commands that run what is missing."""

    records: Sequence[CellRecord]
    wish: _Wish
    typed: Mapping[str, str]
    """What was typed for a domain, by name."""
    asked_all: bool
    """Whether the cells' own commands asked for all images of each domain."""

    @property
    def known(self) -> bool:
        """Whether the command is the sweep's own, changed; else it is put together of what cells tell."""
        return bool(self.wish.command)

    @property
    def _domains(self) -> set[str]:
        return {str(r.params["domain"]) for r in self.records}

    def lines(self, part: Sequence[CellRecord]) -> list[str]:
        """One command a line.

        Args:
            part: The cells whose settings are repeated.
        """
        if self.known:
            return self._changed(None if part is self.records else part)
        return self._together(part, self.wish.rates, self.wish.changes, further=self.wish.domains)

    def sizes(self, lines: Iterable[str]) -> list[int]:
        """The cells that each plans."""
        return [planned_cells(line, self.records, known=self.known) for line in lines]

    def size(self, lines: Sequence[str]) -> str:
        """How many cells that is, and how long they take."""
        each = self.sizes(lines)
        parts = f" ({' + '.join(map(str, each))})" if len(each) > 1 else ""
        return (
            f"That is {counted(sum(each), 'cell')}{parts}, where {len(self.records)} were run"
            f"{time_text(zip(lines, each, strict=True), self.records)}"
        )

    def added(self, lines: Iterable[str]) -> list[str]:
        """Which domains they have that were not run, as a reason."""
        names = self._domains | {*self.typed.values()}
        more = [d for line in lines for d in words_of(line).get("--domains", []) if "=" not in d]
        new = [d for d in dict.fromkeys(more) if d not in names]
        return [f"the command adds {', '.join(new)}, which is bundled"] if new else []

    def is_too_much(self, lines: Iterable[str]) -> bool:
        """Whether it is many times what was run, or a product where a cross was run."""
        if sum(self.sizes(lines)) > MAX_TIMES * len(self.records):
            return True
        # A command that is known makes the cells that it made; one that is put together, a whole product.
        if self.known:
            return False
        product = self._together(self.records, self.wish.tried, {})
        return sum(self.sizes(product)) > MAX_CROSS * len(self.records)

    def _changed(self, centre: Sequence[CellRecord] | None) -> list[str]:
        """The sweep's own command with the changes, and one for each grid of rates that is wider."""
        wish, wider = self.wish, self.wish.wider
        changes: dict[str, Sequence[str]] = dict(wish.changes)
        if wish.idle and (changes or wider):
            changes["--methods"] = list(wish.tried)
        given = words_of(wish.command)
        if wish.domains and "--domains" in given:
            more = further_domain(self._domains, given.get("--num-images", [ALL]))
            changes["--domains"] = [*given["--domains"], *([more] if more else [])]
        every = set(wider) >= set(wish.tried) - {CONTROL}
        if wish.one_grid and every and len(set(wider.values())) == 1:
            changes["--learning-rates"] = texts(next(iter(wider.values())))
            wider = {}
        lines = []
        for suffix, place in self._places(centre):
            name, own = f"-{SURER}{suffix}", {**changes, **place}
            if own:
                lines.append(changed_command(wish.command, own, name))
            elif wish.retried:
                lines.append(again(wish.command, {}))
            # What one method needs makes another diverge.
            for rates, methods in by_value(wider).items():
                grid = {"--methods": methods, "--learning-rates": texts(rates)}
                own_name = f"{name}-{methods[0]}"
                lines.append(changed_command(wish.command, {**own, **grid}, own_name))
        return lines

    def _places(
        self, centre: Sequence[CellRecord] | None
    ) -> list[tuple[str, dict[str, Sequence[str]]]]:
        """Options that keep a command to the centre, one set for all domains that have the same counts."""
        if centre is None:
            return [("", {})]
        values: dict[str, Sequence[str]] = {"--lambdas": options_of(centre, {})["--lambdas"]}
        groups = domains_by_counts(centre, self.typed, all_asked=self.asked_all)
        found: list[tuple[str, dict[str, Sequence[str]]]] = []
        for counts, names in groups.items():
            own = {**values, "--num-images": counts}
            if len(groups) > 1:
                own["--domains"] = self._named(centre, names)
            found.append((f"-{'-'.join(counts)}" if len(groups) > 1 else "", own))
        return found

    def _together(
        self, part: Sequence[CellRecord], rates: Mapping[str, Rates], changes: Mapping[str, Sequence[str]],
        *, further: bool = False,
    ) -> list[str]:  # fmt: skip
        """Sweeps over the same cells, or with a further domain: one for each set of rates, and of counts."""
        methods = {str(r.params["method"]) for r in part}
        grids = _by_axes(part, {m: own for m, own in rates.items() if m in methods})
        groups = domains_by_counts(part, self.typed, all_asked=self.asked_all)
        if further:
            largest = max(groups, key=lambda counts: len(groups[counts]))
            more = further_domain(self._domains, largest)
            groups[largest] += [more] if more else []
        options = options_of(part, self.typed)
        lines = [
            joined(
                {
                    **options, "--domains": self._named(part, names), "--num-images": counts,
                    **own, **changes,
                }
            )
            for counts, names in groups.items()
            for own in grids
        ]  # fmt: skip
        return named(lines)

    def _named(self, part: Sequence[CellRecord], names: Iterable[str]) -> list[str]:
        return [target_domain(name, part, self.typed) for name in names]


def seed_changes(
    records: Iterable[CellRecord], kind: Literal["data", "init"] = "data"
) -> tuple[dict[str, list[str]], list[str]]:
    """The changed option where there are few seeds of a kind, and why."""
    seeds = {int(r.params[f"{kind}_seed"]) for r in records}
    if not seeds or len(seeds) >= MIN_SEEDS:
        return {}, []
    each = f"{counted(len(seeds), f'{kind} seed')} {'has' if len(seeds) == 1 else 'have'}"
    changes = _more_seeds(kind, seeds, MIN_SEEDS - len(seeds))
    return changes, [f"{each} run: {MIN_SEEDS} make the intervals narrower"]


def _more_seeds(kind: str, seeds: Collection[int], number: int) -> dict[str, list[str]]:
    """The option with so many more."""
    more = range(max(seeds) + 1, max(seeds) + 1 + number)
    return {f"--{kind}-seeds": [str(seed) for seed in [*sorted(seeds), *more]]}


def tried_again(what: str, command: str, *, changed: bool) -> str:
    """Why cells are missing, and what runs them: `again` resumes a sweep only if nothing else is changed."""
    resumed = command and not changed
    who = "--resume tries them" if resumed else "the command tries those of them that it has"
    return f"{what}: {who} again"


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


@dataclass
class _Grid:
    """Methods that one command can name: what one is asked for, all are."""

    rates: Rates
    methods: list[str]
    sizes: frozenset[int]
    """Empty as long as none of them has a size, as the next one."""
    strengths: frozenset[float]

    def takes(self, rates: Rates, sizes: frozenset[int], strengths: frozenset[float]) -> bool:
        """Whether a method with these can stand in the same command."""
        pairs = (self.sizes, sizes), (self.strengths, strengths)
        return self.rates == rates and all(a == b or not a or not b for a, b in pairs)


def _by_axes(part: Iterable[CellRecord], rates: Mapping[str, Rates]) -> list[dict[str, list[str]]]:
    """Options for methods with one grid of rates, sizes and strengths."""
    sizes: dict[str, set[int]] = defaultdict(set)
    strengths: dict[str, set[float]] = defaultdict(set)
    for record in part:
        p = record.params
        sizes[str(p["method"])].add(int(p["adapter_size"]))
        strengths[str(p["method"])].add(float(p.get("strength", 0)))
    grids: list[_Grid] = []
    for method, own in rates.items():
        axes = frozenset(sizes[method] - {0}), frozenset(strengths[method] - {0.0})
        grid = next((g for g in grids if g.takes(own, *axes)), None)
        if grid is None:
            grids.append(_Grid(own, [method], *axes))
        else:
            grid.methods.append(method)
            grid.sizes, grid.strengths = grid.sizes | axes[0], grid.strengths | axes[1]
    return [
        {
            "--methods": grid.methods, "--learning-rates": texts(grid.rates),
            "--adapter-sizes": [str(size) for size in sorted(grid.sizes)],
            "--strengths": texts(sorted(grid.strengths)),
        }
        for grid in grids
    ]  # fmt: skip
