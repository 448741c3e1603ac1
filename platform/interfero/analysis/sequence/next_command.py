"""The command that makes an answer about sequences surer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from interfero.adaptation.table import METHOD_TABLE, MethodEntry
from interfero.analysis.next_command import (
    NOWHERE,
    Next,
    domain_reasons,
    image_counts,
    joined,
    named,
    options_of,
    time_text,
    tried_rates,
    unknown_folders,
)
from interfero.records import CellRecord


def sequence_command(records: Sequence[CellRecord], changes: Mapping[str, Sequence[str]]) -> Next:
    """The sweep over sequences that has the same chains with the changes, put together of what rows tell."""
    rows = [r for r in records if r.params["sequence"] and r.params["method"] != "source"]
    orders = sorted({str(r.params["sequence"]) for r in rows})
    # A sweep takes orders of one length; of one that ends before the others, stages were not run.
    length = max((o.count(">") for o in orders), default=0)
    whole = [o for o in orders if o.count(">") == length]

    def values(name: str) -> list[str]:
        return sorted({str(r.params.get(name, "none")) for r in rows} - {"0", "none"})

    options = {
        **options_of(rows, {}),
        "python": ["sweeps/domain_sequence.py"],
        "--num-images": values("images_asked") or image_counts(rows), "--orders": whole,
        "--memory-images": values("memory_images"), "--buffers": values("buffer"),
        "--memory-forms": values("memory_form"),
    }  # fmt: skip
    (together,) = named([joined({**options, **changes})])
    tried, cells = tried_rates(rows), Counter(str(r.params["method"]) for r in rows)
    seeds = len(changes.get("--data-seeds", ())) / len({r.params["data_seed"] for r in rows}) or 1
    size = sum(
        n * seeds * len(METHOD_TABLE.get(method, MethodEntry()).learning_rates) / len(tried[method])
        for method, n in cells.items()
    )
    reasons = [*domain_reasons(rows, {}), *([unknown_folders()] if NOWHERE in together else [])]
    text = f"That is about {size:.0f} rows, where {len(records)} were run"
    return Next(tuple(reasons), together, text + time_text([(together, size)], rows))
