"""How many images does adapting to a domain take, and does forgetting grow with them?"""

from interfero.analysis.answers import IMAGE_COUNT
from interfero.engine.command import Sweep, main
from interfero.engine.options import AdaptationOptions
from trainables.adaptation_runner import ADAPTATION_CODE, AdaptationRunner

SWEEP = Sweep(
    kind="image-count",
    question="How many images does adapting to a domain take, and does forgetting grow with them?",
    options=AdaptationOptions(
        # Drawn ones: the others that come along have six to twelve crops of one picture.
        domains=("text", "charts"),
        methods=("finetune", "lora", "continue_source"),
        adapter_sizes=(4,),
        learning_rates=(1e-4, 1e-3),
        lambdas=(0.013,),
        num_images=("1", "5", "20", "all"),
        data_seeds=(0, 1, 2),
        num_steps=50,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    make_runner=AdaptationRunner.from_plan,
    code=ADAPTATION_CODE,
    answer=IMAGE_COUNT,
)

if __name__ == "__main__":
    main(SWEEP)
