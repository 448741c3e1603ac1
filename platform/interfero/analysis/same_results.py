"""Methods that come to the same codec, as adding or averaging may: two rows of a table, and one result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from interfero.analysis.choices import CellSetting, Choice, Seed
from interfero.metrics.names import GAIN, UNROUTED


def same_result_lines(choices: Iterable[Choice]) -> list[str]:
    """`merge_mean and task_arithmetic gave the same result in every cell`, one for each such group.

    Args:
        choices: One a case and method.
    """
    results: dict[str, dict[CellSetting, tuple[Mapping[Seed, float], Mapping[Seed, float]]]] = (
        defaultdict(dict)
    )
    for choice in choices:
        values = choice.by_seed(GAIN), choice.by_seed(UNROUTED)
        results[choice.setting.method][choice.setting.without_method] = values
    groups: dict[str, list[str]] = defaultdict(list)
    for method, own in results.items():
        # What changes nothing at all is no result that two methods share.
        if any(gain for gains, _ in own.values() for gain in gains.values()):
            groups[repr(sorted(own.items(), key=lambda pair: pair[0].order))].append(method)
    return [
        f"{', '.join(methods[:-1])} and {methods[-1]} gave the same result in every cell"
        for methods in groups.values()
        if len(methods) > 1
    ]
