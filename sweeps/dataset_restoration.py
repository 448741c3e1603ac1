"""Does restoring a compressed training set win back what compression cost the model trained on it?"""

from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import restoration

SWEEP = Sweep(
    kind="dataset-restoration",
    question="Does restoring a compressed training set win back what compression cost the model "
    "trained on it, and is it more than mixing in originals?",
    options=RestorationOptions(
        configurations=("OO", "CO", "RO", "RR", "MO"),
        codecs=("mbt2018-mean", "jpeg"),
        rates=(0.3,),
        restorations=("gan", "regression"),
        restoration_splits=("disjoint",),
        init_seeds=(0, 1, 2),
        num_steps=200,
        restoration_steps=200,
    ),
    study=restoration,
)

if __name__ == "__main__":
    main(SWEEP)
