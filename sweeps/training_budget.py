"""How do gain and forgetting grow with the number of training steps, and how many are enough?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="training-budget",
    question="How do gain and forgetting grow with the number of training steps, and how many are enough?",
    options=AdaptationOptions(
        domains=("text", "charts"),
        methods=("finetune", "lora", "continue_source"),
        adapter_sizes=(4,),
        lambdas=(0.013,),
        data_seeds=(0, 1, 2),
        # Several: longer trainings continue shorter ones, and halving chooses which learning rates go on.
        num_steps=(60, 250),
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "training_budget"),
)

if __name__ == "__main__":
    main(SWEEP)
