"""How many images does adapting to a domain take, and does forgetting grow with them?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="image-count",
    question="How many images does adapting to a domain take, and does forgetting grow with them?",
    options=AdaptationOptions(
        # Rendered domains: the other bundled ones have six to twelve crops of one picture.
        domains=("text", "charts"),
        methods=("finetune", "lora", "continue_source"),
        adapter_sizes=(4,),
        lambdas=(0.013,),
        num_images=("1", "5", "20", "all"),
        data_seeds=(0, 1, 2),
        num_steps=50,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "image_count"),
)

if __name__ == "__main__":
    main(SWEEP)
