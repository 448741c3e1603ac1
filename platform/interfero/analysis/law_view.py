"""What is said of a law wherever one is shown."""

from __future__ import annotations

from interfero.analysis.axes import AXES
from interfero.analysis.scaling import Scaling


def law_text(scaling: Scaling) -> str:
    """The law, its exponents with their intervals, and what it stands on."""
    data = scaling.data
    basis = f"{len(data.domains)} settings, n = {len(data.seeds)} seeds"
    if not scaling.beats_null:
        return f"no law beats a constant for each domain ({basis})"
    shapes = scaling.parameters()[: len(scaling.chosen.law.shape_names)]
    parts = [f"{plain_name(p.name)} {p.value:.2f} ({p.low:.2f} to {p.high:.2f})" for p in shapes]
    name = scaling.chosen.law.name.replace("_", " ")
    return f"{name} law, 95 % intervals: {', '.join(parts)}; {basis}"


def plain_name(name: str) -> str:
    """`exponent of images` for `exponent:num_images`."""
    kind, _, axis = name.partition(":")
    return f"{kind} of {AXES[axis].word}" if axis else kind.replace("_", " ")
