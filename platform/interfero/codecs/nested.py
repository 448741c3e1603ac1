"""CompressAI's codecs with nested latent codecs, behind the interface of all others.

CompressAI nests what describes their strings: a dictionary of the sizes of each latent, channel group and
checkerboard. All of it follows from the size of the hyper-latent, which follows from the picture's, so a
container holds their strings as a flat list like any other's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from compressai.models import CompressionModel
from compressai.models.sensetime import Cheng2020AnchorCheckerboard, Elic2022Official
from torch import Tensor

from interfero.errors import CodecError

HYPER_STRIDE, RATIO = 64, 4
"""Pixels of a position of the hyper-latent, and positions of the latent along it."""


class _Nested(CompressionModel):  # type: ignore[misc]
    """What both have in common: a size as others take it, and a stride."""

    downsampling_factor: ClassVar[int] = HYPER_STRIDE
    latent_codec: Any
    _groups: tuple[int, ...]
    """Channels of each group of the latent that has strings of its own."""

    def compress(self, x: Tensor) -> dict[str, Any]:
        """`strings`: two checkerboards a group, then the hyper-latent; `shape`: of the hyper-latent."""
        output: dict[str, Any] = super().compress(x)
        return {"strings": output["strings"], "shape": torch.Size(output["shape"]["hyper"])}

    def decompress(self, strings: list[list[bytes]], shape: torch.Size) -> dict[str, Tensor]:
        """`x_hat` in [0, 1]."""
        if len(strings) != 2 * len(self._groups) + 1:
            raise ValueError(
                f"{len(strings)} strings: {2 * len(self._groups) + 1} are needed, two a channel "
                "group and the hyper-latent's"
            )
        height, width = (RATIO * side for side in shape)
        groups = [(channels, height, width) for channels in self._groups]
        latent = groups if hasattr(self, "groups") else groups[0]
        nested = {"y": latent, "hyper": tuple(shape)}
        decoded: dict[str, Tensor] = super().decompress(strings, nested)
        return decoded


class CheckerboardCodec(_Nested, Cheng2020AnchorCheckerboard):  # type: ignore[misc]
    """Cheng et al. 2020 with the checkerboard context of He et al., arXiv:2103.15306."""

    def __init__(self, N: int, M: int) -> None:
        """`M` is `N`: one width throughout.

        Raises:
            CodecError: they differ.
        """
        if N != M:
            raise CodecError(f"cheng2020 codecs have one width: N must equal M, got {N} and {M}")
        super().__init__(N=N)
        self._groups = (N,)


class ElicCodec(_Nested, Elic2022Official):  # type: ignore[misc]
    """ELIC: He et al., arXiv:2203.10886; five uneven channel groups, each of two checkerboards."""

    def __init__(self, N: int, M: int) -> None:
        """Groups in the paper's proportions: 16, 16, 32, 64 and 192 of 320 channels.

        Raises:
            CodecError: fewer than 8 latent channels.
        """
        if M < 8:
            raise CodecError(
                f"elic2022 codecs have five channel groups: M must be 8 or more, got {M}"
            )
        first = [max(1, M // share) for share in (20, 20, 10, 5)]
        groups = [*first, M - sum(first)]
        super().__init__(N=N, M=M, groups=groups)
        self._groups = tuple(groups)
