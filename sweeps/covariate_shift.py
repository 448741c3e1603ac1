"""What does compression cost a segmentation model: how much is lost information, how much mismatch?"""

from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import restoration

SWEEP = Sweep(
    kind="covariate-shift",
    question="What does compression cost a segmentation model: how much is lost information, how "
    "much is mismatch between training and deployment?",
    options=RestorationOptions(
        configurations=("OO", "CC", "CO", "OC"),
        codecs=("mbt2018-mean", "jpeg"),
        rates=(0.3, 0.8),
        init_seeds=(0, 1, 2),
        num_steps=200,
    ),
    study=restoration,
)

if __name__ == "__main__":
    main(SWEEP)
