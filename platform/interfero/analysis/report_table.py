"""The end of a sweep on a terminal: a table, sentences whose every number is computed, failures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from interfero.analysis.choices import (
    CONTROL,
    NAIVE,
    VALIDATION,
    Choice,
    Missing,
    Setting,
    best_sizes,
    choose_learning_rates,
    missing_settings,
    setting_of,
)
from interfero.engine.cells import CellRecord

GAIN = "target/rd_gain_percent"
ROUTED = "source/forgetting_percent"
UNROUTED = "source/forgetting_unrouted_percent"
OLD_PIXELS = "bitstream/old_pixels_exact"
OLD_DROP = "bitstream/old_psnr_drop_db"
FRACTION = "adapter_fraction"
SOURCE_MODE = ("source_mode/bytes_exact", "source_mode/pixels_exact")

ENOUGH = 0.9
"""Share of a method's best gain that counts as enough when adapter sizes are compared."""
NO_VALUE = "-"


def _signed(value: float) -> str:
    """Two decimals; `0` is an exact zero."""
    return "0" if value == 0 else f"{value:+.2f}"


def _share(value: float) -> str:
    """A fraction in percent; `100` only if it is all of them."""
    return f"{100 * value:.0f}" if value in (0, 1) else f"{min(99.9, 100 * value):.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g}"


_METRIC_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("target\ngain\n%", GAIN, _signed),
    ("forget\nrouted\n%", ROUTED, _signed),
    ("forget\nunrouted\n%", UNROUTED, _signed),
    ("old\nexact\n%", OLD_PIXELS, _share),
    ("PSNR\ndrop\ndB", OLD_DROP, _signed),
    ("params\n%", FRACTION, _percent),
)
_WITH_SPREAD = (GAIN, ROUTED, UNROUTED)
_SETTING_COLUMNS: tuple[tuple[str, Callable[[Setting], str]], ...] = (
    ("lambda", lambda s: f"{s.rd_lambda:g}"),
    ("images", lambda s: str(s.num_images)),
    ("steps", lambda s: str(s.num_steps)),
    ("codec", lambda s: s.codec),
)


def capacity_table(records: Sequence[CellRecord]) -> Table:
    """Domain x method x adapter size, each at the learning rate that validation chose."""
    choices = choose_learning_rates(records)
    header, rows = capacity_rows(records)
    table = Table(
        title="Adapter capacity: what was gained, what was forgotten",
        caption=table_caption(choices),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    for name in header:
        # In a narrow terminal names fold; a number is never cut.
        if name in ("domain", "method", "codec"):
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    previous = None
    for row in rows:
        domain = row[0]
        if previous not in (None, domain):
            table.add_section()
        shown = ["" if domain == previous else domain, *row[1:]]
        table.add_row(*(Text(text) for text in shown))
        previous = domain
    return table


def capacity_rows(
    records: Sequence[CellRecord], *, best_size_only: bool = False
) -> tuple[list[str], list[list[str]]]:
    """The table as text: header (lines joined by a newline) and rows, settings without result too.

    Args:
        records: All cells of a sweep.
        best_size_only: One row a method: the adapter size with the best validation.
    """
    choices, missing = choose_learning_rates(records), missing_settings(records)
    if best_size_only:
        choices = best_sizes(choices)
    settings = [c.setting for c in choices] + [m.setting for m in missing]
    varying = [(n, of) for n, of in _SETTING_COLUMNS if len({of(s) for s in settings}) > 1]
    seeds = [("n", "")] if max((c.num_seeds for c in choices), default=0) > 1 else []
    header = ["domain", *(n for n, _ in varying), "method", "size", "learn\nrate"]
    header += [n for n, _ in seeds] + [title for title, _, _ in _METRIC_COLUMNS]

    def start(s: Setting) -> list[str]:
        size = str(s.adapter_size) if s.adapter_size else NO_VALUE
        return [s.domain, *(of(s) for _, of in varying), s.method, size]

    entries = [(c.setting, _result(c, seeds=bool(seeds))) for c in choices]
    entries += [(m.setting, _no_result(m, len(header) - len(start(m.setting)))) for m in missing]
    entries.sort(key=lambda entry: entry[0].order)
    return header, [start(setting) + rest for setting, rest in entries]


def _result(choice: Choice, *, seeds: bool) -> list[str]:
    rate = f"{choice.learning_rate:g}" + ("*" if choice.edge else "")
    count = [str(choice.num_seeds)] if seeds else []
    return [rate, *count, *(_cell(choice, m, form) for _, m, form in _METRIC_COLUMNS)]


def _no_result(missing: Missing, width: int) -> list[str]:
    why = "failed" if missing.num_failed else "not run"
    return [why, *[NO_VALUE] * (width - 1)]


def _cell(choice: Choice, metric: str, form: Callable[[float], str]) -> str:
    """The mean over seeds, and their standard deviation if there are several."""
    values, mean = choice.values(metric), choice.mean(metric)
    if mean is None:
        return NO_VALUE
    if len(values) == 1 or metric not in _WITH_SPREAD:
        return form(mean)
    spread = statistics.stdev(values)
    return f"{form(mean)}\n±{f'{spread:.2f}' if spread else '0'}"


def seeds_text(choices: Iterable[Choice]) -> str:
    """How many seeds stand behind the numbers; with one, that they are an illustration."""
    counts = sorted({c.num_seeds for c in choices})
    if not counts:
        return "no cell finished"
    if counts[-1] == 1:
        return "illustration, n = 1 seed"
    return f"n = {_range([float(n) for n in counts], '{:.0f}'.format)} seeds"


def table_caption(choices: Sequence[Choice]) -> str:
    """What a reader of the table has to know."""
    lines = [seeds_text(choices)]
    if any(c.num_seeds > 1 for c in choices):
        lines[0] += "; mean ±standard deviation over seeds"
    lines.append("learning rate chosen on validation; all else on test images")
    if any(c.edge for c in choices):
        lines.append("* at the edge of the learning-rate grid: a larger grid may do better")
    left_out = sum(c.num_left_out for c in choices)
    if left_out:
        lines.append(f"{left_out} failed cells left out of these rows")
    return "\n".join(lines)


def failed_lines(records: Iterable[CellRecord]) -> list[str]:
    """One line a failed cell: what it was, and why it failed."""
    failed = [r for r in records if r.status == "failed"]
    names = ["domain", "rd_lambda", "num_images", "method", "adapter_size", "learning_rate"]
    names += ["data_seed", "init_seed"]
    return sorted(
        " ".join(f"{name}={r.params[name]}" for name in names if name in r.params)
        + f" ({r.key}): {r.error or 'no reason was recorded'}"
        for r in failed
    )


def summary_lines(records: Sequence[CellRecord]) -> list[str]:
    """The answer in sentences; every number is computed from the records."""
    choices = choose_learning_rates(records)
    cases = {setting_of(r).case for r in records}
    lines = []
    for method in dict.fromkeys(c.setting.method for c in choices):
        if method != CONTROL:
            lines += _method_lines(method, choices, cases)
            lines += _source_mode_lines(method, records)
    lines += [*_control_lines(choices), *_edge_lines(choices), *_gap_lines(records)]
    if _unit(cases) == "cases":
        lines.append("A case is a domain at one lambda and image count.")
    if not choices:
        return [*lines, "No cell finished: nothing can be said about gain or forgetting."]
    seeds = seeds_text(choices)
    one_seed = all(c.num_seeds == 1 for c in choices)
    return [*lines, f"This is an {seeds}." if one_seed else f"Numbers are means, {seeds}."]


def _method_lines(method: str, choices: Sequence[Choice], cases: set[Setting]) -> list[str]:
    """Gain, forgetting, old bitstreams and capacity of one method."""
    best = [c for c in best_sizes(choices) if c.setting.method == method]
    sized = len({c.setting.adapter_size for c in choices if c.setting.method == method}) > 1
    who = f"{method} (best size by validation)" if sized else method
    lines = []
    gains = _known(best, GAIN)
    if gains:
        won = sum(v > 0 for _, v in gains)
        reach = _range([v for _, v in gains], _signed)
        lines.append(
            f"{who} gains on {_count(won, gains, cases)}: {reach} % of the target loss on test "
            f"images{_against_naive(gains, choices)}."
        )
    lines += _forgetting_lines(method, best, choices, cases)
    lines += _old_bitstream_lines(method, best)
    return lines + (_capacity_lines(method, choices) if sized else [])


def _against_naive(gains: Sequence[tuple[Choice, float]], choices: Sequence[Choice]) -> str:
    """What share of the naive method's gain this is, where the naive method gains."""
    naive = {c.setting.case: v for c, v in _known(choices, GAIN) if c.setting.method == NAIVE}
    shares = [
        100 * v / naive[c.setting.case]
        for c, v in gains
        if c.setting.method != NAIVE and naive.get(c.setting.case, 0) > 0
    ]
    return f", {_range(shares, '{:.0f}'.format)} % of {NAIVE}'s gain" if shares else ""


def _forgetting_lines(
    method: str, best: Sequence[Choice], choices: Sequence[Choice], cases: set[Setting]
) -> list[str]:
    control = {c.setting.case: c for c in choices if c.setting.method == CONTROL}
    routed, unrouted = _known(best, ROUTED), _known(best, UNROUTED)
    ways = [("", ROUTED, routed)]
    if [v for _, v in routed] != [v for _, v in unrouted]:
        ways = [(" routed", ROUTED, routed), (" unrouted", UNROUTED, unrouted)]
    parts = []
    for way, metric, values in ways:
        if values:
            lost = sum(v > _control_change(control.get(c.setting.case), metric) for c, v in values)
            reach = _range([v for _, v in values], _signed)
            parts.append(f"{_count(lost, values, cases)}{way} ({reach} % of the source loss)")
    if not parts:
        return []
    covered = sum(c.setting.case in control for c in best)
    bar = "by more than the control's own change"
    if covered < len(best):
        bar += ", or than 0 where no control finished" if covered else " (0: no control finished)"
    return [f"{method} forgets, {bar}, on {' and on '.join(parts)}."]


def _control_change(control: Choice | None, metric: str) -> float:
    """How much the control forgot, 0 if it improved; percent of the source loss."""
    mean = None if control is None else control.mean(metric)
    return 0.0 if mean is None else max(0.0, mean)


def _old_bitstream_lines(method: str, best: Sequence[Choice]) -> list[str]:
    exact, drops = _known(best, OLD_PIXELS), _known(best, OLD_DROP)
    if not exact or not drops:
        return []
    shares, losses = [v for _, v in exact], [v for _, v in drops]
    return [
        f"Old bitstreams decoded after {method}: {_range(shares, _share)} % pixel-exact, PSNR drop "
        f"{_range(losses, _signed)} dB."
    ]


def _source_mode_lines(method: str, records: Iterable[CellRecord]) -> list[str]:
    """Over all finished cells, not the chosen ones alone: exactness knows no exception."""
    checked = [
        all(r.metrics[name] == 1 for name in SOURCE_MODE)
        for r in records
        if r.params["method"] == method
        and r.status == "finished"
        and all(name in r.metrics for name in SOURCE_MODE)
    ]
    if not checked:
        return []
    where = f"all of {len(checked)}" if all(checked) else f"ONLY {sum(checked)} of {len(checked)}"
    return [f"Source mode of {method} gave the source codec's bytes and pixels in {where} cells."]


def _capacity_lines(method: str, choices: Sequence[Choice]) -> list[str]:
    """The smallest size that is enough, by validation, and the cases for which it is."""
    cases: dict[Setting, list[Choice]] = {}
    for choice in choices:
        if choice.setting.method == method:
            cases.setdefault(choice.setting.case, []).append(choice)
    found: dict[str, list[str]] = {}
    for case, members in cases.items():
        found.setdefault(_enough(members), []).append(_place(case, choices))
    answer = "; ".join(f"{size} on {', '.join(places)}" for size, places in found.items())
    return [
        f"Smallest size with {100 * ENOUGH:.0f} % of {method}'s best validation gain: {answer}."
    ]


def _enough(members: Sequence[Choice]) -> str:
    """The smallest size, of those by rising size, that comes close to the best."""
    scores = [c.mean(VALIDATION) or 0.0 for c in members]
    if max(scores) <= 0:
        return "none (no gain)"
    enough = next(c for c, v in zip(members, scores, strict=True) if v >= ENOUGH * max(scores))
    fraction = enough.mean(FRACTION)
    notes = [] if fraction is None else [f"{_percent(fraction)} % of the parameters"]
    notes += ["the largest tried"] if enough is members[-1] else []
    return f"{enough.setting.adapter_size}" + (f" ({', '.join(notes)})" if notes else "")


def _control_lines(choices: Sequence[Choice]) -> list[str]:
    control = [c for c in choices if c.setting.method == CONTROL]
    gains, moved = _known(control, GAIN), _known(control, UNROUTED)
    if not gains or not moved:
        return []
    return [
        f"The control ({CONTROL}) moved the target by {_range([v for _, v in gains], _signed)} % "
        f"and the source loss by {_range([v for _, v in moved], _signed)} %."
    ]


def _edge_lines(choices: Sequence[Choice]) -> list[str]:
    at_edge = [c for c in choices if c.edge in ("lowest", "highest")]
    alone = sum(c.edge == "only" for c in choices)
    lines = []
    if at_edge:
        high = sum(c.edge == "highest" for c in at_edge)
        lines.append(
            f"{len(at_edge)} of {len(choices)} chosen learning rates lie at the edge of their grid "
            f"({high} at the highest, {len(at_edge) - high} at the lowest): a larger grid may do "
            "better."
        )
    if alone:
        lines.append(f"{alone} of {len(choices)} settings have one learning rate: nothing chosen.")
    return lines


def _gap_lines(records: Sequence[CellRecord]) -> list[str]:
    lines = []
    empty: dict[str, list[str]] = {}
    for missing in missing_settings(records):
        empty.setdefault(missing.setting.domain, []).append(_label(missing.setting))
    if empty:
        places = (f"{', '.join(dict.fromkeys(w))} on {domain}" for domain, w in empty.items())
        lines.append(f"No result for {'; '.join(places)}.")
    failed = sum(r.status == "failed" for r in records)
    if failed:
        lines.append(f"{failed} of {len(records)} cells failed and are left out.")
    return lines


def _known(choices: Iterable[Choice], metric: str) -> list[tuple[Choice, float]]:
    """Choices that have the metric, with its mean over seeds."""
    pairs = [(c, c.mean(metric)) for c in choices]
    return [(c, mean) for c, mean in pairs if mean is not None]


def _count(number: int, known: Sequence[tuple[Choice, float]], cases: set[Setting]) -> str:
    """`5 of 6 domains (1 without result)`."""
    without = len(cases) - len(known)
    note = f" ({without} without result)" if without else ""
    return f"{number} of {len(known)} {_unit(cases)}{note}"


def _unit(cases: set[Setting]) -> str:
    return "domains" if len(cases) == len({c.domain for c in cases}) else "cases"


def _place(case: Setting, choices: Sequence[Choice]) -> str:
    """The domain, and whatever else tells the cases apart."""
    cases = [c.setting for c in choices]
    varying = [
        f"{name} {of(case)}" for name, of in _SETTING_COLUMNS if len({of(s) for s in cases}) > 1
    ]
    return f"{case.domain} ({', '.join(varying)})" if varying else case.domain


def _label(setting: Setting) -> str:
    return f"{setting.method} {setting.adapter_size}" if setting.adapter_size else setting.method


def _range(values: Sequence[float], form: Callable[[float], str]) -> str:
    """`low to high`, or the one value."""
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"
