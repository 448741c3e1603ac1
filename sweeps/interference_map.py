"""How do gain and forgetting grow with images and bitrate, and which law, if any, holds?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="interference-map",
    question="How do gain and forgetting grow with images and bitrate, and which law, if any, "
    "holds?",
    options=AdaptationOptions(
        # One domain: the rest of ten minutes goes into levels and seeds, without which there is no law.
        domains=("text",),
        methods=("finetune", "lora", "continue_source"),
        adapter_sizes=(4,),
        # The law over images at one lambda, that over lambda at 20 images.
        design="star",
        lambdas=(0.013, 0.0016, 0.0045, 0.045),
        num_images=("20", "1", "5", "all"),
        data_seeds=(0, 1, 2),
        num_steps=40,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "interference_map"),
)

if __name__ == "__main__":
    main(SWEEP)
