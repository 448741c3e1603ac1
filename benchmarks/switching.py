"""What it costs to switch between adapters on one source codec: `python benchmarks/switching.py`.

The peer is what one would do without: load the other fine-tuned codec's parameters into the modules
(`load_state_dict`). The switch is everything a pass pays to have one adapter's branches joined and
removed again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import tyro
from _report import Target, finish, run

from interfero.adaptation import METHODS
from interfero.adaptation.branched import BranchedCodec
from interfero.codecs.catalogue import load_codec

TARGET = Target("<=", 1.0)
METHOD_NAMES = ("lora", "residual_adapter", "gated_adapters", "bias_gain", "cawf_two_way")


def milliseconds(act: Callable[[], object], repeats: int) -> float:
    """Median time of an act."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main(
    repeats: int = 200,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure the switch of each method that joins branches.

    Args:
        repeats: Switches of each kind; the median counts.
        json_path: Where to keep every figure.
    """
    torch.set_num_threads(1)
    codec = load_codec("mbt2018-mean", 0.013)
    state = {name: value.clone() for name, value in codec.model.state_dict().items()}
    figures: dict[str, object] = {}
    loaded = milliseconds(lambda: codec.model.load_state_dict(dict(state)), repeats)
    figures["load_state_dict_ms"] = loaded
    print_line("load_state_dict", loaded)
    worst = 0.0
    for name in METHOD_NAMES:
        adapted = METHODS[name].build(codec, 1, 0)
        assert isinstance(adapted, BranchedCodec)

        def switch(adapted: BranchedCodec = adapted) -> None:
            with adapted.attached():
                pass

        figures[f"{name}_ms"] = value = milliseconds(switch, repeats)
        print_line(name, value)
        worst = max(worst, value)
    figures["ratio_to_load_state_dict"] = loaded / worst
    finish("adapter_switch", worst, "ms", TARGET, TARGET.met(worst), figures, json_path)


def print_line(name: str, value: float) -> None:
    """One figure."""
    print(f"{name:20s} {value:.3f} ms")


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
