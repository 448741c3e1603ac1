"""The answer of a sweep in sentences whose every number is computed from the records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from interfero.analysis.capacity_table import (
    SETTING_COLUMNS,
    percent,
    seeds_text,
    share,
    signed,
    unit_name,
    unit_text,
    value_range,
)
from interfero.analysis.cells import Cells
from interfero.analysis.choices import (
    CONTROL,
    CellSetting,
    Choice,
    best_sizes,
    by_method,
    choose_learning_rates,
    methods_of,
    missing_settings,
    setting_of,
    unbracketed,
)
from interfero.analysis.diverged import diverged_text
from interfero.analysis.focus import focus_text, in_focus
from interfero.analysis.paired import difference_lines
from interfero.analysis.parts import grey_text, without_grey
from interfero.analysis.same_results import same_result_lines
from interfero.analysis.without_adapter import without_adapter_lines
from interfero.metrics.names import (
    FRACTION,
    GAIN,
    OLD_DROP,
    OLD_PIXELS,
    ROUTED,
    SOURCE_BYTES,
    SOURCE_PIXELS,
    UNROUTED,
    VALIDATION_GAIN,
)
from interfero.records import CellRecord

SOURCE_MODE = (SOURCE_BYTES, SOURCE_PIXELS)

MAX_PLACES = 8
"""That a sentence names."""
ENOUGH = 0.9
"""Share of a method's best gain that counts as enough when adapter sizes are compared."""


def summary_lines(records: Sequence[CellRecord]) -> list[str]:
    """The answer in sentences; every number is computed from the records.

    Gain and forgetting are of one budget and lambda (`focus`), which the first sentence names where there are
    several; failures, exactness and learning rates are counted over all cells.
    """
    every = Cells(records)
    coloured = without_grey(every)
    shown, where = in_focus(coloured), focus_text(coloured)
    choices = choose_learning_rates(shown)
    cases = {setting_of(r).without_method for r in shown}
    lines = [f"Gain and forgetting in these sentences are {where}."] if where else []
    lines += [grey] if (grey := grey_text(every)) else []
    if unit_name(cases) == "cases":
        codec = "source codec and " if len({c.codec for c in cases}) > 1 else ""
        lines.append(f"A case is a domain at one {codec}image count.")
    for method in methods_of(choices):
        if method != CONTROL:
            lines += _method_lines(method, choices, cases)
            lines += difference_lines(shown, method)
            lines += _source_mode_lines(method, every)
    lines += without_adapter_lines(shown)
    found = choose_learning_rates(every)
    # The control forgets least at the smallest rate of any grid: a wider one finds nothing for it.
    searched = [c for c in found if c.setting.method != CONTROL]
    lines += [*_control_lines(choices), *_edge_lines(searched), *_gap_lines(every)]
    lines += _image_lines({setting_of(r).without_method for r in every})
    if not found:
        return [*lines, "No cell finished: nothing can be said about gain or forgetting."]
    seeds = seeds_text(choices)
    one_seed = all(c.num_seeds == 1 for c in choices)
    lines += [f"{line}." for line in same_result_lines(best_sizes(choices))]
    return [*lines, f"This is an {seeds}." if one_seed else f"Numbers are means, {seeds}."]


def _method_lines(method: str, choices: Sequence[Choice], cases: set[CellSetting]) -> list[str]:
    """Gain, forgetting, old bitstreams and capacity of one method."""
    best = by_method(best_sizes(choices))[method]
    sized = len({c.setting.adapter_size for c in by_method(choices)[method]}) > 1
    who = f"{method} (best size by validation)" if sized else method
    lines = []
    gains = _known(best, GAIN)
    if gains:
        loses = math.fsum(gains) < 0
        number = sum(v < 0 if loses else v > 0 for v in gains)
        lines.append(
            f"{who} {'loses' if loses else 'gains'} in {_count(number, gains, cases)}: "
            f"{value_range(gains, signed)} % of the target loss on test {unit_text(cases)}."
        )
    lines += _forgetting_lines(method, best, cases)
    astray = diverged_text(best)
    lines += [f"Of {method}, {astray}."] if astray else []
    lines += _old_bitstream_lines(method, best)
    return lines + (_capacity_lines(method, choices) if sized else [])


def _forgetting_lines(method: str, best: Sequence[Choice], cases: set[CellSetting]) -> list[str]:
    routed, unrouted = _known(best, ROUTED), _known(best, UNROUTED)
    ways = [("", routed)]
    if routed != unrouted:
        ways = [("routed ", routed), ("unrouted ", unrouted)]
    parts = [
        f"{way}in {_count(sum(v > 0 for v in values), values, cases)}: "
        f"{value_range(values, signed)} % of the source loss"
        for way, values in ways
        if values
    ]
    return [f"{method} forgets {'; '.join(parts)}."] if parts else []


def _old_bitstream_lines(method: str, best: Sequence[Choice]) -> list[str]:
    exact, drops = _known(best, OLD_PIXELS), _known(best, OLD_DROP)
    if not exact or not drops:
        return []
    return [
        f"Old bitstreams, decoded after {method}: {value_range(exact, share)} % are pixel-exact, PSNR drop "
        f"{value_range(drops, signed)} dB."
    ]


def _source_mode_lines(method: str, records: Iterable[CellRecord]) -> list[str]:
    """Over all finished cells, not only the chosen ones: exactness has no exceptions."""
    checked = [
        all(r.metrics[name] == 1 for name in SOURCE_MODE)
        for r in records
        if r.params["method"] == method
        and r.status == "finished"
        and all(name in r.metrics for name in SOURCE_MODE)
    ]
    if not checked:
        return []
    where = f"ONLY {sum(checked)} of {len(checked)} cells"
    if all(checked):
        where = f"all {len(checked)} cells" if len(checked) > 1 else "the one cell"
    return [
        f"In source mode, {method} gave exactly the source codec's bytes and pixels in {where}."
    ]


def _capacity_lines(method: str, choices: Sequence[Choice]) -> list[str]:
    """The smallest size that is enough, by validation, and the cases for which it is."""
    cases: dict[CellSetting, list[Choice]] = defaultdict(list)
    for choice in by_method(choices)[method]:
        cases[choice.setting.without_method].append(choice)
    found: dict[str, list[str]] = defaultdict(list)
    for case, members in cases.items():
        found[_enough(members)].append(_place(case, choices))
    parts = []
    for size, places in found.items():
        # Naming many cases would fill the page.
        few = len(places) <= MAX_PLACES
        where = f"on {', '.join(places)}" if few else f"in {len(places)} of {len(cases)} cases"
        parts.append(f"{size} {where}")
    share = f"{100 * ENOUGH:.0f} % of {method}'s best validation gain"
    return [f"Smallest size with {share}: {'; '.join(parts)}."]


def _enough(members: Sequence[Choice]) -> str:
    """The smallest size, of those by rising size, that comes close to the best."""
    scores = [c.mean(VALIDATION_GAIN) or 0.0 for c in members]
    if max(scores) <= 0:
        return "none (no gain)"
    enough = next(c for c, v in zip(members, scores, strict=True) if v >= ENOUGH * max(scores))
    fraction = enough.mean(FRACTION)
    notes = [] if fraction is None else [f"{percent(fraction)} % of the parameters"]
    notes += ["the largest tried"] if enough is members[-1] else []
    return f"{enough.setting.adapter_size}" + (f" ({', '.join(notes)})" if notes else "")


def _control_lines(choices: Sequence[Choice]) -> list[str]:
    control = by_method(choices).get(CONTROL, [])
    gains, moved = _known(control, GAIN), _known(control, UNROUTED)
    if not gains or not moved:
        return []
    return [
        f"The control ({CONTROL}) gained {value_range(gains, signed)} % on the target "
        f"and changed the source loss by {value_range(moved, signed)} %."
    ]


def _image_lines(cases: Iterable[CellSetting]) -> list[str]:
    """What each domain was trained on, where its images are crops that share pictures."""
    counts: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        if case.image_unit == "crops":
            counts[case.domain].add(case.num_images)
    parts = [
        f"{domain} n = {' and '.join(map(str, sorted(numbers)))} crops"
        for domain, numbers in sorted(counts.items())
    ]
    if len(parts) > MAX_PLACES:
        numbers = [float(n) for own in counts.values() for n in own]
        parts = [f"n = {value_range(numbers, '{:.0f}'.format)} crops on {len(counts)} domains"]
    return [f"Crops of the same picture are not independent: {', '.join(parts)}."] if parts else []


def _edge_lines(choices: Sequence[Choice]) -> list[str]:
    edges = [pick.edge for c in choices for pick in c.picks]
    at_edge = [edge for edge in edges if edge in ("lowest", "highest")]
    single = sum(all(pick.edge == "only" for pick in c.picks) for c in choices)
    lines = []
    few = unbracketed(choices)
    if few:
        lines.append(f"{few[0].upper()}{few[1:]}: a wider grid may give better results.")
    elif at_edge:
        high = sum(edge == "highest" for edge in at_edge)
        lines.append(
            f"{len(at_edge)} of {len(edges)} chosen learning rates are at the edge of their grid "
            f"({high} at the highest, {len(at_edge) - high} at the lowest): a wider grid may give "
            "better results."
        )
    if single:
        verb = "was" if single == 1 else "were"
        lines.append(
            f"{single} of {len(choices)} settings {verb} run at one learning rate: there was none to choose."
        )
    return lines


def _gap_lines(records: Sequence[CellRecord]) -> list[str]:
    lines = []
    empty: dict[str, dict[str, None]] = defaultdict(dict)
    for setting in (missing.setting for missing in missing_settings(records)):
        size = f" {setting.adapter_size}" if setting.adapter_size else ""
        empty[setting.domain][f"{setting.method}{size}"] = None
    if empty:
        places = (f"{', '.join(labels)} on {domain}" for domain, labels in empty.items())
        lines.append(f"No result for {'; '.join(places)}.")
    failed = sum(r.status == "failed" for r in records)
    if failed:
        verb = "is" if failed == 1 else "are"
        lines.append(f"{failed} of {len(records)} cells failed and {verb} left out.")
    return lines


def _known(choices: Iterable[Choice], metric: str) -> list[float]:
    """Means over seeds of the choices that have the metric, without those whose every seed diverged."""
    found = (c.mean(metric) for c in choices if not c.all_diverged)
    return [mean for mean in found if mean is not None]


def _count(number: int, known: Sequence[float], cases: set[CellSetting]) -> str:
    """`5 of 6 domains (1 without result)`."""
    without = len(cases) - len(known)
    note = f" ({without} without result)" if without else ""
    unit = unit_name(cases).removesuffix("s") if len(known) == 1 else unit_name(cases)
    return f"{number} of {len(known)} {unit}{note}"


def _place(case: CellSetting, choices: Sequence[Choice]) -> str:
    """The domain, and whatever else tells the cases apart."""
    cases = [c.setting for c in choices]
    varying = [
        f"{name} {of(case)}" for name, of in SETTING_COLUMNS if len({of(s) for s in cases}) > 1
    ]
    return f"{case.domain} ({', '.join(varying)})" if varying else case.domain
