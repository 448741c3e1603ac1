r"""CAwF, strict one-way reading: the source codec inside, unchanged, and custom channels beside it.

After Katakol et al., "DANICE: domain adaptation without forgetting in neural image compression",
arXiv:2104.09370 (CVPR workshops 2021). Custom parameters read source activations; nothing of the source
codec reads custom ones:

            x --g_a--> y --Q--> y_hat --------g_s----------> base picture
              \         |  \ h_a, z, h_s |  \                    +
               custom g_a --> y_c --Q--> y_c_hat --custom g_s--> correction
                         \ custom h_a, z_c, h_s; y_hat gives y_c its means and scales

A target stream is the source stream and an enhancement: an old decoder shows the base picture. The
correction's last layer starts at zero, so that training starts from the source codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.models import MeanScaleHyperprior
from torch import Tensor, nn

from interfero.adaptation.method import AdaptedCodec, Method, Output, Strings, tables_of
from interfero.adaptation.one_way import Activations, OneWayChain, walk
from interfero.codecs.codec import Codec
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.errors import AdapterError, CodecError
from interfero.randomness import Role, seed_for

CUSTOM_INIT_SCALE = 2.0
"""Initial width of the custom hyper-latents' prior; CompressAI's 10 costs bits that training must unlearn."""

CUSTOM_INIT_STD = 0.3
"""Initial scale of the custom latents: nearly all of them round to zero, which costs little."""


@dataclass(frozen=True)
class SourcePass:
    """All that custom channels may read, of one batch."""

    g_a: Activations
    y: Tensor
    h_a: Activations
    h_s: Activations
    y_hat: Tensor
    g_s: Activations
    x_hat: Tensor
    likelihoods: Mapping[str, Tensor]


def source_pass(
    model: MeanScaleHyperprior, image_BCHW: Tensor, noise: NoiseKey | None
) -> SourcePass:
    """The source codec's pass without gradient; rounded latents if `noise` is None."""
    quantised = nullcontext() if noise is None else explicit_noise(model, noise)
    with torch.no_grad(), quantised:
        g_a, y = walk(model.g_a, image_BCHW)
        h_a, z = walk(model.h_a, y)
        z_hat, z_likelihoods = model.entropy_bottleneck(z, training=noise is not None)
        h_s, parameters = walk(model.h_s, z_hat)
        scales, means = parameters.chunk(2, 1)
        y_hat, y_likelihoods = model.gaussian_conditional(
            y, scales, means=means, training=noise is not None
        )
        g_s, x_hat = walk(model.g_s, y_hat)
    return SourcePass(g_a, y, h_a, h_s, y_hat, g_s, x_hat, {"y": y_likelihoods, "z": z_likelihoods})


class CawfCodec(AdaptedCodec):
    """The source codec and `num_custom` custom channels beside every layer of it."""

    def __init__(self, source: Codec, num_custom: int) -> None:
        """Build the custom chains; the caller seeds the generator."""
        super().__init__(source)
        model = source.model
        if type(model) is not MeanScaleHyperprior:
            raise CodecError(
                f"cawf does not know {source.shape.architecture!r} yet: use mbt2018-mean"
            )
        # Not a submodule: its parameters are no parameters of the adapter.
        self._source = (model,)
        k = num_custom
        self.g_a = OneWayChain(model.g_a, num_custom=k, custom_in=0, custom_out=k, zero_head=True)
        self.h_a = OneWayChain(model.h_a, num_custom=k, custom_in=k, custom_out=k)
        self.h_s = OneWayChain(
            model.h_s, num_custom=k, custom_in=k, custom_out=2 * k, zero_head=True
        )
        self.context = nn.Conv2d(source.shape.num_latents, 2 * k, 1, bias=False)
        self.g_s = OneWayChain(model.g_s, num_custom=k, custom_in=k, custom_out=3, zero_head=True)
        self.entropy_bottleneck = EntropyBottleneck(k, init_scale=CUSTOM_INIT_SCALE)
        self.gaussian_conditional = GaussianConditional(None)
        # Random heads would start with scales of tens (base latents are that large), and every custom
        # symbol would cost bits: measured, 0.13 bpp for 8 channels after 150 steps.
        nn.init.zeros_(self.context.weight)
        bias = torch.cat([torch.full((k,), CUSTOM_INIT_STD), torch.zeros(k)])
        self.h_s.head.bias = nn.Parameter(bias)
        self._share_scale_tables()

    @property
    def source(self) -> MeanScaleHyperprior:
        """The embedded source codec."""
        return self._source[0]

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """The embedded source codec and the custom modules."""
        return (self.source, self)

    def _share_scale_tables(self) -> None:
        """Custom latents are coded by the source's frozen Gaussian tables."""
        for name, table in tables_of(self.source.gaussian_conditional).items():
            setattr(self.gaussian_conditional, name.lstrip("."), table.clone())

    def adapter_state(self) -> dict[str, Tensor]:
        """Custom parameters, and the tables of the custom hyper-latents."""
        state = dict(self.named_parameters())
        return {**state, **tables_of(self.entropy_bottleneck, "entropy_bottleneck")}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Replace custom parameters and tables."""
        parameters = dict(self.named_parameters())
        tables = {n: v for n, v in state.items() if n not in parameters}
        wrong = [n for n, v in parameters.items() if n not in state or state[n].shape != v.shape]
        if wrong or any(not n.startswith("entropy_bottleneck.") for n in tables):
            raise AdapterError(f"adapter does not fit this codec: {(wrong or sorted(tables))[0]!r}")
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(state[name])
        for name, table in tables.items():
            setattr(self.entropy_bottleneck, name.rpartition(".")[2], table.clone())

    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """Noisy custom latents beside the source pass, which is computed if it is not given."""
        base = shared if shared is not None else source_pass(self.source, image_BCHW, noise)
        custom_noise = NoiseKey(
            noise.seed, noise.step, noise.batch_size, Role.CUSTOM_NOISE, noise.first_index
        )
        with explicit_noise(self, custom_noise):
            return self._custom_pass(base, training=True)

    def _custom_pass(self, base: SourcePass, *, training: bool) -> Output:
        y_c = self.g_a(base.g_a, None)
        z_c = self.h_a(base.h_a, y_c)
        z_c_hat, z_likelihoods = self.entropy_bottleneck(z_c, training=training)
        scales, means = self._custom_parameters(base.h_s, z_c_hat, base.y_hat)
        y_c_hat, y_likelihoods = self.gaussian_conditional(
            y_c, scales, means=means, training=training
        )
        x_hat = base.x_hat + self.g_s(base.g_s, y_c_hat)
        custom = {"custom_y": y_likelihoods, "custom_z": z_likelihoods}
        return Output(x_hat, {**base.likelihoods, **custom})

    def _custom_parameters(
        self, h_s: Activations, z_c_hat: Tensor, y_hat: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scales and means of the custom latents; the base latents are known by then."""
        scales, means = (self.h_s(h_s, z_c_hat) + self.context(y_hat)).chunk(2, 1)
        return scales, means

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents in the present mode."""
        base = source_pass(self.source, image_BCHW, None)
        if self.mode == "source":
            return {"x_hat": base.x_hat, "likelihoods": base.likelihoods}
        output = self._custom_pass(base, training=False)
        return {"x_hat": output.x_hat, "likelihoods": output.likelihoods}

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """The source codec's strings, and in target mode those of the custom latents behind them."""
        coded: dict[str, Any] = self.source.compress(image_BCHW)
        if self.mode == "source":
            return coded
        g_a, y = walk(self.source.g_a, image_BCHW)
        h_a, _ = walk(self.source.h_a, y)
        h_s, y_hat = self._decode_base(coded["strings"], coded["shape"])
        y_c = self.g_a(g_a, None)
        z_c = self.h_a(h_a, y_c)
        z_strings = self.entropy_bottleneck.compress(z_c)
        z_c_hat = self.entropy_bottleneck.decompress(z_strings, z_c.size()[-2:])
        scales, means = self._custom_parameters(h_s, z_c_hat, y_hat)
        indexes = self.gaussian_conditional.build_indexes(scales)
        y_strings = self.gaussian_conditional.compress(y_c, indexes, means=means)
        return {"strings": [*coded["strings"], y_strings, z_strings], "shape": coded["shape"]}

    def _decode_base(self, strings: Strings, shape: torch.Size) -> tuple[Activations, Tensor]:
        """Activations of `h_s`, and the base latents, exactly as the decoder has them."""
        model = self.source
        z_hat = model.entropy_bottleneck.decompress(strings[1], shape)
        h_s, parameters = walk(model.h_s, z_hat)
        scales, means = parameters.chunk(2, 1)
        indexes = model.gaussian_conditional.build_indexes(scales)
        return h_s, model.gaussian_conditional.decompress(strings[0], indexes, means=means)

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """The base picture, and in target mode the correction that the custom latents bring."""
        if self.mode == "source":
            decoded: dict[str, Tensor] = self.source.decompress(strings, shape)
            return decoded
        h_s, y_hat = self._decode_base(strings[:2], shape)
        z_c_hat = self.entropy_bottleneck.decompress(strings[3], shape)
        scales, means = self._custom_parameters(h_s, z_c_hat, y_hat)
        indexes = self.gaussian_conditional.build_indexes(scales)
        y_c_hat = self.gaussian_conditional.decompress(strings[2], indexes, means=means)
        g_s, base = walk(self.source.g_s, y_hat)
        return {"x_hat": (base + self.g_s(g_s, y_c_hat)).clamp_(0, 1)}

    def refresh_tables(self) -> None:
        """Tables of the custom hyper-latents; the source's are never touched."""
        self.entropy_bottleneck.update(force=True, update_quantiles=True)
        self.name_adapter()

    def frozen_source_state(self) -> dict[str, Tensor]:
        """The embedded source codec's parameters and tables."""
        return dict(self.source.state_dict())


class Cawf(Method):
    """Strict one-way CAwF: the base layer is the source stream, the custom layer an enhancement."""

    name: ClassVar[str] = "cawf"
    paper: ClassVar[str] = "arXiv:2104.09370, strict one-way reading"
    size_unit: ClassVar[str | None] = "channels"
    detaches: ClassVar[bool] = True

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> CawfCodec:
        """Custom channels beside a source codec that stays as it is.

        Raises:
            CodecError: `adapter_size` below 1, or an architecture it does not know.
        """
        if adapter_size < 1:
            raise CodecError(f"cawf needs at least 1 custom channel, got {adapter_size}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(init_seed, adapter_size, Role.INIT, label="cawf"))
            return CawfCodec(source, adapter_size)

    def shared_pass(self, source: Codec, image_BCHW: Tensor, noise: NoiseKey) -> SourcePass:
        """The frozen source's activations: the same for every adapter size."""
        return source_pass(source.model, image_BCHW, noise)
