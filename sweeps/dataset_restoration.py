"""Does restoring a compressed training set win back what compression cost the model trained on it?"""

from interfero.engine.learning.command import LearningSweep, main
from interfero.engine.learning.options import LearningOptions
from trainables.learning_runner import RESTORATION_CODE, SEGMENTATION_CODE, LearningRunner

SWEEP = LearningSweep(
    kind="dataset-restoration",
    question="Does restoring a compressed training set win back what compression cost the model "
    "trained on it, and is it more than mixing in originals?",
    options=LearningOptions(
        configurations=("OO", "CO", "RO", "RR", "MO"),
        codecs=("mbt2018-mean", "jpeg"),
        rates=(0.3,),
        restorations=("gan", "regression"),
        restoration_splits=("disjoint",),
        init_seeds=(0, 1, 2),
        num_steps=200,
        restoration_steps=200,
    ),
    make_runner=LearningRunner.from_plan,
    restoration_code=RESTORATION_CODE,
    segmentation_code=SEGMENTATION_CODE,
)

if __name__ == "__main__":
    main(SWEEP)
