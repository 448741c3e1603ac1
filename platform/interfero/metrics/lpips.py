"""LPIPS, version 0.1 with AlexNet (Zhang et al., arXiv:1801.03924), from one local weights file.

The file is the state of `lpips.LPIPS(net="alex")` as safetensors. On a machine that has the lpips
package and its weights:

    state = lpips.LPIPS(net="alex").state_dict()
    safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, "lpips-alex.safetensors")
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from interfero.errors import ConfigError
from interfero.metrics.rate_distortion import PEAK

MIN_SIDE = 31
"""Pixels; below that AlexNet's second pooling has nothing left."""
_SLICES = (2, 5, 8, 10, 12)
"""Layers of torchvision's AlexNet behind which features are compared: its five ReLUs."""
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Lpips(nn.Module):
    """Perceptual distance of two images; 0 for equal ones, lower is better."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        """Random weights; `load_lpips` gives them their values."""
        super().__init__()
        # It imports torch's compiler: seconds, which every evaluation without LPIPS would pay.
        import torchvision

        features = torchvision.models.alexnet(weights=None).features
        bounds = zip((0, *_SLICES), _SLICES, strict=False)
        self.slices = nn.ModuleList(features[start:stop] for start, stop in bounds)
        widths = (64, 192, 384, 256, 256)
        self.linear = nn.ModuleList(nn.Conv2d(w, 1, 1, bias=False) for w in widths)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)
        # ReLUs in place would overwrite the features that are compared.
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False

    def forward(self, a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
        """(batch,) distances of images on the 0-255 scale, at least `MIN_SIDE` pixels a side."""
        a, b = ((image / PEAK * 2 - 1 - self.shift) / self.scale for image in (a_BCHW, b_BCHW))
        total = torch.zeros(a.shape[0], device=a.device)
        for features, linear in zip(self.slices, self.linear, strict=True):
            a, b = features(a), features(b)
            difference = (_normalised(a) - _normalised(b)) ** 2
            total = total + linear(difference).mean(dim=(1, 2, 3))
        return total


def load_lpips(path: Path) -> Lpips:
    """LPIPS with the weights of a local file; nothing is ever downloaded.

    Raises:
        ConfigError: the file is missing, damaged or of another network.
    """
    model = Lpips()
    try:
        found = safetensors.torch.load_file(path)
        model.load_state_dict({name: found[key] for name, key in _names()})
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"{path} does not hold LPIPS weights for AlexNet ({error}): interfero/metrics/lpips.py "
            "says how to make the file; without it leave LPIPS out"
        ) from error
    return model.eval().requires_grad_(False)


def weights_digest(path: Path) -> str:
    """Names the weights in what was measured with them."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _names() -> list[tuple[str, str]]:
    """Our names and the lpips package's."""
    names = []
    for index, (start, stop) in enumerate(zip((0, *_SLICES), _SLICES, strict=False)):
        convolution = next(n for n in (0, 3, 6, 8, 10) if start <= n < stop)
        for kind in ("weight", "bias"):
            theirs = f"net.slice{index + 1}.{convolution}.{kind}"
            names.append((f"slices.{index}.{convolution}.{kind}", theirs))
        names.append((f"linear.{index}.weight", f"lin{index}.model.1.weight"))
    return names


def _normalised(features: Tensor) -> Tensor:
    """Unit length over channels."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
