#!/usr/bin/env bash
# MLflow 3.17.2: the digest of an array of pictures is that of its shape and of the top rows of the first picture.
#
# `mlflow.data.from_numpy` is how images get into a run's Dataset column. Its digest hashes the first 10,000 numbers of
# the flattened array, which in pictures of 256x256x3 are 13 rows of the first one. Two domains of equal shape whose first
# pictures have the same border or sky on top are one data set to MLflow; logged to one run as training and test
# data, the second is left out without a word, because a run has one entry for each name and digest. So has a data set
# that is logged twice with two contexts: only the first context is kept.
#
# Guess beforehand: the digest is of all the data; a run lists every data set that it was given.
#
# Source: mlflow/data/digest_utils.py (MAX_ROWS), read after the run.
#
# Output seen:
#   1 digest of two sets that differ in 99 % of their pixels
#   logged as training and testing, the run has: ['training']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 numpy==2.4.1
cd "$folder"
env/bin/python -W ignore - <<'PYTHON'
import logging

import mlflow
import numpy as np

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)
train = rng.integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
test = rng.integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
test[0, :14] = train[0, :14]
differ = 100 * np.any(train != test, axis=-1).mean()

sets = [mlflow.data.from_numpy(images, name="pictures") for images in (train, test)]
digests = {one.digest for one in sets}
print(f"{len(digests)} digest of two sets that differ in {differ:.0f} % of their pixels")

mlflow.set_tracking_uri("sqlite:///runs.db")
with mlflow.start_run() as run:
    mlflow.log_input(sets[0], context="training")
    mlflow.log_input(sets[1], context="testing")
inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
kept = [tag.value for each in inputs for tag in each.tags if tag.key == "mlflow.data.context"]
print(f"logged as training and testing, the run has: {kept}")
assert len(digests) == 1, "the digest is of more of the pictures now"
assert kept == ["training"], "a run keeps both contexts now"
PYTHON
