"""Restoration sweeps: segmentation models trained on original, compressed and restored images."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from interfero.engine.code import closure_hash
from interfero.engine.ending import Ending
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.restoration.cells import StepCode
from interfero.engine.restoration.ending import write_ending
from interfero.engine.restoration.inputs import inputs_of
from interfero.engine.restoration.plan import RestorationPlan, make_plan
from interfero.engine.restoration.plan_text import print_plan
from interfero.engine.restoration.rates import match_rates, refuse_rates
from interfero.engine.study import Study
from interfero.engine.sweep_run import InputsOf, SweepRun
from interfero.engine.worker import PackRunner
from interfero.store.products import Products
from interfero.store.sweep import SweepStore


@dataclass(frozen=True)
class RestorationStudy(Study[RestorationOptions, RestorationPlan]):
    """How sweeps of segmentation models are planned, done and ended."""

    make_runner: Callable[[RestorationPlan], PackRunner]
    """Builds the trainable's `PackRunner`, and refuses a plan whose models cannot be built."""
    copies: str
    """Module that makes compressed copies; it and all that it imports decide them."""
    restoration: str
    """Module that trains restorers."""
    segmentation: tuple[str, ...]
    """Modules that train segmentation models and score them."""
    adapting: str
    """Module that adapts codecs for a model."""
    between: tuple[str, ...]
    """Modules that hand images to both trainings; they count, and not all that they import."""

    def code(self) -> str:
        """See `Study`."""
        return StepCode(
            copies=closure_hash(self.copies),
            restoration=closure_hash(self.restoration, alone=self.between),
            segmentation=closure_hash(*self.segmentation, alone=self.between),
            adapting=closure_hash(self.adapting, alone=self.between),
        ).text

    def plan(self, options: RestorationOptions, code: str, store: SweepStore) -> RestorationPlan:
        """See `Study`."""
        return make_plan(options, StepCode(*code.split(" ")))

    def inputs(self, plan: RestorationPlan, store: SweepStore) -> InputsOf:
        """See `Study`."""
        return inputs_of(plan, store)

    def runner(self, plan: RestorationPlan) -> PackRunner:
        """See `Study`."""
        return self.make_runner(plan)

    def prepare(self, plan: RestorationPlan, store: SweepStore, done: Set[str]) -> None:
        """See `Study`: builds every model once, and finds each codec's setting at each rate."""
        left = [cell for cell in plan.cells if cell.key not in done]
        keep, products = not plan.options.dry_run, Products(store.storage)
        packs = plan.packs(left, done)
        # Models take longer to build than a rate that no codec reaches to be found.
        refuse_rates(plan, packs, products, keep=keep)
        self.make_runner(plan)
        match_rates(plan, packs, products, keep=keep)

    def show(
        self, console: Console, title: str, question: str, plan: RestorationPlan, store: SweepStore,
        done: Set[str],
    ) -> None:  # fmt: skip
        """See `Study`."""
        print_plan(console, title, question, plan, done, Products(store.storage))

    def end(
        self,
        question: str,
        plan: RestorationPlan,
        run: SweepRun,
        searches: Sequence[Any],
        command: str,
    ) -> Ending:
        """See `Study`."""
        return write_ending(question, plan, run, command)
