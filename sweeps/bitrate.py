"""Is forgetting worse at low or at high rate, and what does adapting save along the whole curve?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="bitrate",
    question="Is forgetting worse at low or at high rate, and what does adapting save along the "
    "whole curve?",
    options=AdaptationOptions(
        domains=("histology", "text"),
        methods=("finetune", "cawf", "continue_source"),
        adapter_sizes=(4,),
        # Four: a BD-rate needs at least four points.
        lambdas=(0.0016, 0.0045, 0.013, 0.045),
        data_seeds=(0, 1, 2),
        num_steps=50,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "bitrate"),
)

if __name__ == "__main__":
    main(SWEEP)
