"""Training on the target domain from random weights: what the source codec's knowledge is worth.

With the steps of an adaptation it ends far from convergence. It is the control that shows what the
other methods owe to their start.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.method import Method
from interfero.adaptation.table import LARGER_STEPS
from interfero.codecs.codec import Codec, build_model, part_owners
from interfero.randomness import Role, seed_for


class FromScratch(Method):
    """A codec of the source's shape that has never seen the source domain."""

    name: ClassVar[str] = "from_scratch"
    paper: ClassVar[str] = "control"
    detaches: ClassVar[bool] = False
    fuses: ClassVar[bool] = True
    starts_at_source: ClassVar[bool] = False
    learning_rates: ClassVar[tuple[float, ...]] = LARGER_STEPS

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> CopiedCodec:
        """Fresh weights; the tables come with the first `refresh_tables`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(init_seed, 0, Role.INIT, label=self.name))
            fresh = build_model(source.shape)
        fresh.update(force=True)
        # A fixed grid of scales: the source's frozen tables, not this machine's. The bottleneck's are
        # made after training.
        name = "gaussian_conditional"
        owners = part_owners(fresh, name), part_owners(source.model, name)
        for mine, given in zip(*owners, strict=True):
            setattr(mine, name, copy.deepcopy(getattr(given, name)))
        return CopiedCodec(source, start=fresh)
