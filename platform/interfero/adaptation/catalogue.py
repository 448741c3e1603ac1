"""Command-line names of the methods."""

from __future__ import annotations

from interfero.adaptation.bias_gain import BiasGain
from interfero.adaptation.cawf import Cawf
from interfero.adaptation.cawf_two_way import CawfTwoWay
from interfero.adaptation.continue_source import ContinueSource
from interfero.adaptation.distill import Distill
from interfero.adaptation.dora import Dora
from interfero.adaptation.ewc import Ewc
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.finetune_decoder import FinetuneDecoder
from interfero.adaptation.finetune_encoder import FinetuneEncoder
from interfero.adaptation.freeze_entropy import FreezeEntropy
from interfero.adaptation.from_scratch import FromScratch
from interfero.adaptation.gated_adapters import GatedAdapters
from interfero.adaptation.l2_sp import L2Sp
from interfero.adaptation.latent_refinement import LatentRefinement
from interfero.adaptation.lora import Lora
from interfero.adaptation.lora_all_rates import LoraAllRates
from interfero.adaptation.lora_entropy import LoraEntropy
from interfero.adaptation.lora_transforms import LoraTransforms
from interfero.adaptation.method import Method
from interfero.adaptation.regularised_refinement import RegularisedRefinement
from interfero.adaptation.replay import Replay
from interfero.adaptation.residual_adapter import ResidualAdapter
from interfero.adaptation.rslora import RsLora
from interfero.errors import ConfigError, nearest

NAIVE = (
    Finetune(), FinetuneEncoder(), FinetuneDecoder(), FreezeEntropy(), FromScratch(),
    ContinueSource(),
)  # fmt: skip
ISOLATING = (
    Cawf(), CawfTwoWay(), Lora(), LoraTransforms(), LoraEntropy(), RsLora(), Dora(), LoraAllRates(),
    ResidualAdapter(), GatedAdapters(), BiasGain(), LatentRefinement(), RegularisedRefinement(),
)  # fmt: skip
REHEARSING = (L2Sp(), Ewc(), Distill(), Replay())

METHODS: dict[str, Method] = {m.name: m for m in (*NAIVE, *ISOLATING, *REHEARSING)}
"""Name to method."""


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        ConfigError: unknown name; says the nearest.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}: {nearest(name, METHODS)}")
    return METHODS[name]
