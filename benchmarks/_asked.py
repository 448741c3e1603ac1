"""What the comparisons of budgets ask: the question of `sweeps/adapter_capacity.py`, on fewer domains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from interfero.config import Config


class Asked(Config):
    """Cells that are compared, as options of a benchmark."""

    domains: tuple[str, ...] = ("histology", "text", "charts")
    """Bundled target domains."""
    num_steps: tuple[int, ...] = Field(default=(60, 250, 1000), min_length=2)
    """Numbers of steps; each is a question of its own."""
    methods: tuple[str, ...] = ("finetune", "lora", "cawf")
    """Methods; each has its own grid of learning rates (docs/learning_rates.md)."""
    adapter_size: int = 4
    """Of the methods that have a size."""
    learning_rates: tuple[float, ...] = ()
    """One grid for all methods, instead of their own."""
    data_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds that draw training subsets, crops and noise."""
    max_images: int = Field(default=8, gt=0)
    """Test images of target and source domain that are coded."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of training."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""

    def arguments(self, data_seeds: Sequence[int]) -> list[str]:
        """Options of the sweep command."""
        lists: dict[str, Sequence[object]] = {
            "--domains": self.domains, "--methods": self.methods, "--num-steps": self.num_steps,
            "--adapter-sizes": [self.adapter_size], "--learning-rates": self.learning_rates,
            "--data-seeds": data_seeds, "--max-target-images": [self.max_images],
            "--max-source-images": [self.max_images], "--precision": [self.precision],
        }  # fmt: skip
        words = [str(word) for name, values in lists.items() if values for word in (name, *values)]
        # All sides choose among the same learning rates.
        return [*words, "--no-widen-rates"]
