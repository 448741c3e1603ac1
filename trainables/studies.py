"""The kinds of sweep that there are, each made when it is needed: `--help` loads none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interfero.analysis.answers import AnswerName
    from interfero.engine.adaptation.study import AdaptationStudy
    from interfero.engine.restoration.study import RestorationStudy
    from interfero.engine.sequence.study import SequenceStudy


def adaptation(answer: AnswerName = "capacity") -> AdaptationStudy:
    """Codecs adapted to domains; `answer` names the figures and sentences of the question."""
    from interfero.engine.adaptation.study import AdaptationStudy
    from trainables.runner import Runner

    return AdaptationStudy(
        make_runner=Runner.of_adaptation,
        entry="trainables.adaptation",
        answer=answer,
    )


def restoration() -> RestorationStudy:
    """Segmentation models trained on original, compressed and restored images."""
    from interfero.engine.restoration.study import RestorationStudy
    from trainables.runner import Runner

    return RestorationStudy(
        make_runner=Runner.of_restoration,
        copies="interfero.codecs.compressed",
        restoration="trainables.restoration",
        segmentation=("trainables.segmentation", "trainables.segmentation_scores"),
        adapting="trainables.task_codecs",
        between=("trainables.restoration_bench", "trainables.restoration_nodes"),
    )


def sequence() -> SequenceStudy:
    """Codecs that meet one domain after another."""
    from interfero.engine.sequence.study import SequenceStudy
    from trainables.runner import Runner

    return SequenceStudy(make_runner=Runner.of_adaptation, entry="trainables.sequence_nodes")
