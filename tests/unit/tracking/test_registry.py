"""Adapters in the model registry: stored without pickle, loaded in a fresh process, each content once."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient
from PIL import Image

from interfero.adaptation import find_method
from interfero.adaptation.adapter_file import save_adapter
from interfero.api import read_image
from interfero.cli.decode import decode
from interfero.cli.encode import encode
from interfero.codecs.catalogue import load_codec
from interfero.errors import ConfigError
from interfero.tracking.adapter_model import ServedAdapter, _load_pyfunc, write_adapter_model
from interfero.tracking.registry import ALIAS, AdapterEntry, model_name

from .conftest import make_record

NAME = "thing-tiny-lambda0.013"


@pytest.fixture(scope="module")
def codec(tiny_codec_file):
    return load_codec(str(tiny_codec_file), 0.013)


def adapter(codec, path, seed=1):
    adapted = find_method("cawf").build(codec, 2, init_seed=seed)
    rng = np.random.default_rng(seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            noise = rng.normal(0, 0.02, tuple(parameter.shape)).astype(np.float32)
            parameter.data += parameter.data.new_tensor(noise)
    adapted.refresh_tables()
    save_adapter(adapted, path, method="cawf", adapter_size=2, record={}, domain="thing")
    return path


@pytest.fixture
def entry(codec, tmp_path):
    tags = {
        "interfero.domain": "thing", "interfero.domain_hash": "d0", "interfero.codec_hash": "c0",
        "interfero.data_seed": "0", "interfero.validation_gain_percent": "2.0", "interfero.forgets": "false",
    }  # fmt: skip
    file = adapter(codec, tmp_path / "a.safetensors")
    return AdapterEntry(NAME, "a", file, codec, tags, "What it is.")


@pytest.fixture
def tracker(place):
    found = place.open()
    found.cell_finished(make_record("a"))
    return found


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def versions(place):
    return place.client.search_model_versions(f"name = '{NAME}'")


def test_names_have_nothing_that_a_registry_refuses():
    assert model_name("histology", "mbt2018-mean", 0.013) == "histology-mbt2018-mean-lambda0.013"
    assert model_name("a", "compressai:mbt2018/x", 0.0045) == "a-compressai-mbt2018-x-lambda0.0045"


FRESH = """
import sys, mlflow, numpy as np
from PIL import Image
model = mlflow.pyfunc.load_model(sys.argv[1])
pixels = np.asarray(Image.open(sys.argv[2]))
coded = model.predict({"image": [pixels]})
shown = model.predict(coded[["stream"]])
open(sys.argv[3], "wb").write(coded["stream"][0])
assert (shown["image"][0] == coded["image"][0]).all()
assert abs(coded["bpp"][0] - 8 * len(coded["stream"][0]) / pixels[..., 0].size) < 1e-12
Image.fromarray(shown["image"][0]).save(sys.argv[4])
"""


def test_a_fresh_process_codes_as_the_command_does(
    place, tracker, entry, picture, tiny_codec_file, tmp_path
):
    (line,) = tracker.register([entry])
    assert line == f"in the model registry: models:/{NAME}@{ALIAS} (version 1)"
    stream, shown = tmp_path / "stream", tmp_path / "shown.png"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH, f"models:/{NAME}@{ALIAS}", picture, stream, shown],
        check=True, cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": place.uri},
    )  # fmt: skip
    ours, decoded = tmp_path / "ours", tmp_path / "decoded.png"
    given = {"source": str(tiny_codec_file), "adapter": (entry.file,)}
    encode(picture, ours, **given)
    decode(ours, decoded, **given)
    assert stream.read_bytes() == ours.read_bytes()
    assert (read_image(shown) == read_image(decoded)).all()


def test_what_is_stored_is_no_pickle_and_says_what_it_is(place, tracker, entry):
    tracker.register([entry])
    (version,) = versions(place)
    assert version.tags.items() >= entry.tags.items()
    assert version.run_id == place.cells["a"].info.run_id
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.source))
    kinds = Counter(path.suffix for path in folder.rglob("*") if path.is_file())
    assert set(kinds) <= {"", ".safetensors", ".json", ".yaml", ".txt"}, kinds
    assert kinds[".safetensors"] == 2, "the adapter, and a source codec that is no bundled one"
    signature = mlflow.models.get_model_info(str(folder)).signature
    assert signature.inputs.input_names() == ["image", "stream"]
    assert (
        json.loads((folder / "data" / "data" / "model.json").read_text())["source"]
        == entry.codec.name
    )
    assert "interfero==" in (folder / "requirements.txt").read_text()


def test_a_bundled_source_codec_is_named_and_not_copied(tmp_path):
    bundled = load_codec("mbt2018-mean", 0.013)
    file = adapter(bundled, tmp_path / "a.safetensors")
    write_adapter_model(tmp_path / "model", file.read_bytes(), bundled)
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"adapter.safetensors", "model.json"}
    assert _load_pyfunc(str(tmp_path / "model")).get_raw_model().source.name == "mbt2018-mean"


def test_the_same_adapter_is_the_same_version(place, tracker, entry, codec, tmp_path):
    tracker.register([entry])
    (line,) = tracker.register([entry])
    assert "(version 1)" in line
    assert len(versions(place)) == 1
    other = adapter(codec, tmp_path / "b.safetensors", seed=2)
    better = {**entry.tags, "interfero.validation_gain_percent": "3.0"}
    tracker.register([replace(entry, file=other, tags=better)])
    assert place.client.get_model_version_by_alias(NAME, ALIAS).version in (2, "2")
    assert len(versions(place)) == 2


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"interfero.validation_gain_percent": "1.0"}, False),
        ({"interfero.validation_gain_percent": "3.0"}, True),
        ({"interfero.validation_gain_percent": "3.0", "interfero.forgets": "true"}, False),
        ({"interfero.validation_gain_percent": "1.0", "interfero.domain_hash": "d1"}, True),
    ],
)
def test_the_alias_stays_with_the_best_on_the_same_images(
    place, tracker, entry, codec, tmp_path, changes, moves
):
    tracker.register([entry])
    other = adapter(codec, tmp_path / "b.safetensors", seed=2)
    (line,) = tracker.register([replace(entry, file=other, tags={**entry.tags, **changes})])
    holder = int(place.client.get_model_version_by_alias(NAME, ALIAS).version)
    assert holder == (2 if moves else 1)
    assert ("stays with version 1" in line) is not moves


def test_a_registry_that_refuses_is_a_line_and_no_error(place, tracker, entry, monkeypatch):
    def refuse(*arguments, **named):
        raise MlflowException("Model registry functionality is unavailable")

    monkeypatch.setattr(MlflowClient, "get_registered_model", refuse)
    (line,) = tracker.register([entry])
    assert line.startswith(f"not in the model registry: {NAME} (")
    assert "unavailable" in line
    tracker.close("FINISHED")
    assert place.parent.info.status == "FINISHED"


def test_rows_are_pictures_or_streams(codec, entry, tmp_path, picture):
    write_adapter_model(tmp_path / "model", entry.file.read_bytes(), codec)
    served = _load_pyfunc(str(tmp_path / "model"))
    assert isinstance(served, ServedAdapter)
    rows = pd.DataFrame({"image": [picture.read_bytes(), read_image(picture).tolist()]})
    coded = served.predict(rows, {"pictures": "png"})
    assert coded["stream"][0] == coded["stream"][1]
    assert Image.open(io.BytesIO(coded["image"][0])).size == (90, 70)
    mixed = pd.DataFrame(
        {"image": [None, read_image(picture)], "stream": [coded["stream"][0], None]}
    )
    again = served.predict(mixed, {"mode": "target"})
    assert list(again["stream"]) == list(coded["stream"])
    for bad, what in (
        ({"mode": "best"}, "mode must be one of"),
        ({"pictures": "jpg"}, "pictures must"),
    ):
        with pytest.raises(ConfigError, match=what):
            served.predict(rows, bad)
    with pytest.raises(
        ConfigError, match=r"row 0 .* has neither \(columns: image\); give a column"
    ):
        served.predict(pd.DataFrame({"image": [None]}))
    with pytest.raises(ConfigError, match=r"row 0 .* has neither \(columns: picture\)"):
        served.predict(pd.DataFrame({"picture": [picture.read_bytes()]}))
    # The table that an encoding returns has both: the stream used to be taken in silence.
    with pytest.raises(ConfigError, match=r"row 1 .* has both: .*frame\[\['stream'\]\]"):
        served.predict(pd.concat([mixed[:1], coded[:1]], ignore_index=True))


def test_writes_that_take_long_are_waited_for_and_a_server_that_takes_none_is_not(
    place, tracker, entry, monkeypatch
):
    """The end of a sweep of 100,000 cells wrote for minutes, which was taken for a server that is away."""
    monkeypatch.setattr("interfero.tracking.tracker.DRAIN_S", -1.0)
    monkeypatch.setattr("interfero.tracking.tracker.CLOSE_REQUEST_S", 0.02)
    for value in range(200):
        tracker.parent_series({"progress": [(value, 1.0)]})
    assert tracker.pending > 100
    (line,) = tracker.register([entry])
    assert line.startswith("in the model registry: ")
    tracker.parent_series({"progress": [(200, 1.0)]})
    monkeypatch.setattr("interfero.tracking.delivery.Delivery.drain", lambda *told, **named: None)
    (line,) = tracker.register([entry])
    assert line.startswith("not in the model registry yet: writes wait for the tracking server")
    assert "(1 of them)" in line
