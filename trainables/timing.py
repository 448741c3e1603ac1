"""What a member of a pack took, put into the parts that a cost estimate needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from interfero.codecs.codec import Codec
from interfero.engine.adaptation.nodes import Cell, LoopConfig, Reference
from interfero.engine.timing import StepClock, setting_of
from interfero.engine.worker import Worker
from interfero.records import Timing


@dataclass(frozen=True)
class EvaluationTime:
    """An evaluation's seconds and megapixels, by what they went to."""

    validation_seconds: float
    reference_seconds: float
    """The source codec's own results, where they were not kept yet."""
    coded_megapixels: float
    validated_megapixels: float
    reference_megapixels: float


@dataclass
class MemberClock:
    """A member's training time, in parts."""

    steps: StepClock = field(default_factory=StepClock)
    """What it does alone."""
    shared_steps: StepClock = field(default_factory=StepClock)
    """What its pack does once for all members: the batch and the frozen source pass."""
    prepare_seconds: float = 0.0

    def timing(
        self,
        cell: Cell,
        codec: Codec,
        worker: Worker,
        *,
        evaluation: EvaluationTime | None = None,
        evaluation_seconds: float = 0.0,
    ) -> Timing:
        """What the cell took; `evaluation_seconds` is all that followed its last step."""
        spent = {}
        if evaluation is not None:
            apart = evaluation.validation_seconds + evaluation.reference_seconds
            spent = {
                "coding_seconds": max(0.0, evaluation_seconds - apart),
                "coded_megapixels": evaluation.coded_megapixels,
                "validation_seconds": evaluation.validation_seconds,
                "validated_megapixels": evaluation.validated_megapixels,
                "reference_seconds": evaluation.reference_seconds,
                "reference_megapixels": evaluation.reference_megapixels,
            }
        return Timing(
            setting=setting_of(codec.shape, cell.loop, worker.device, worker.world_size),
            method=cell.hyperparameters.method,
            adapter_size=cell.hyperparameters.adapter_size,
            num_steps=self.steps.count,
            step_seconds=self.steps.mean,
            pack_step_seconds=self.shared_steps.mean,
            prepare_seconds=self.prepare_seconds,
            **spent,
        )


def reference_timing(
    codec: Codec, node: Reference, worker: Worker, seconds: float, megapixels: float
) -> Timing | None:
    """What evaluating the source codec took; None where all of it was there."""
    if not megapixels:
        return None
    loop = LoopConfig(num_steps=1, threads=torch.get_num_threads())
    return Timing(
        setting=setting_of(codec.shape, loop, worker.device),
        method=node.kind,
        adapter_size=0,
        num_steps=0,
        step_seconds=0.0,
        pack_step_seconds=0.0,
        reference_seconds=seconds,
        reference_megapixels=megapixels,
    )
