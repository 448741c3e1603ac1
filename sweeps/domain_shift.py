"""Does a codec forget more the further a domain is from its own, and can this be predicted?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="domain-shift",
    question="Does a codec forget more the further a domain is from its own, and can this "
    "be predicted?",
    options=AdaptationOptions(
        domains=("histology", "fundus", "astronomy", "textures", "text", "charts", "windows"),
        methods=("finetune", "lora", "continue_source"),
        adapter_sizes=(4,),
        lambdas=(0.013,),
        # The same number for all domains, so that only the domain differs.
        num_images=("5",),
        data_seeds=(0, 1, 2),
        num_steps=50,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "domain_shift"),
)

if __name__ == "__main__":
    main(SWEEP)
