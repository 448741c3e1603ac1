"""Does a codec forget more the larger a known shift is, and does a distance measured before foretell it?"""

from functools import partial

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, main
from trainables.studies import adaptation

SWEEP = Sweep(
    kind="graded-shift",
    question="Does a codec forget more the larger a known shift is, and does a distance measured "
    "before adapting foretell it on corruptions left out whole?",
    options=AdaptationOptions(
        # A kind or two of each group, and one mixture; `--domains photographs.corruptions` is all 75.
        domains=(
            *(
                f"photographs.{corruption}-{severity}"
                for corruption in (
                    "gaussian_noise", "defocus_blur", "fog", "contrast", "pixelate", "jpeg_compression",
                )
                for severity in (1, 3, 5)
            ),
            *(f"photographs.mix-text-{percent}" for percent in (0, 25, 50, 75, 100)),
        ),
        methods=("finetune", "continue_source"),
        lambdas=(0.013,),
        # What every mixture has outside validation, so that only the shift differs.
        num_images=("12",),
        num_steps=50,
        batch_size=4,
        max_target_images=6,
        max_source_images=6,
    ),
    study=partial(adaptation, "graded_shift"),
)  # fmt: skip

if __name__ == "__main__":
    main(SWEEP)
