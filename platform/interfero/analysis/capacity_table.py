"""Every setting in a row, the failures, and the words that tables and sentences share."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from interfero.analysis.choices import (
    Case,
    CellSetting,
    Choice,
    best_sizes,
    choose_learning_rates,
    missing_settings,
    unbracketed,
)
from interfero.analysis.parts import loss_parts
from interfero.metrics.names import (
    FRACTION,
    GAIN,
    OLD_DROP,
    OLD_PIXELS,
    ROUTED,
    UNROUTED,
)
from interfero.records import CellRecord

NO_VALUE = "-"


def signed(value: float) -> str:
    """Two decimals; `0` is an exact zero."""
    return "0" if value == 0 else f"{value:+.2f}"


def share(value: float) -> str:
    """A fraction in percent; `100` only if it is all of them."""
    return f"{100 * value:.0f}" if value in (0, 1) else f"{min(99.9, 100 * value):.1f}"


def short_rate(value: float) -> str:
    """A learning rate in two digits: `3e-4`."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def percent(value: float) -> str:
    """A fraction in percent, three digits."""
    return f"{100 * value:.3g}"


_METRIC_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("target\ngain\n%", GAIN, signed),
    ("forget\nrouted\n%", ROUTED, signed),
    ("forget\nunrouted\n%", UNROUTED, signed),
    ("old\nexact\n%", OLD_PIXELS, share),
    ("PSNR\ndrop\ndB", OLD_DROP, signed),
    ("params\n%", FRACTION, percent),
)
_WITH_SPREAD = (GAIN, ROUTED, UNROUTED)
_PLACE_WORDS = {
    "domain": "domain", "rd_lambda": "lambda", "num_images": "image count", "num_steps": "step count",
    "codec": "source codec", "data_seed": "data seed",
}  # fmt: skip
SETTING_COLUMNS: tuple[tuple[str, Callable[[CellSetting], str]], ...] = (
    ("lambda", lambda s: f"{s.rd_lambda:g}"),
    ("images", lambda s: s.images_in_table),
    ("steps", lambda s: str(s.num_steps)),
    ("codec", lambda s: s.codec),
    ("strength", lambda s: f"{s.strength:g}" if s.strength else NO_VALUE),
)


def capacity_rows(
    records: Sequence[CellRecord], *, best_size_only: bool = False, in_db: bool = False
) -> tuple[list[str], list[list[str]]]:
    """The table as text: header (lines joined by a newline) and rows, settings without result too.

    Args:
        records: All cells of a sweep.
        best_size_only: One row a method: the adapter size with the best validation.
        in_db: Gain and unrouted forgetting in dB at equal rate too, the last columns.
    """
    choices, missing = choose_learning_rates(records), missing_settings(records)
    if best_size_only:
        choices = best_sizes(choices)
    settings = [c.setting for c in choices] + [m.setting for m in missing]
    varying = [(n, of) for n, of in SETTING_COLUMNS if len({of(s) for s in settings}) > 1]
    seeds = [("n", "")] if max((c.num_seeds for c in choices), default=0) > 1 else []
    header = ["domain", *(n for n, _ in varying), "method", "size", "learn\nrate"]
    header += [n for n, _ in seeds] + [title for title, _, _ in _METRIC_COLUMNS]
    header += ["gain\ndB", "forget\nunrouted\ndB"] if in_db else []

    def start(s: CellSetting) -> list[str]:
        size = str(s.adapter_size) if s.adapter_size else NO_VALUE
        return [s.domain, *(of(s) for _, of in varying), s.method, size]

    entries = [
        (c.setting, _result(c, seeds=bool(seeds)) + (_in_db(c) if in_db else [])) for c in choices
    ]
    width = len(header) - len(varying) - 3
    entries += [
        (m.setting, ["failed" if m.num_failed else "not run", *[NO_VALUE] * (width - 1)])
        for m in missing
    ]
    entries.sort(key=lambda entry: entry[0].order)
    return header, [start(setting) + rest for setting, rest in entries]


def _result(choice: Choice, *, seeds: bool) -> list[str]:
    # Seeds that chose differently have the two ends of their learning rates on two lines.
    ends = dict.fromkeys(
        short_rate(v) for v in (choice.learning_rates[0], choice.learning_rates[-1])
    )
    rate = "\n".join(ends) + ("*" if choice.at_edge else "")
    count = [str(choice.num_seeds)] if seeds else []
    return [rate, *count, *(_cell(choice, m, form) for _, m, form in _METRIC_COLUMNS)]


def _in_db(choice: Choice) -> list[str]:
    cells = [pick.cell for pick in choice.kept]
    found = []
    for role, sign in (("target", 1), ("source_unrouted", -1)):
        values = [sign * parts.db for parts in loss_parts(cells, role).values()]
        found.append(f"{statistics.fmean(values):+.3f}" if len(values) == len(cells) else NO_VALUE)
    return found


def _cell(choice: Choice, metric: str, form: Callable[[float], str]) -> str:
    """The mean over seeds, their standard deviation if there are several, and how many diverged."""
    values, mean = choice.values(metric), choice.mean(metric)
    if mean is None:
        return NO_VALUE
    lines = [form(mean)]
    if len(values) > 1 and metric in _WITH_SPREAD:
        spread = statistics.stdev(values)
        lines.append(f"±{f'{spread:.2f}' if spread else '0'}")
    if choice.diverged and metric == GAIN:
        count = "" if choice.all_diverged else f"{len(choice.diverged)} of {choice.num_seeds} "
        lines.append(f"{count}diverged")
    return "\n".join(lines)


def unit_text(settings: Iterable[CellSetting]) -> str:
    """What the images of several settings are: `images`, `crops`, or both."""
    return " or ".join(sorted({s.image_unit for s in settings}, reverse=True)) or "images"


def counted(number: int, what: str) -> str:
    """`1 order`, `3 orders`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def places_text(places: Iterable[CellSetting | Case]) -> str:
    """`3 domains`, or `6 combinations of domain and image count`: as few words as tell them apart."""
    every = set(places)
    names: list[str] = []
    for name in _PLACE_WORDS:
        more = [*names, name]
        if len(_told_apart(every, more)) > len(_told_apart(every, names)):
            names = more
    words = [_PLACE_WORDS[name] for name in names or ["domain"]]
    if len(words) == 1:
        return counted(len(every), words[0])
    return f"{len(every)} combinations of {', '.join(words[:-1])} and {words[-1]}"


def unit_name(places: Iterable[CellSetting]) -> str:
    """`domains` where each has one case, else `cases`."""
    every = {place.without_method for place in places}
    return "domains" if len(every) == len({case.domain for case in every}) else "cases"


def _told_apart(
    places: Iterable[CellSetting | Case], names: Sequence[str]
) -> set[tuple[object, ...]]:
    return {tuple(getattr(place, name, None) for name in names) for place in places}


def seeds_text(choices: Iterable[Choice]) -> str:
    """How many seeds stand behind the numbers; with one, that they are an illustration."""
    counts = sorted({c.num_seeds for c in choices})
    if not counts:
        return "no cell finished"
    if counts[-1] == 1:
        return "illustration, n = 1 seed"
    return f"n = {value_range([float(n) for n in counts], '{:.0f}'.format)} seeds"


def table_caption(choices: Sequence[Choice]) -> str:
    """What a reader of the table has to know."""
    lines = [seeds_text(choices)]
    if any(c.num_seeds > 1 for c in choices):
        lines[0] += "; mean ±standard deviation over seeds"
    each = " per seed" if any(c.num_seeds > 1 for c in choices) else ""
    unit = unit_text(c.setting for c in choices)
    lines.append(f"learning rate chosen on validation{each}; all else on test {unit}")
    few = unbracketed(choices)
    if few:
        lines.append(f"* {few}")
    elif any(c.at_edge for c in choices):
        lines.append("* at the edge of the learning-rate grid: a larger grid may do better")
    if any(c.diverged for c in choices):
        lines.append("diverged: in no mean over seeds")
    left_out = sum(c.num_left_out for c in choices)
    if left_out:
        lines.append(f"{counted(left_out, 'failed cell')} left out of these rows")
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in pipes."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def failed_lines(records: Iterable[CellRecord]) -> list[str]:
    """One line a failed cell: what it was, and why it failed."""
    failed = [r for r in records if r.status == "failed"]
    names = ["domain", "rd_lambda", "num_images", "method", "adapter_size", "learning_rate"]
    names += ["sequence", "configuration", "rate_bpp", "restoration", "data_seed", "init_seed"]
    return sorted(
        " ".join(f"{name}={r.params[name]}" for name in names if name in r.params)
        + f" ({r.key}): {r.error or 'no reason was recorded'}"
        for r in failed
    )


def value_range(values: Sequence[float], form: Callable[[float], str]) -> str:
    """`low to high`, or the one value."""
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"
