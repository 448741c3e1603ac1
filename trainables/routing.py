"""Which codec of a bank codes an image: an oracle, the cheapest of all, or a small gate decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from interfero.codecs.codec import Codec
from interfero.codecs.entropy_coding import coding_setting, pad_to_stride
from interfero.domains.batches import image_tensor
from interfero.domains.images import Sample

GATE_IMAGES = 24
"""Training images of each domain that a gate learns from, at most."""

FloatArray = npt.NDArray[np.float64]
Losses = Sequence[Sequence[float]]
"""By codec of the bank, then by image: `bpp + lambda * mse` of the real stream, the codec's name included."""


def gate_features(codec: Codec, samples: Sequence[Sample]) -> FloatArray:
    """What a gate sees: (images, latents), `log(1 + mean |y|)` of each latent channel of the source codec.

    The encoder has them before it chooses (the features of Presta et al., arXiv:2404.15591, which read the
    rounded latents at the decoder).
    """
    rows = []
    with coding_setting():
        for sample in samples:
            image = pad_to_stride(image_tensor(sample.pixels_HWC), codec.stride)
            y: torch.Tensor = codec.model.g_a(image)
            rows.append(y.abs().mean(dim=(2, 3)).log1p()[0].double().numpy())
    return np.stack(rows)


class RouteGate:
    """A linear discriminant over domains: closed form, so that it is the same wherever it is learned."""

    def __init__(self, training: Mapping[int, FloatArray]) -> None:
        """Learn it.

        Args:
            training: Features of training images, by codec of the bank.
        """
        features = np.concatenate(list(training.values()))
        labels = np.concatenate([np.full(len(f), i) for i, f in training.items()])
        # Few images and many channels: the covariance is shrunk as Ledoit and Wolf (2004) do.
        self._model = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=[1 / len(training)] * len(training)
        )
        self._model.fit(features, labels)

    def __call__(self, features: FloatArray) -> list[int]:
        """The codec of the bank for each image."""
        return [int(i) for i in self._model.predict(features)]


def cheapest(losses: Losses) -> list[int]:
    """The codec of the bank with the lowest loss for each image; the first of equals."""
    return [min(range(len(losses)), key=lambda i: losses[i][n]) for n in range(len(losses[0]))]
