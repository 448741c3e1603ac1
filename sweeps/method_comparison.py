"""What does each way to adapt a codec gain, and what does it forget?"""

from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

RELATIVES = ("lora_transforms", "lora_entropy", "rslora", "dora")
"""Of `lora`: at these sizes and budgets they need more seeds than a comparison of all methods has."""
ALL_RATES = tuple(name for name, entry in METHOD_TABLE.items() if entry.all_rates)
"""They take several of `--lambdas`."""
NO_BETTER = ("regularised_refinement",)
"""Than `latent_refinement`, with the bundled codec (docs/methods.md); `--methods` takes it all the same."""

SWEEP = Sweep(
    kind="method-comparison",
    question="What does each way to adapt a codec gain, and what does it forget?",
    options=AdaptationOptions(
        domains=("histology", "textures", "text"),
        methods=tuple(
            name for name in METHOD_TABLE if name not in (*RELATIVES, *ALL_RATES, *NO_BETTER)
        ),
        adapter_sizes=(1, 4),
        lambdas=(0.013,),
        data_seeds=(0, 1, 2),
        num_steps=60,
        batch_size=4,
        max_target_images=8,
        max_source_images=8,
    ),
    study=adaptation,
)

if __name__ == "__main__":
    main(SWEEP)
