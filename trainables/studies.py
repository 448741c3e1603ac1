"""The kinds of sweep that there are, each made when it is needed: `--help` loads none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interfero.analysis.answers import AnswerName
    from interfero.engine.adaptation.study import AdaptationStudy
    from interfero.engine.restoration.study import RestorationStudy


def adaptation(answer: AnswerName = "capacity") -> AdaptationStudy:
    """Codecs adapted to domains; `answer` names the figures and sentences of the question."""
    from interfero.analysis.answers import ANSWERS
    from interfero.engine.adaptation.study import AdaptationStudy
    from trainables.adaptation_runner import AdaptationRunner

    return AdaptationStudy(
        make_runner=AdaptationRunner.from_plan,
        entry="trainables.adaptation",
        answer=ANSWERS[answer],
    )


def restoration() -> RestorationStudy:
    """Segmentation models trained on original, compressed and restored images."""
    from interfero.engine.restoration.study import RestorationStudy
    from trainables.learning_runner import RestorationRunner

    return RestorationStudy(
        make_runner=RestorationRunner.from_plan,
        copies="interfero.codecs.compressed",
        restoration="trainables.restoration",
        segmentation=("trainables.segmentation", "trainables.learning_scores"),
        between=("trainables.learning_bench", "trainables.learning_runner"),
    )
