#!/usr/bin/env bash
# CompressAI 1.2.8: `load_state_dict` of a checkpoint whose entropy tables have another size raises, but only
# after it has copied every weight; the old tables of the model stay. A caller that catches the error (for example
# to try the next candidate) has a model with new weights and old tables, which matches no checkpoint.
#
# A checkpoint of a trained model has tables as wide as its distributions; the tables of a fresh model, after
# `update()`, are those of its initial state. `model.load_state_dict(state)` then raises "size mismatch for ..._quantized_cdf".
# `CompressionModel.from_state_dict`, or empty tables (no `update()` before loading), avoid it.
#
# Output seen:
#   raised RuntimeError, weights copied True, tables of the checkpoint False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  compressai==1.2.8 torch==2.15.0 torchvision==0.29.2 numpy==1.26.4
cd "$folder"
env/bin/python -W ignore - <<'PYTHON'
import torch
from compressai.models import FactorizedPrior

torch.manual_seed(0)
trained = FactorizedPrior(16, 24)
with torch.no_grad():  # As after training: the distributions have grown wider, their quantiles with them.
    trained.entropy_bottleneck.quantiles.mul_(4)
trained.update(force=True)
state = trained.state_dict()

model = FactorizedPrior(16, 24)
model.update(force=True)
name = "g_a.0.weight"
tables = "entropy_bottleneck._quantized_cdf"
assert not torch.equal(model.state_dict()[name], state[name])
try:
    model.load_state_dict(state)
    raised = "nothing"
except RuntimeError as error:
    raised = type(error).__name__
copied = torch.equal(model.state_dict()[name], state[name])
same_tables = torch.equal(model.state_dict()[tables], state[tables]) if (
    model.state_dict()[tables].shape == state[tables].shape
) else False
print(f"raised {raised}, weights copied {copied}, tables of the checkpoint {same_tables}")
assert (raised, copied, same_tables) == ("RuntimeError", True, False)
PYTHON
