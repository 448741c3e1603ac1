"""Methods against each other: at the settings validation chose, at matched gain, at matched size.

The comparison that counts is forgetting at matched target gain, and gain at matched live parameters
(arXiv:2405.09673: methods lie along a learning-forgetting curve). Cells are chosen on validation alone;
what is shown is the test result of the chosen cells.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.choices import CONTROL, NAIVE, choose_learning_rates
from interfero.engine.cells import CellRecord
from interfero.storage import write_atomic

GAIN = "target/rd_gain_percent"
VALIDATION_GAIN = "val/rd_gain_percent"
VALIDATION_FORGETTING = "val/forgetting_unrouted_percent"
ROUTED = "source/forgetting_percent"
UNROUTED = "source/forgetting_unrouted_percent"
FRACTION = "adapter_fraction"

NEEDED = {GAIN, VALIDATION_GAIN, VALIDATION_FORGETTING, ROUTED, UNROUTED, FRACTION}
"""Of a cell to be compared; those of the earliest sweeps lack some."""
MATCHED_SHARE = 0.5
"""Of fine-tuning's validation gain: what every method has to reach where gain is matched."""
BUDGETS = (0.02, 0.05, 0.10, math.inf)
"""Live parameters over the source codec's, at most."""

Case = tuple[str, float, int, int, int]
"""Domain, lambda, image count, data seed, init seed: within it methods are compared."""


@dataclass(frozen=True)
class Column:
    """A column of the first table."""

    title: str
    value: Callable[[CellRecord], float]
    form: str
    spread: bool = False
    """Whether the standard deviation over seeds is shown, the mean of all domains' own."""


def _metric(name: str, scale: float = 1.0) -> Callable[[CellRecord], float]:
    return lambda record: scale * record.metrics[name]


COLUMNS = (
    Column("live parameters (%)", _metric(FRACTION, 100), ".2f"),
    Column("file (KiB)", _metric("adapter/file_bytes", 1 / 1024), ".0f"),
    Column("target gain (%)", _metric(GAIN), "+.2f", spread=True),
    Column("forgetting, routed (%)", _metric(ROUTED), "+.2f", spread=True),
    Column("forgetting, unrouted (%)", _metric(UNROUTED), "+.2f", spread=True),
    Column("old streams exact (%)", _metric("bitstream/old_pixels_exact", 100), ".0f"),
    Column("old PSNR drop (dB)", _metric("bitstream/old_psnr_drop_db"), "+.2f"),
    Column("s a step", lambda r: 1 / r.metrics["train/steps_per_second"], ".3f"),
)


def write_comparison(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`methods.md`: three tables; nothing where fewer than two methods have finished cells."""
    finished = [r for r in records if r.status == "finished" and r.metrics.keys() >= NEEDED]
    if len({r.params["method"] for r in finished} - {CONTROL}) < 2:
        return []
    path = folder / "methods.md"
    write_atomic(path, comparison_text(finished).encode())
    return [path]


def comparison_text(finished: Sequence[CellRecord]) -> str:
    """All three tables as Markdown, with what was compared.

    Args:
        finished: Finished cells with validation results.
    """
    cases = {_case(r) for r in finished}
    domains, seeds = sorted({c[0] for c in cases}), {c[3:] for c in cases}
    rates = sorted({float(r.params["learning_rate"]) for r in finished})
    steps = sorted({int(r.params["num_steps"]) for r in finished})
    intro = (
        f"{len(finished)} cells: {len(domains)} target domains ({', '.join(domains)}), "
        f"{len(seeds)} seeds, learning rates {', '.join(f'{v:g}' for v in rates)}, "
        f"{', '.join(map(str, steps))} steps. Means over domains and seeds; ± is the standard deviation over "
        "seeds, averaged over domains. The learning rate is chosen on validation for each "
        "domain, size, strength and seed; numbers are from test images."
    )
    intro += _remarks(finished)
    matched = (
        f"Forgetting at matched gain: among all of a method's cells of a domain and seed that reach "
        f"{MATCHED_SHARE:.0%} of fine-tuning's gain on validation, the one that forgets least there "
        "(for each initial seed). `reached` says in how many domains and seeds there was one; the means are "
        "over those."
    )
    matched_size = (
        "Gain (%) within a budget of live parameters, of the source codec's: the best cell on validation, "
        "and in parentheses the live parameters it has; `-` where a method has none in every domain and seed."
    )
    parts = [intro, _table(*_chosen_rows(finished)), matched, _table(*_matched_rows(finished))]
    return "\n\n".join([*parts, matched_size, _table(*_budget_rows(finished))]) + "\n"


def _remarks(finished: Sequence[CellRecord]) -> str:
    """How the control was chosen, how many choices a larger grid could change, and what was not searched."""
    picks = [pick for c in choose_learning_rates(finished) for pick in c.picks]
    edges = sum(pick.edge is not None for pick in picks)
    text = f" {edges} of {len(picks)} choices lie at an edge of the grid."
    if any(r.params["method"] == CONTROL for r in finished):
        text += " The control's rate is the one that harms the source least."
    strengths = {float(r.params.get("strength", 0)) for r in finished} - {0.0}
    if len(strengths) == 1:
        text += f" Methods with a strength ran at {strengths.pop():g} alone: it was not searched."
    return text


def _chosen_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method and size."""
    groups: dict[tuple[str, int, float], list[CellRecord]] = defaultdict(list)
    for choice in choose_learning_rates(finished):
        key = choice.setting.method, choice.setting.adapter_size, choice.setting.strength
        groups[key] += [pick.cell for pick in choice.picks]
    rows = []
    for method, size, strength in sorted(groups, key=lambda key: (_rank(key[0]), key)):
        cells = groups[method, size, strength]
        shown = [_mean(cells, c) for c in COLUMNS]
        own = [f"{value:g}" if value else "" for value in (size, strength)]
        rows.append([f"`{method}`", *own, *shown])
    return ["method", "size", "strength", *(c.title for c in COLUMNS)], rows


def _mean(cells: Sequence[CellRecord], column: Column) -> str:
    try:
        values = [column.value(cell) for cell in cells]
    except KeyError:
        return "-"  # Records of an earlier version lack the metric.
    text = format(math.fsum(values) / len(values), column.form)
    by_domain: dict[tuple[str, float, int], list[float]] = defaultdict(list)
    for cell, value in zip(cells, values, strict=True):
        by_domain[_case(cell)[:3]].append(value)
    spreads = [statistics.stdev(v) for v in by_domain.values() if len(v) > 1]
    if not column.spread or not spreads:
        return text
    return f"{text} ± {math.fsum(spreads) / len(spreads):.2f}"


def _matched_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method that is compared with fine-tuning."""
    cases = _by_case(finished)
    wanted = {
        case: MATCHED_SHARE * max(_gain(r) for r in methods[NAIVE])
        for case, methods in cases.items()
        if NAIVE in methods and max(_gain(r) for r in methods[NAIVE]) > 0
    }
    rows = []
    for method in _methods(finished):
        best = []
        for case, least in wanted.items():
            reaching = [
                [r for r in seed if _gain(r) >= least]
                for seed in _by_init_seed(cases[case][method])
            ]
            if reaching and all(reaching):
                best.append(
                    [min(r, key=lambda r: r.metrics[VALIDATION_FORGETTING]) for r in reaching]
                )
        shown = [_plain(best, m) for m in (GAIN, ROUTED, UNROUTED)]
        rows.append([f"`{method}`", f"{len(best)} of {len(wanted)}", *shown])
    titles = ["target gain (%)", "forgetting, routed (%)", "forgetting, unrouted (%)"]
    return ["method", "reached", *titles], rows


def _budget_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method, one column a budget of live parameters."""
    cases = _by_case(finished)
    rows = []
    for method in _methods(finished):
        row = [f"`{method}`"]
        for budget in BUDGETS:
            within = [
                [
                    [r for r in seed if r.metrics[FRACTION] <= budget]
                    for seed in _by_init_seed(cells)
                ]
                for cells in (methods[method] for methods in cases.values())
            ]
            if not all(seeds and all(seeds) for seeds in within):
                row.append("-")
            else:
                best = [[max(cells, key=_gain) for cells in seeds] for seeds in within]
                row.append(f"{_plain(best, GAIN)} ({_mean_over(best, FRACTION):.2%})")
        rows.append(row)
    titles = [f"at most {b:.0%}" if b < math.inf else "any" for b in BUDGETS]
    return ["method", *titles], rows


def _plain(cases: Sequence[Sequence[CellRecord]], metric: str) -> str:
    return f"{_mean_over(cases, metric):+.2f}" if cases else "-"


def _mean_over(cases: Sequence[Sequence[CellRecord]], metric: str) -> float:
    """Mean over cases of the mean over a case's initial seeds."""
    each = [math.fsum(r.metrics[metric] for r in cells) / len(cells) for cells in cases]
    return math.fsum(each) / len(each)


def _by_init_seed(cells: Iterable[CellRecord]) -> list[list[CellRecord]]:
    """Each seed chooses for itself: of several, the best would be luck taken for skill."""
    seeds: dict[int, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[int(cell.params["init_seed"])].append(cell)
    return list(seeds.values())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_case(finished: Iterable[CellRecord]) -> dict[Case, dict[str, list[CellRecord]]]:
    cases: dict[Case, dict[str, list[CellRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in finished:
        cases[_case(record)][str(record.params["method"])].append(record)
    return cases


def _case(record: CellRecord) -> Case:
    p = record.params
    # Methods that draw nothing run with the first init seed alone: data seeds pair the cases.
    return (
        str(p["domain"]), float(p["rd_lambda"]), int(p["num_images"]), int(p["data_seed"]), 0,
    )  # fmt: skip


def _methods(finished: Iterable[CellRecord]) -> list[str]:
    """All but the control, which never sees the target."""
    return sorted({str(r.params["method"]) for r in finished} - {CONTROL}, key=_rank)


def _rank(method: str) -> tuple[int, str]:
    return ({NAIVE: 0, CONTROL: 2}.get(method, 1), method)


def _gain(record: CellRecord) -> float:
    return record.metrics[VALIDATION_GAIN]
