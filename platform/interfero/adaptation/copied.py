"""A full copy of the source codec, all or part of which learns; it has no source mode.

Its file holds the difference from the source codec, in half precision, or its low-rank part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.method import COMPONENTS, AdaptedCodec, Output, Strings, tables_of
from interfero.adaptation.subpixel import swift_transposed
from interfero.codecs.codec import Codec, mask_context, part_owners
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.errors import AdapterError, CodecError

Selects = Callable[[str], bool]
"""Whether a parameter of that name learns."""

DELTA, LEFT, RIGHT = "delta.", "left.", "right."


def everything(name: str) -> bool:
    """Every parameter learns."""
    return True


class CopiedCodec(AdaptedCodec):
    """A copy of the source codec; parameters that do not learn keep every bit."""

    def __init__(
        self, source: Codec, learns: Selects = everything, start: CompressionModel | None = None
    ) -> None:
        """Copy the source codec.

        Args:
            source: What the file's differences refer to.
            learns: Chooses parameters by name.
            start: What training starts from, if not the source codec.
        """
        super().__init__(source)
        self.codec: CompressionModel = copy.deepcopy(source.model if start is None else start)
        self._learns = learns
        self._bottlenecks = {
            name: module
            for name, module in self.codec.named_modules()
            if isinstance(module, EntropyBottleneck)
            and all(learns(f"{name}.{p}") for p, _ in module.named_parameters())
        }
        self.delta_rank = 0
        """Rank of what is kept of each weight's difference; 0 keeps all of it."""
        self._kept: dict[str, Tensor] | None = None

    def train_parameters(self) -> None:
        """Those that were chosen."""
        for name, parameter in self.codec.named_parameters():
            parameter.requires_grad_(self._learns(name))

    def adapter_state(self) -> dict[str, Tensor]:
        """Differences of what learned, and the tables that belong to them."""
        if self._kept is None:
            self._kept = self._differences()
        tables: dict[str, Tensor] = {}
        for name, module in self._bottlenecks.items():
            tables |= tables_of(module, name)
        return {**self._kept, **tables}

    def _differences(self) -> dict[str, Tensor]:
        given = dict(self.source.named_parameters())
        kept: dict[str, Tensor] = {}
        for name, value in self.codec.named_parameters():
            if self._learns(name):
                difference = value.detach().cpu() - given[name].detach().cpu()
                kept |= _stored(name, difference, self.delta_rank)
        return kept

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Put the differences on the source codec, and replace the tables."""
        tables = {
            f"{name}{buffer}": (module, buffer)
            for name, module in self._bottlenecks.items()
            for buffer in tables_of(module)
        }
        given = dict(self.source.named_parameters())
        own = {n: p for n, p in self.codec.named_parameters() if self._learns(n)}
        kept = {n: v for n, v in state.items() if n not in tables}
        try:
            # Training leaves the source codec on its device, and this one may have moved since.
            values = {
                n: given[n].detach().to(p.device) + _restored(n, p, kept) for n, p in own.items()
            }
        except (KeyError, RuntimeError) as error:
            raise AdapterError(f"adapter does not fit this codec ({error})") from error
        spare = set(kept) - {f"{kind}{n}" for n in own for kind in (DELTA, LEFT, RIGHT)}
        missing = set(tables) - set(state)
        if spare or missing:
            raise AdapterError(f"adapter does not fit this codec: {min(spare | missing)!r}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(values[name])
        for name, (module, buffer) in tables.items():
            setattr(module, buffer.removeprefix("."), state[name].clone())
        self._kept = dict(kept)

    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """CompressAI's training pass."""
        self._kept = None
        self.codec.train()
        with explicit_noise(self.codec, noise), swift_transposed(self.codec):
            output = self.codec(image_BCHW)
        return Output(output["x_hat"], output["likelihoods"])

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """CompressAI's evaluation pass."""
        output: dict[str, Any] = self.codec.eval()(image_BCHW)
        return output

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Code as CompressAI does."""
        output: dict[str, Any] = self.codec.compress(image_BCHW)
        return output

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """Decode as CompressAI does."""
        output: dict[str, Tensor] = self.codec.decompress(strings, shape)
        return output

    def refresh_tables(self) -> None:
        """Round to what the file holds, then exact quantiles by bisection, then new tables."""
        mask_context(self.codec)
        for module in self._bottlenecks.values():
            module.update(force=True, update_quantiles=True)
        self._kept = self._differences()
        self.load_adapter_state(self.adapter_state())
        for module in self._bottlenecks.values():
            module.update(force=True)
        self.name_adapter()

    def frozen_source_state(self) -> None:
        """Nothing of the source codec is kept."""
        return

    def with_components(self, names: frozenset[str]) -> nn.Module:
        """A copy of the source codec with the named parts of this one."""
        unknown = names - set(COMPONENTS)
        if unknown:
            raise CodecError(f"unknown component {min(unknown)!r}: {', '.join(COMPONENTS)}")
        mixed: nn.Module = copy.deepcopy(self.source).eval()
        for part in (module for name in names for module in COMPONENTS[name]):
            owners = part_owners(mixed, part), part_owners(self.codec.eval(), part)
            for mine, adapted in zip(*owners, strict=True):
                setattr(mine, part, getattr(adapted, part))
        return mixed


def _stored(name: str, difference: Tensor, rank: int) -> dict[str, Tensor]:
    """The difference, or two thin factors of it where they are smaller."""
    matrix = difference.flatten(1) if difference.dim() == 4 else None
    if not rank or matrix is None or rank * sum(matrix.shape) >= matrix.numel():
        return {f"{DELTA}{name}": difference.half()}
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = s[:rank].sqrt()
    left, right = u[:, :rank] * root, root[:, None] * v[:rank]
    return {f"{LEFT}{name}": left.half(), f"{RIGHT}{name}": right.half()}


def _restored(name: str, parameter: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
    if f"{DELTA}{name}" in kept:
        difference = kept[f"{DELTA}{name}"].float()
    else:
        # In double precision: what machines may disagree on is lost in the rounding to single.
        difference = kept[f"{LEFT}{name}"].double() @ kept[f"{RIGHT}{name}"].double()
        difference = difference.float()
    return difference.reshape(parameter.shape).to(parameter.device)
