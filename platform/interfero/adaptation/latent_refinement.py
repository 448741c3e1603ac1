"""Refinement of each picture's latents, with the source codec as it is: a control that needs no adapter.

Campos et al., "Content Adaptive Optimization for Neural Image Compression", arXiv:1906.01223; the
quantisation is relaxed as in Yang et al., "Improving Inference for Neural Image Compression",
arXiv:2006.04240 (stochastic Gumbel annealing). Latents and hyper-latents of one picture are the parameters;
the loss is that of training. Streams are the source codec's own: every source decoder reads them, nothing is
stored, nothing is forgotten. The price is the encoder's time: `num_steps` are steps per picture.

The annealing is the paper's, stretched over the steps there are. The last word has the rounded loss: a
picture that refinement does not help is coded as the source codec codes it. Context models read latents
that are relaxed without their means, which are not known there yet.
"""

from __future__ import annotations

import copy
import hashlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adam import Adam
from interfero.adaptation.branched import BranchedCodec
from interfero.adaptation.method import AdaptedCodec, Method
from interfero.adaptation.table import LATENTS
from interfero.codecs.codec import Codec, part_owners
from interfero.codecs.entropy_coding import size_shown
from interfero.errors import AdapterError
from interfero.metrics.rate_distortion import estimated_bpp, mse_255, rd_loss
from interfero.randomness import Role, uniform_noise

HOTTEST = 0.5
"""Temperature of the relaxation at the start."""
COOLING, COOLING_FROM = 2.0, 0.35
"""The paper's 2,000 steps at a rate of 0.001 from step 700 on, as shares of all steps."""
MARGIN = 1e-5
"""Keeps the inverse hyperbolic tangent finite where a latent is an integer."""
MOST_KEPT = 64
"""Pictures whose latents are kept: a cell asks for each of its own twice, an archive has no end."""
MOST_STEPS = 100_000
"""A file that asks for more is none of ours: an encoder would not come back."""


class RefinedCodec(BranchedCodec):
    """The source codec with an encoder that searches."""

    def __init__(self, source: Codec) -> None:
        """Nothing is refined until `settle` or a file says how."""
        super().__init__(source, {})
        self.learning_rate: Tensor
        self.num_steps: Tensor
        self.register_buffer("learning_rate", torch.zeros((), dtype=torch.float64))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        # Not a submodule. While a picture is coded, networks of the source compute in integers.
        self._replica: tuple[CompressionModel, ...] = ()
        self._found: dict[bytes, Sequence[Tensor]] = {}

    def settle(self, learning_rate: float, num_steps: int) -> None:
        """Set the step size of latents, in their own unit, and the steps per picture."""
        self.learning_rate.fill_(learning_rate)
        self.num_steps.fill_(num_steps)
        self._found.clear()
        self._replica = (copy.deepcopy(self.source).eval().requires_grad_(False),)

    @property
    def adapter_id(self) -> None:
        """None in both modes: the stream is the source codec's."""
        return None

    def adapter_state(self) -> dict[str, Tensor]:
        """The settings."""
        return {n: b.detach().clone() for n, b in self.named_buffers()}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the settings."""
        names = [n for n, _ in self.named_buffers()]
        if set(state) != set(names) or any(v.numel() != 1 for v in state.values()):
            raise AdapterError(
                f"adapter does not fit this codec: it holds {', '.join(sorted(state)) or 'nothing'}, and "
                f"a refinement is {', '.join(names)}, one number each"
            )
        learning_rate, num_steps = float(state["learning_rate"]), int(state["num_steps"])
        if not (0 < learning_rate < math.inf and 1 <= num_steps <= MOST_STEPS):
            raise AdapterError(
                f"adapter asks for {num_steps} steps per picture at a learning rate of {learning_rate:g}: "
                f"steps lie between 1 and {MOST_STEPS}, rates above 0"
            )
        self.settle(learning_rate, num_steps)

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents, refined in target mode."""
        with self._refined(image_BCHW):
            output: dict[str, Any] = self.source(image_BCHW)
        return output

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """The source codec's strings of refined latents; of its own in source mode."""
        with self._refined(image_BCHW):
            output: dict[str, Any] = self.source.compress(image_BCHW)
        return output

    def refresh_tables(self) -> None:
        """Nothing to round: tables and parameters are the source's."""

    @contextmanager
    def _refined(self, image_BCHW: Tensor) -> Iterator[None]:
        """Let the source codec find these latents in place of its own, in target mode."""
        if self.mode == "source" or not self.num_steps:
            yield
            return
        if len(image_BCHW) > 1:
            raise ValueError("latents are refined one picture at a time")
        size = size_shown(image_BCHW)
        data = image_BCHW.contiguous().cpu().numpy().tobytes()
        digest = hashlib.blake2b(data, salt=struct.pack("<QQ", *size)).digest()
        if digest not in self._found:
            # Coding runs in inference mode, whose tensors know no gradient.
            with torch.inference_mode(mode=False), torch.enable_grad():
                found = self._search(image_BCHW.clone(), size)
            if len(self._found) == MOST_KEPT:
                del self._found[next(iter(self._found))]
            self._found[digest] = found
        with latents_given(self.source, self._found[digest]):
            yield

    def _search(self, image_1CHW: Tensor, size: tuple[int, int]) -> Sequence[Tensor]:
        """The latents that code a picture at the lowest loss that was found; padding costs bits alone."""
        (model,) = self._replica
        with torch.no_grad():
            first = own_latents(model, image_1CHW)
        latents = [nn.Parameter(latent.clone()) for latent in first]
        optimizer = Adam(latents, lr=float(self.learning_rate))
        num_steps = int(self.num_steps)
        for step in range(num_steps):
            optimizer.zero_grad()
            temperature = min(HOTTEST, math.exp(COOLING * (COOLING_FROM - step / num_steps)))
            with relaxed(model, step, temperature), latents_given(model, latents):
                self._objective(model.train(), image_1CHW, size).backward()
            optimizer.step()
        model.eval()
        found = [latent.detach() for latent in latents]
        with torch.no_grad():
            losses = []
            for candidate in (first, found):
                with latents_given(model, candidate):
                    losses.append(self._loss(model, image_1CHW, size, clipped=True))
        # Written so that a search that diverged loses.
        return found if losses[1] < losses[0] else first

    def _objective(
        self, model: CompressionModel, image_1CHW: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """What a step of the search minimises."""
        return self._loss(model, image_1CHW, size)

    def _loss(
        self, model: CompressionModel, image_1CHW: Tensor, size: tuple[int, int], *,
        clipped: bool = False,
    ) -> Tensor:  # fmt: skip
        """The loss of training, of what is shown; a decoder clips, which gives no gradient."""
        (height, width), output = size, model(image_1CHW)
        x_hat, image = (x[..., :height, :width] for x in (output["x_hat"], image_1CHW))
        bpp = estimated_bpp(output["likelihoods"].values(), height * width)
        return rd_loss(bpp, mse_255(x_hat.clamp(0, 1) if clipped else x_hat, image), self.rd_lambda)


def own_latents(model: CompressionModel, image_1CHW: Tensor) -> Sequence[Tensor]:
    """What the encoder's networks give for a picture: latents, then hyper-latents if there are any."""
    found: list[Tensor] = []
    handles = [
        encoder.register_forward_hook(lambda layer, inputs, output: found.append(output))
        for encoder in _encoders(model)
    ]
    try:
        model(image_1CHW)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def latents_given(model: CompressionModel, latents: Sequence[Tensor]) -> Iterator[None]:
    """Let the encoder's networks give these, whatever they are called with."""
    encoders = _encoders(model)
    before = [vars(encoder).get("forward") for encoder in encoders]
    for encoder, latent in zip(encoders, latents, strict=True):
        vars(encoder)["forward"] = _answer(latent)
    try:
        yield
    finally:
        for encoder, forward in zip(encoders, before, strict=True):
            del vars(encoder)["forward"]
            if forward is not None:
                vars(encoder)["forward"] = forward


def _encoders(model: CompressionModel) -> list[nn.Module]:
    """Analysis and hyper-analysis transform, in the order they are called."""
    return [getattr(owner, part) for part in ("g_a", "h_a") for owner in part_owners(model, part)]


def _answer(latent: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: latent


@contextmanager
def relaxed(model: nn.Module, step: int, temperature: float) -> Iterator[None]:
    """Round every latent up or down at random, by a draw that gradients pass.

    Args:
        model: Its entropy models are told apart by their names.
        step: Names the draw.
        temperature: Near 0 the draw is rounding.
    """
    patched = [(n, m) for n, m in model.named_modules() if isinstance(m, EntropyModel)]
    for name, module in patched:
        module.quantize = _relaxation(module, name, step, temperature)
    try:
        yield
    finally:
        for _, module in patched:
            del module.quantize


def _relaxation(module: EntropyModel, name: str, step: int, temperature: float) -> Any:
    def quantize(inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        centred = inputs if means is None else inputs - means
        below = centred.detach().floor()
        # The shape that noise is drawn in has the batch, which is one picture, first.
        shape = (
            tuple(inputs.shape) if not isinstance(module, EntropyBottleneck) else (1, *inputs.shape)
        )
        drawn = uniform_noise(shape, seed=0, step=step, role=Role.REFINEMENT, label=name)
        share = _upward_share(centred - below, drawn.reshape(inputs.shape) + 0.5, temperature)
        rounded = below + share
        return rounded if means is None else rounded + means

    return quantize


def _upward_share(fraction: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """How much of the integer above a relaxed draw takes, the rest being the one below."""
    distances = (1 - fraction, fraction)
    up, down = (-d.clamp(MARGIN, 1 - MARGIN).atanh() / temperature for d in distances)
    logistic = torch.logit(uniform.to(fraction), eps=MARGIN)
    return torch.sigmoid((up - down + logistic) / temperature)


class LatentRefinement(Method):
    """Per-picture search for latents; nothing is trained."""

    name: ClassVar[str] = "latent_refinement"
    paper: ClassVar[str] = "arXiv:1906.01223, arXiv:2006.04240"
    detaches: ClassVar[bool] = True
    random_init: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    attributes: ClassVar[bool] = False
    learning_rates: ClassVar[tuple[float, ...]] = LATENTS

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> RefinedCodec:
        """The source codec with an encoder that searches."""
        return RefinedCodec(source)

    def settle(
        self, adapted: AdaptedCodec, learning_rate: float, num_steps: int, strength: float = 1.0
    ) -> None:
        """Search with this step size, for so many steps per picture."""
        assert isinstance(adapted, RefinedCodec)
        adapted.settle(learning_rate, num_steps)
