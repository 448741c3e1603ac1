"""How much adapter capacity does a new domain need, and what does naive fine-tuning destroy?"""

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="adapter-capacity",
    question="How much adapter capacity does a new domain need, and what does naive fine-tuning "
    "destroy?",
    options=AdaptationOptions(
        domains=("histology", "fundus", "astronomy", "textures", "text", "charts", "windows"),
        methods=("finetune", "cawf", "continue_source"),
        adapter_sizes=(1, 2, 4, 8),
        lambdas=(0.013,),
        # Sized so that the whole answer takes about six minutes on two cores with bfloat16.
        num_steps=50,
        batch_size=4,
        max_target_images=8,
        max_source_images=8,
    ),
    study=adaptation,
)

if __name__ == "__main__":
    main(SWEEP)
