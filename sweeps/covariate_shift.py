"""What does compression cost a segmentation model: how much is lost information, how much mismatch?"""

from interfero.engine.learning.command import LearningSweep, main
from interfero.engine.learning.options import LearningOptions
from trainables.learning_runner import RESTORATION_CODE, SEGMENTATION_CODE, LearningRunner

SWEEP = LearningSweep(
    kind="covariate-shift",
    question="What does compression cost a segmentation model: how much is lost information, how "
    "much is mismatch between training and deployment?",
    options=LearningOptions(
        configurations=("OO", "CC", "CO", "OC"),
        codecs=("mbt2018-mean", "jpeg"),
        rates=(0.3, 0.8),
        init_seeds=(0, 1, 2),
        num_steps=200,
    ),
    make_runner=LearningRunner.from_plan,
    restoration_code=RESTORATION_CODE,
    segmentation_code=SEGMENTATION_CODE,
)

if __name__ == "__main__":
    main(SWEEP)
