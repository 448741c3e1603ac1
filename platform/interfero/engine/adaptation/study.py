"""Adaptation sweeps: cells that adapt a source codec, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from interfero.codecs.catalogue import is_own
from interfero.codecs.fidelity import FIDELITY_IMAGES, fidelity_line
from interfero.engine.adaptation.calibration import calibrate, settled_precision
from interfero.engine.adaptation.cost import CostModel
from interfero.engine.adaptation.estimating import estimate_plan, expected_packs
from interfero.engine.adaptation.halving import Halving, Outlook, outlook
from interfero.engine.adaptation.inputs import inputs_of
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.plan import AdaptationPlan, make_plan
from interfero.engine.adaptation.plan_text import (
    print_cells,
    print_cost,
    print_halving,
    print_plan,
)
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.code import closure_hash
from interfero.engine.ending import Ending
from interfero.engine.measurements import (
    Measurements,
    keep_start,
    keep_timings,
    read_measurements,
)
from interfero.engine.node import Node
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.study import Study
from interfero.engine.sweep_run import InputsOf, SweepRun
from interfero.engine.timing import machine_name
from interfero.engine.worker import PackRunner
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore
from interfero.tracking.operations import DatasetUse

if TYPE_CHECKING:
    from interfero.analysis.answers import AnswerName
    from interfero.engine.adaptation.search import BlockSearch


@dataclass(frozen=True)
class AdaptationStudy(Study[AdaptationOptions, AdaptationPlan]):
    """How sweeps of adapted codecs are planned, done and ended."""

    make_runner: Callable[[AdaptationPlan], PackRunner]
    """Builds the trainable's `PackRunner`."""
    entry: str
    """Module of the training loop; it and all that it imports decide a cell's numbers."""
    answer: AnswerName
    """Which figures and sentences the question is answered with."""

    def code(self) -> str:
        """See `Study`."""
        return closure_hash(self.entry)

    def plan(self, options: AdaptationOptions, code: str, store: SweepStore) -> AdaptationPlan:
        """See `Study`. The precision is settled first: every key has it."""
        loaded = load(options)
        precision = settled_precision(loaded, code, store, self.make_runner)
        return make_plan(loaded, code, precision)

    def inputs(self, plan: AdaptationPlan, store: SweepStore) -> InputsOf:
        """See `Study`."""
        return inputs_of(plan)

    def all_inputs(self, plan: AdaptationPlan, inputs: InputsOf) -> list[DatasetUse]:
        """See `Study`: of all blocks, whichever cells a sampler will choose."""
        found = {
            (use.name, use.digest): use
            for block in plan.blocks
            for use in inputs("", block.model_dump())
        }
        return list(found.values())

    def runner(self, plan: AdaptationPlan) -> PackRunner:
        """See `Study`."""
        return self.make_runner(plan)

    def prepare(self, plan: AdaptationPlan, store: SweepStore, done: Set[str]) -> None:
        """See `Study`: times a few steps if `--calibrate` asks for it."""
        if plan.options.calibrate:
            keep_timings(store.storage, calibrate(plan, self.make_runner(plan)))

    def show(
        self, console: Console, title: str, question: str, plan: AdaptationPlan, store: SweepStore,
        done: Set[str],
    ) -> None:  # fmt: skip
        """See `Study`."""
        print_plan(console, title, question, plan)
        options = plan.options
        if is_own(options.source):
            for value, codec in plan.codecs.items():
                most = min(FIDELITY_IMAGES, options.max_source_images)
                line = fidelity_line(codec, plan.source_domain, most)
                console.print(
                    f"    {codec.name} at {value:g}: {line}", highlight=False, markup=False
                )
        if not options.dry_run:
            return
        known = _measurements(plan, store)
        left = _outlook(plan, store, done)
        model = CostModel(known.timings, plan.setting)
        packs = plan.packs(left.possible, done, model=model)
        keys = frozenset(cell.key for cell in plan.cells if cell.key in done)
        print_cells(console, plan, packs, keys, every=options.list_cells)
        expected = [*packs, *expected_packs(plan)] if options.searches else packs
        if options.sampler == "halving":
            print_halving(console, plan, left, len(keys))
            expected = plan.packs(left.expected, done, model=model)
        print_cost(console, estimate_plan(plan, expected, known))

    def searches(self, plan: AdaptationPlan, store: SweepStore) -> list[BlockSearch]:
        """See `Study`."""
        if not plan.options.searches:
            return []
        # Optuna, and below the analysis, take seconds to import: no sweep needs them before it trains.
        from interfero.engine.adaptation.search import open_searches

        earlier = store.finished_elsewhere(plan.code) if plan.options.reuse else ()
        return open_searches(plan, store.folder / "search.db", store.ended, earlier)

    def halving(self, plan: AdaptationPlan, store: SweepStore) -> Halving | None:
        """See `Study`."""
        if plan.options.sampler != "halving":
            return None
        options = plan.options

        def known(key: str) -> CellRecord | None:
            taken = store.take_over({key}) if options.reuse else iter(())
            return store.finished(key) or next(taken, None)

        return Halving(plan.cells, store.ended, widen=options.widens, known=known)

    def packs(
        self, plan: AdaptationPlan, left: Sequence[Node], done: Set[str], store: SweepStore,
        at_once: int | None = None,
    ) -> list[Pack]:  # fmt: skip
        """See `Study`: packs of equal length, from what the storage knows of the time of such cells."""
        model = CostModel(_measurements(plan, store).timings, plan.setting)
        return plan.packs(left, done, at_once, model)

    def cells_at_once(self, plan: AdaptationPlan, packs_at_once: int) -> int:
        """See `Study`."""
        if not plan.options.searches:
            return 1
        from interfero.engine.adaptation.search import cells_at_once

        return cells_at_once(plan.options, len(plan.blocks), packs_at_once, plan.max_mixed_members)

    def say_cost(
        self, console: Console, plan: AdaptationPlan, packs: Sequence[Pack], store: SweepStore
    ) -> None:
        """See `Study`."""
        known = _measurements(plan, store)
        if CostModel(known.timings, plan.setting).num_timings:
            expected = expected_packs(plan) if plan.options.searches else packs
            if plan.options.sampler == "halving":
                done = {cell.key for cell in plan.cells if store.finished(cell.key) is not None}
                expected = plan.packs(_outlook(plan, store, done).expected, done)
            print_cost(console, estimate_plan(plan, expected, known))

    def ended(self, plan: AdaptationPlan, run: SweepRun, began: float) -> None:
        """See `Study`: remembers how long Ray and the first actor took, for the next estimate."""
        if began < run.started < float("inf"):
            keep_start(run.store.storage, machine_name(plan.loop.device), run.started - began)

    def end(
        self, question: str, plan: AdaptationPlan, run: SweepRun, searches: Sequence[BlockSearch],
        command: str,
    ) -> Ending:  # fmt: skip
        """See `Study`."""
        from interfero.analysis.answers import ANSWERS
        from interfero.engine.adaptation.ending import write_ending

        Checkpoints(run.store.folder).delete_trunks()
        return write_ending(
            question, ANSWERS[self.answer], plan.options, run, searches, command, plan.codecs
        )


def _outlook(plan: AdaptationPlan, store: SweepStore, done: Set[str]) -> Outlook:
    """The cells that have not finished, and how many of them a sampler will train at most."""
    left = [cell for cell in plan.cells if cell.key not in done]
    if plan.options.sampler != "halving":
        return Outlook(left, left)
    planned = {cell.key for cell in plan.cells}
    records = {record.key: record for record in store.finished_anywhere(planned & done)}

    def find(key: str) -> CellRecord | None:
        if key in planned:
            return records.get(key)
        others = store.finished_in_others({key}) if plan.options.reuse else iter(())
        return store.finished(key) or next(others, None)

    return outlook(plan.cells, {cell.key for cell in left}, find, widen=plan.options.widens)


def _measurements(plan: AdaptationPlan, store: SweepStore) -> Measurements:
    return read_measurements(store.storage, machine_name(plan.loop.device))
