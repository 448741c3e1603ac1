"""How does interference grow as a codec meets one domain after another, and what becomes of old streams?"""

from interfero.engine.options.sequence import SequenceOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import sequence

SWEEP = Sweep(
    kind="domain-sequence",
    question="How does interference grow as a codec meets one domain after another, and what becomes of old "
    "streams?",
    options=SequenceOptions(
        domains=("histology", "text", "textures"),
        methods=("finetune", "replay", "lora", "joint"),
        orders=("latin",),
        adapter_sizes=(4,),
        lambdas=(0.013,),
        memory_images=(16,),
        # For ten minutes on two cores: 8.3 on two that have AMX, quiet.
        num_steps=30,
        batch_size=4,
        max_target_images=8,
        max_source_images=8,
    ),
    study=sequence,
)

if __name__ == "__main__":
    main(SWEEP)
