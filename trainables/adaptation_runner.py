"""Adaptation as the engine sees it: packs in, records out, and everything warm in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interfero.codecs.catalogue import load_codec
from interfero.domains.domain import Domain
from interfero.engine.cells import CellRecord, Pack
from interfero.engine.worker import Worker
from trainables import adaptation, evaluation
from trainables.adaptation import run_pack
from trainables.evaluation import Workbench

if TYPE_CHECKING:
    from interfero.engine.planning import Plan

ADAPTATION_CODE = (Path(str(adaptation.__file__)), Path(str(evaluation.__file__)))
"""Files whose code decides an adaptation cell's numbers."""

MAX_BENCHES = 8
"""Workbenches a process keeps: a codec of a few megabytes and coded test images each."""

_BENCHES: OrderedDict[tuple[str, str, str], Workbench] = OrderedDict()
"""Lives as long as the process: a warm actor codes the source images of a block once."""


@dataclass(frozen=True)
class AdaptationRunner:
    """Trains packs of adaptation cells; travels to workers with its domains."""

    source: str
    domains: dict[str, Domain]
    source_domain: Domain

    @classmethod
    def from_plan(cls, plan: Plan) -> AdaptationRunner:
        """The runner of a plan."""
        return cls(plan.options.source, plan.domains, plan.source_domain)

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a cell, in order."""
        return run_pack(pack.cells, self._bench(pack), worker)

    def _bench(self, pack: Pack) -> Workbench:
        identity, value = pack.cells[0].identity, pack.block.rd_lambda
        key = (identity.codec_hash, identity.domain_hash, identity.source_domain_hash)
        if key not in _BENCHES:
            _BENCHES[key] = Workbench(
                load_codec(self.source, value),
                lambda: load_codec(self.source, value),
                self.domains[pack.block.domain],
                self.source_domain,
            )
            while len(_BENCHES) > MAX_BENCHES:
                _BENCHES.popitem(last=False)
        _BENCHES.move_to_end(key)
        return _BENCHES[key]
