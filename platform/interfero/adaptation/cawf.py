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

Channels of one domain may in turn be what those of the next one stand beside (`grown`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.base_layer import (
    KNOWN,
    Encoded,
    SourcePass,
    decode_latents,
    encode_source,
    source_pass,
)
from interfero.adaptation.custom_prior import (
    Beside,
    CustomFactorizedPrior,
    CustomHyperprior,
    CustomPrior,
)
from interfero.adaptation.method import AdaptedCodec, Method, Output, Strings, half, tables_of
from interfero.adaptation.one_way import Activations, OneWayChain, walk
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
        below = model.beside if isinstance(model, GrownCodec) else _beside(source)
        if isinstance(model, GrownCodec):
            # A header names the codec of everyone, and the adapter.
            self.codec_id = model.layer.codec_id
        k, chains = num_custom, below.chains
        self.g_a = OneWayChain(
            chains["g_a"], num_custom=k, custom_in=0, custom_out=k, zero_head=True
        )
        self.g_s = OneWayChain(
            chains["g_s"],
            num_custom=k,
            custom_in=k,
            custom_out=source.shape.image_channels,
            zero_head=True,
        )
        self.prior: CustomPrior = (
            CustomHyperprior(below, k) if "h_a" in chains else CustomFactorizedPrior(k)
        )
        self.below, self.num_custom = below, num_custom

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """The embedded source codec and the custom modules, those below first."""
        model = self.source
        return (*(model.layer.roots if isinstance(model, GrownCodec) else (model,)), self)

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
        base = shared if shared is not None else _pass_below(self.source, image_BCHW, noise)
        with explicit_noise(self, noise.with_role(Role.CUSTOM_NOISE), self._noise_prefix):
            return self._custom_pass(base, training=True)

    @property
    def _noise_prefix(self) -> str:
        """Layers of channels above each other draw noise of their own."""
        depth = len(self.roots) - 2
        return f"{depth}." if depth else ""

    def _custom_pass(self, base: SourcePass, *, training: bool) -> Output:
        h_a, h_s = base.chains.get("h_a", ()), base.chains.get("h_s", ())
        y_c = self.g_a(base.chains["g_a"], None)
        estimated = self.prior.estimate(y_c, h_a, h_s, base.y_hat, training=training)
        x_hat = base.x_hat + self.g_s(base.chains["g_s"], estimated.y_c_hat)
        return Output(x_hat, {**base.likelihoods, **estimated.likelihoods})

    def joint_pass(self, image_BCHW: Tensor, noise: NoiseKey | None) -> SourcePass:
        """The pass of source and custom channels as channels beside them read it, without gradient."""
        base = _pass_below(self.source, image_BCHW, noise)
        role = noise and noise.with_role(Role.CUSTOM_NOISE)
        drawn = explicit_noise(self, role, self._noise_prefix) if role else nullcontext()
        with torch.no_grad(), drawn:
            h_a, h_s = base.chains.get("h_a", ()), base.chains.get("h_s", ())
            g_a, y_c = self.g_a.walk(base.chains["g_a"], None)
            found = self.prior.estimate(y_c, h_a, h_s, base.y_hat, training=noise is not None)
            g_s, correction = self.g_s.walk(base.chains["g_s"], found.y_c_hat)
            chains = {
                "g_a": g_a,
                "h_a": self.prior.joint_h_a(h_a, y_c),
                "h_s": self.prior.joint_h_s(h_s, found.z_c_hat),
                "g_s": g_s,
            }
        own = {f"below.{self._noise_prefix}{n}": v for n, v in found.likelihoods.items()}
        y_hat = torch.cat([base.y_hat, found.y_c_hat], dim=1)
        return SourcePass(chains, y_hat, base.x_hat + correction, {**base.likelihoods, **own})

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents in the present mode."""
        base = _pass_below(self.source, image_BCHW, None)
        if self.mode == "source":
            return {"x_hat": base.x_hat, "likelihoods": base.likelihoods}
        output = self._custom_pass(base, training=False)
        return {"x_hat": output.x_hat, "likelihoods": output.likelihoods}

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """The source codec's strings, and in target mode those of the custom latents behind them."""
        if self.mode == "source":
            coded: dict[str, Any] = self.source.compress(image_BCHW)
            return coded
        base = _encode_below(self.source, image_BCHW)
        strings = self.prior.compress(self.g_a(base.g_a, None), base.h_a, base.h_s, base.y_hat)
        return {"strings": [*base.coded["strings"], *strings], "shape": base.coded["shape"]}

    def joint_encode(self, image_BCHW: Tensor) -> Encoded:
        """Code images in target mode, and keep what channels beside these read."""
        base = _encode_below(self.source, image_BCHW)
        shape = base.coded["shape"]
        g_a, y_c = self.g_a.walk(base.g_a, None)
        strings = self.prior.compress(y_c, base.h_a, base.h_s, base.y_hat)
        h_s, y_hat = self._joint_latents(strings, base.h_s, base.y_hat, shape)
        coded = {"strings": [*base.coded["strings"], *strings], "shape": shape}
        return Encoded(coded, g_a, self.prior.joint_h_a(base.h_a, y_c), h_s, y_hat)

    def joint_latents(
        self, strings: Strings, shape: torch.Size
    ) -> tuple[Activations, Tensor, Strings]:
        """`h_s` and latents of source and custom channels, and the strings behind theirs."""
        h_s, y_hat, rest = _latents_below(self.source, strings, shape)
        count = self._num_strings
        joint = self._joint_latents(rest[:count], h_s, y_hat, shape)
        return (*joint, rest[count:])

    def _joint_latents(
        self, strings: Strings, h_s: Activations, y_hat: Tensor, shape: torch.Size
    ) -> tuple[Activations, Tensor]:
        z_c_hat = self.prior.hyper_latents(strings, shape)
        y_c_hat = self.prior.decompress(strings, z_c_hat, h_s, y_hat)
        return self.prior.joint_h_s(h_s, z_c_hat), torch.cat([y_hat, y_c_hat], dim=1)

    @property
    def _num_strings(self) -> int:
        return 2 if isinstance(self.prior, CustomHyperprior) else 1

    def joint_picture(self, y_hat: Tensor) -> tuple[Activations, Tensor]:
        """What channels beside these read of the synthesis, and its picture, not clamped."""
        num_below = self.below.num_latents
        g_s, base = _picture_below(self.source, y_hat[:, :num_below])
        joint, correction = self.g_s.walk(g_s, y_hat[:, num_below:])
        return joint, base + correction

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """The base picture, and in target mode the correction that the custom latents bring."""
        if self.mode == "source":
            decoded: dict[str, Tensor] = self.source.decompress(strings, shape)
            return decoded
        h_s, y_hat, rest = _latents_below(self.source, strings, shape)
        z_c_hat = self.prior.hyper_latents(rest, shape)
        y_c_hat = self.prior.decompress(rest, z_c_hat, h_s, y_hat)
        g_s, base = _picture_below(self.source, y_hat)
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


class GrownCodec(CompressionModel):  # type: ignore[misc]
    """A codec with custom channels that have learned, frozen: what those of the next domain read.

    They read all channels before them, and none of those reads them: a stream of the next domain holds the
    stream of this codec, to the bit.
    """

    def __init__(self, base: CompressionModel, layer: CawfCodec) -> None:
        """Put them together.

        Args:
            base: The source codec's model, or one that has grown already.
            layer: Custom channels beside it, trained, its tables refreshed.
        """
        super().__init__()
        self.base = base
        self.layer = layer.eval().requires_grad_(False)

    @property
    def downsampling_factor(self) -> int:
        """The source codec's."""
        return int(self.base.downsampling_factor)

    @property
    def beside(self) -> Beside:
        """All of it, for the next channels."""
        layer, below = self.layer, self.layer.below
        chains: dict[str, nn.Sequential | OneWayChain] = {"g_a": layer.g_a, "g_s": layer.g_s}
        if isinstance(layer.prior, CustomHyperprior):
            chains |= {"h_a": layer.prior.h_a, "h_s": layer.prior.h_s}
        return Beside(below.first, chains, below.num_latents + layer.num_custom)

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents."""
        return self.layer(image_BCHW)  # type: ignore[no-any-return]

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Strings of the codec below and of its own channels behind them."""
        return self.layer.compress(image_BCHW)

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """`x_hat` in [0, 1]."""
        return self.layer.decompress(strings, shape)


def grown(source: Codec, layer: CawfCodec) -> Codec:
    """A codec and the custom channels trained beside it, as what the next ones stand beside."""
    model = GrownCodec(source.model, layer)
    return Codec(source.shape, source.rd_lambda, source.name, model.eval())


def _beside(source: Codec) -> Beside:
    model = source.model
    if type(model) not in KNOWN:
        raise CodecError(
            f"cawf does not adapt {source.shape.architecture!r}: it knows codecs that are chains of "
            "convolutions, GDN and ReLU without a context model (bmshj2018-*, mbt2018-mean); "
            "cawf_two_way or lora adapt more of them"
        )
    chains = {n: m for n, m in model.named_children() if n in ("g_a", "g_s", "h_a", "h_s")}
    return Beside(model, chains, source.shape.num_latents)


def _pass_below(model: CompressionModel, image_BCHW: Tensor, noise: NoiseKey | None) -> SourcePass:
    if isinstance(model, GrownCodec):
        return model.layer.joint_pass(image_BCHW, noise)
    return source_pass(model, image_BCHW, noise)


def _encode_below(model: CompressionModel, image_BCHW: Tensor) -> Encoded:
    if isinstance(model, GrownCodec):
        return model.layer.joint_encode(image_BCHW)
    return encode_source(model, image_BCHW)


def _latents_below(
    model: CompressionModel, strings: Strings, shape: torch.Size
) -> tuple[Activations, Tensor, Strings]:
    """`h_s`, latents, and the strings that are left."""
    if isinstance(model, GrownCodec):
        return model.layer.joint_latents(strings, shape)
    count = 2 if hasattr(model, "h_a") else 1
    return (*decode_latents(model, strings[:count], shape), strings[count:])


def _picture_below(model: CompressionModel, y_hat: Tensor) -> tuple[Activations, Tensor]:
    if isinstance(model, GrownCodec):
        return model.layer.joint_picture(y_hat)
    return walk(model.g_s, y_hat)


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
        return _pass_below(source.model, image_BCHW, noise)
