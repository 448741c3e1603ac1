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
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.base_layer import (
    KNOWN,
    SourcePass,
    decode_latents,
    hyper_input,
    source_pass,
)
from interfero.adaptation.custom_prior import CustomFactorizedPrior, CustomHyperprior, CustomPrior
from interfero.adaptation.method import AdaptedCodec, Method, Output, Strings, half, tables_of
from interfero.adaptation.one_way import OneWayChain, walk
from interfero.adaptation.table import CUSTOM_CHANNELS
from interfero.codecs.codec import Codec
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.errors import AdapterError, CodecError
from interfero.randomness import Role, seed_for

TABLES = "prior.entropy_bottleneck."


class CawfCodec(AdaptedCodec):
    """The source codec and `num_custom` custom channels beside every layer of it."""

    def __init__(self, source: Codec, num_custom: int) -> None:
        """Build the custom chains; the caller seeds the generator."""
        super().__init__(source)
        model = source.model
        if type(model) not in KNOWN:
            raise CodecError(
                f"cawf does not adapt {source.shape.architecture!r}: it knows codecs that are chains of "
                "convolutions, GDN and ReLU without a context model (bmshj2018-*, mbt2018-mean); "
                "cawf_two_way or lora adapt more of them"
            )
        k = num_custom
        self.g_a = OneWayChain(model.g_a, num_custom=k, custom_in=0, custom_out=k, zero_head=True)
        self.g_s = OneWayChain(
            model.g_s,
            num_custom=k,
            custom_in=k,
            custom_out=source.shape.image_channels,
            zero_head=True,
        )
        self.prior: CustomPrior = (
            CustomHyperprior(source, k) if hasattr(model, "h_a") else CustomFactorizedPrior(k)
        )

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """The embedded source codec and the custom modules."""
        return (self.source, self)

    def adapter_state(self) -> dict[str, Tensor]:
        """Custom parameters in half precision, and the tables of the custom bottleneck."""
        state = {n: p.detach().half() for n, p in self.named_parameters()}
        return {**state, **tables_of(self.prior.entropy_bottleneck, TABLES.rstrip("."))}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Replace custom parameters and tables."""
        parameters = dict(self.named_parameters())
        tables = {n: v for n, v in state.items() if n not in parameters}
        wrong = [n for n, v in parameters.items() if n not in state or state[n].shape != v.shape]
        if wrong or any(not n.startswith(TABLES) for n in tables):
            raise AdapterError(f"adapter does not fit this codec: {(wrong or sorted(tables))[0]!r}")
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(state[name].float())
        for name, table in tables.items():
            setattr(self.prior.entropy_bottleneck, name.removeprefix(TABLES), table.clone())

    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """Noisy custom latents beside the source pass, which is computed if it is not given."""
        base = shared if shared is not None else source_pass(self.source, image_BCHW, noise)
        with explicit_noise(self, noise.with_role(Role.CUSTOM_NOISE)):
            return self._custom_pass(base, training=True)

    def _custom_pass(self, base: SourcePass, *, training: bool) -> Output:
        h_a, h_s = base.chains.get("h_a", ()), base.chains.get("h_s", ())
        y_c = self.g_a(base.chains["g_a"], None)
        y_c_hat, custom = self.prior.estimate(y_c, h_a, h_s, base.y_hat, training=training)
        x_hat = base.x_hat + self.g_s(base.chains["g_s"], y_c_hat)
        return Output(x_hat, {**base.likelihoods, **custom})

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents in the present mode."""
        base = source_pass(self.source, image_BCHW, None)
        if self.mode == "source":
            return {"x_hat": base.x_hat, "likelihoods": base.likelihoods}
        output = self._custom_pass(base, training=False)
        return {"x_hat": output.x_hat, "likelihoods": output.likelihoods}

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """The source codec's strings, and in target mode those of the custom latents behind them."""
        model = self.source
        coded: dict[str, Any] = model.compress(image_BCHW)
        if self.mode == "source":
            return coded
        g_a, y = walk(model.g_a, image_BCHW)
        h_a = walk(model.h_a, hyper_input(model, y))[0] if hasattr(model, "h_a") else ()
        h_s, y_hat = decode_latents(model, coded["strings"], coded["shape"])
        strings = self.prior.compress(self.g_a(g_a, None), h_a, h_s, y_hat)
        return {"strings": [*coded["strings"], *strings], "shape": coded["shape"]}

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """The base picture, and in target mode the correction that the custom latents bring."""
        if self.mode == "source":
            decoded: dict[str, Tensor] = self.source.decompress(strings, shape)
            return decoded
        num_base = 2 if hasattr(self.source, "h_a") else 1
        h_s, y_hat = decode_latents(self.source, strings[:num_base], shape)
        y_c_hat = self.prior.decompress(strings[num_base:], h_s, y_hat, shape)
        g_s, base = walk(self.source.g_s, y_hat)
        return {"x_hat": (base + self.g_s(g_s, y_c_hat)).clamp_(0, 1)}

    def refresh_tables(self) -> None:
        """Round to what the file holds; tables of the custom bottleneck, never the source's."""
        bottleneck = self.prior.entropy_bottleneck
        bottleneck.update(force=True, update_quantiles=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(half(parameter))
        # Again: half precision changes the tables.
        bottleneck.update(force=True)
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
    learning_rates: ClassVar[tuple[float, ...]] = CUSTOM_CHANNELS
    fuses: ClassVar[bool] = True
    attributes: ClassVar[bool] = False

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
