"""Sweeps over sequences of domains: a codec that meets one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from interfero.engine.adaptation.calibration import settled_precision
from interfero.engine.adaptation.inputs import inputs_of
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.code import closure_hash
from interfero.engine.ending import Ending
from interfero.engine.options.sequence import SequenceOptions
from interfero.engine.sequence.ending import write_ending
from interfero.engine.sequence.plan import SequencePlan, make_sequence_plan
from interfero.engine.sequence.plan_text import print_sequence_plan
from interfero.engine.study import Study
from interfero.engine.sweep_run import InputsOf, SweepRun
from interfero.engine.worker import PackRunner
from interfero.store.sweep import SweepStore


@dataclass(frozen=True)
class SequenceStudy(Study[SequenceOptions, SequencePlan]):
    """How sweeps over sequences of domains are planned, done and ended."""

    make_runner: Callable[[AdaptationPlan], PackRunner]
    """Builds the trainable's `PackRunner`: it starts from the same codecs and domains as if each were met by
    itself."""
    entry: str
    """Module that trains, codes and measures; it and all that it imports decide a row's numbers."""

    def code(self) -> str:
        """See `Study`."""
        return closure_hash(self.entry)

    def plan(self, options: SequenceOptions, code: str, store: SweepStore) -> SequencePlan:
        """See `Study`. The precision is settled first: every key has it."""
        options.check()
        loaded = load(options.trainings)
        precision = settled_precision(loaded, code, store, self.make_runner)
        return make_sequence_plan(options, loaded, code, precision)

    def runner(self, plan: SequencePlan) -> PackRunner:
        """See `Study`."""
        return self.make_runner(plan.base)

    def inputs(self, plan: SequencePlan, store: SweepStore) -> InputsOf:
        """See `Study`: what a row's last domain was adapted with; before the first, nothing was."""
        of_stage = inputs_of(plan.base)
        return lambda key, params: of_stage(key, params) if params["stage"] else ()

    def show(
        self, console: Console, title: str, question: str, plan: SequencePlan, store: SweepStore,
        done: Set[str],
    ) -> None:  # fmt: skip
        """See `Study`."""
        print_sequence_plan(console, title, question, plan, done, store.storage)

    def end(
        self,
        question: str,
        plan: SequencePlan,
        run: SweepRun,
        searches: Sequence[Any],
        command: str,
    ) -> Ending:
        """See `Study`."""
        return write_ending(question, run, command)
