"""Images measured by several processes at once, one thread each.

Coding an image is decided in one pinned setting, one thread (see `coding_setting`), so that more cores
are used by more images at a time: the numbers are those of one process, in the same order.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from interfero.codecs.evaluation_store import Entry
from interfero.domains.images import Sample
from interfero.errors import CodecError

Measure = Callable[[Sample], Entry]
MeasureAll = Callable[[Sequence[Sample]], list[Entry]]

_measure: Measure | None = None
"""What a process of the pool does to each image; set once, when it starts."""


@contextmanager
def measuring(measure: Measure, processes: int) -> Iterator[MeasureAll]:
    """Measure images in `processes` processes, or only in this one if it is 1.

    Processes are started anew, not forked: PyTorch's threads do not survive a fork. As ever with
    `multiprocessing`, a script that asks for several must guard its start by `__name__`.

    Args:
        measure: Picklable; sent to each process once.
        processes: At least 1.

    Raises:
        CodecError: a process died, for want of memory for example.
    """
    if processes == 1:
        yield lambda samples: [measure(sample) for sample in samples]
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (measure,)) as pool:

        def measure_all(samples: Sequence[Sample]) -> list[Entry]:
            try:
                return list(pool.map(_measure_here, samples))
            except BrokenProcessPool as error:
                raise CodecError(
                    f"one of {processes} evaluating processes died, perhaps for want of memory: "
                    "use fewer, or a smaller max_tile"
                ) from error

        yield measure_all


def _start(measure: Measure) -> None:
    global _measure
    torch.set_num_threads(1)
    _measure = measure


def _measure_here(sample: Sample) -> Entry:
    assert _measure is not None
    return _measure(sample)
