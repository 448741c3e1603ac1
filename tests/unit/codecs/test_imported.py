"""PyTorch checkpoints as source codecs: what training scripts write, what is refused, and the way back."""

import argparse
import copy
import re
import zipfile

import numpy as np
import pytest
import torch
from compressai.losses import RateDistortionLoss
from compressai.models.base import get_scale_table
from compressai.utils.eval_model.__main__ import load_checkpoint
from compressai.zoo.image import model_architectures as zoo_models
from torch import nn

from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.adaptation.method import Batch
from interfero.cli.codecs import run_codecs
from interfero.codecs.catalogue import absolute_source, available_lambdas, load_codec, source_name
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import (
    ARCHITECTURES,
    Shape,
    build_model,
    entropy_tables,
    mask_context,
    quantile_parameters,
    rd_parameters,
)
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.codecs.imported import import_codec
from interfero.codecs.lossy import find_lossy
from interfero.codecs.noise import NoiseKey
from interfero.codecs.torch_checkpoint import current_name
from interfero.errors import CodecError

SHAPE = Shape("mbt2018-mean", 8, 12)
Y, X = np.mgrid[0:80, 0:96]
PICTURE = np.stack([X * 2, Y * 3, (X + Y) % 64 * 3], axis=-1).astype(np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERFERO_CACHE", str(tmp_path / "cache"))


def untrained(shape=SHAPE, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(shape)
    # Fresh weights give latents that all round to zero.
    last = [m for m in model.g_a.modules() if isinstance(m, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight *= 10
    return model


@pytest.fixture(scope="module")
def training():
    """What CompressAI's examples/train.py saves after an epoch of three steps."""
    model = untrained()
    optimizer = torch.optim.Adam(rd_parameters(model), lr=1e-3)
    aux_optimizer = torch.optim.Adam(quantile_parameters(model), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
    criterion = RateDistortionLoss(lmbda=0.0067)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        optimizer.zero_grad()
        aux_optimizer.zero_grad()
        loss = criterion(model(images), images)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.aux_loss().backward()
        aux_optimizer.step()
    scheduler.step(loss.detach())
    return {
        "epoch": 0,
        "state_dict": model.state_dict(),
        "loss": loss.detach(),
        "optimizer": optimizer.state_dict(),
        "aux_optimizer": aux_optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
    }


@pytest.fixture
def save(tmp_path):
    def write(content, name="checkpoint_best_loss.pth.tar"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def compressai_of(state):
    """The model as CompressAI itself gets ready to code."""
    model = build_model(SHAPE)
    model.load_state_dict(state)
    model.update(force=True)
    return model.eval()


def same_weights(codec, model):
    given, wanted = dict(codec.model.named_parameters()), dict(model.named_parameters())
    return given.keys() == wanted.keys() and all(torch.equal(given[n], wanted[n]) for n in given)


def same_tables(codec, model):
    given, wanted = entropy_tables(codec.model), entropy_tables(model)
    return given.keys() == wanted.keys() and all(torch.equal(given[n], wanted[n]) for n in given)


def strings_of(model):
    pixels = torch.from_numpy(PICTURE[:64, :64]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        output = model.compress(pixels)
        return output["strings"], model.decompress(output["strings"], output["shape"])["x_hat"]


def test_a_training_checkpoint_is_the_codec_that_compressai_makes_of_it(training, save):
    codec = load_codec(str(save(training)), 0.0067)
    model = compressai_of(training["state_dict"])
    assert (codec.shape, codec.rd_lambda, codec.name) == (SHAPE, 0.0067, "checkpoint_best_loss")
    assert same_weights(codec, model)
    assert same_tables(codec, model)
    assert "made on import" in codec.card["notes"][-1]
    assert strings_of(codec.model)[0] == strings_of(model)[0]


def test_it_codes_and_decodes(training, save):
    coder = SourceCoder(load_codec(str(save(training)), 0.0067))
    coded = encode(coder, PICTURE)
    assert any(map(any, coded.symbols))
    assert decode(coder, coded.data).symbols == coded.symbols


def test_it_is_adapted(training, save, tmp_path):
    path = str(save(training))
    codec, method = load_codec(path, 0.0067), METHODS["cawf"]
    adapted = method.build(codec, 1, 0)
    adapted.train_parameters()
    adapted.train()
    optimizer = torch.optim.Adam([p for p in rd_parameters(adapted) if p.requires_grad], lr=1e-2)
    images = {"target": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))}
    noise = NoiseKey(0, 0, 2)
    shared = method.shared_pass(codec, images["target"], noise)
    method.loss(adapted, Batch(images, noise, 0.0067, 1.0, shared)).total.backward()
    optimizer.step()
    adapted.eval().requires_grad_(False)
    adapted.refresh_tables()
    save_adapter(adapted, tmp_path / "a.safetensors", method="cawf", adapter_size=1, record={})
    again, _ = load_adapter(tmp_path / "a.safetensors", load_codec(path, 0.0067))
    coded = encode(adapted, PICTURE)
    assert decode(again, coded.data).symbols == coded.symbols


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module."])
def test_a_wrapper_is_taken_off(training, save, prefix):
    wrapped = {f"{prefix}{n}": t for n, t in training["state_dict"].items()}
    wrapped["criterion.weight"] = torch.ones(1)
    codec = load_codec(str(save({"state_dict": wrapped})), 0.0067)
    assert same_weights(codec, compressai_of(training["state_dict"]))
    assert f"prefix {prefix!r} taken off" in codec.card["notes"]
    assert any("criterion.weight" in note for note in codec.card["notes"])


def test_data_parallel_is_taken_off(training, save):
    model = compressai_of(training["state_dict"])
    codec = load_codec(str(save(nn.DataParallel(model).state_dict(), "parallel.pt")), 0.0067)
    assert same_weights(codec, model)


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "network"])
def test_trainers_keep_the_weights_under_names_of_their_own(training, save, entry):
    content = {entry: training["state_dict"], "ema": training["state_dict"]}
    codec = load_codec(str(save(content)), 0.0067)
    assert same_weights(codec, compressai_of(training["state_dict"]))
    assert any(note.startswith("left aside: ema") for note in codec.card["notes"])


OLD_NAMES = {
    "until 1.1": {"matrices.": "_matrices.", "biases.": "_biases.", "factors.": "_factors."},
    "until 1.2.6": {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"},
}


@pytest.mark.parametrize("version", list(OLD_NAMES))
def test_names_of_older_versions_are_known(training, save, version):
    old = {}
    for name, tensor in training["state_dict"].items():
        for new, before in OLD_NAMES[version].items():
            name = re.sub(rf"\.{re.escape(new)}(?=\d)", f".{before}", current_name(name))
        old[name] = tensor
    assert old.keys() != training["state_dict"].keys()
    codec = load_codec(str(save(old, "old.pth")), 0.0067)
    assert same_weights(codec, compressai_of(training["state_dict"]))


def test_tables_that_fit_are_kept(training, save):
    model = compressai_of(training["state_dict"])
    # Another machine's last count: no weights give this table here.
    model.gaussian_conditional._quantized_cdf[0, 1] += 1
    codec = load_codec(str(save(model.state_dict(), "updated.pth")), 0.0067)
    assert codec.card["notes"][-1] == "entropy tables: kept as they are in the file"
    assert same_tables(codec, model)


@pytest.mark.parametrize("missing", ["_quantized_cdf", "_offset", "_cdf_length", "scale_table"])
def test_tables_that_are_missing_are_made(training, save, missing):
    model = compressai_of(training["state_dict"])
    state = {n: t for n, t in model.state_dict().items() if not n.endswith(missing)}
    codec = load_codec(str(save(state, "missing.pth")), 0.0067)
    assert same_tables(codec, model)
    assert "the file has none" in codec.card["notes"][-1]


def test_tables_of_other_weights_are_made_again(training, save):
    """A codec that was trained on from one with tables: CompressAI would code with the old ones."""
    model = compressai_of(training["state_dict"])
    with torch.no_grad():
        model.entropy_bottleneck.matrices[0] += 1
    stale = model.state_dict()
    codec = load_codec(str(save(stale, "stale.pth")), 0.0067)
    assert re.search(r"of other weights and would cost \S+ bits", codec.card["notes"][-1])
    model.update(force=True)
    assert same_tables(codec, model)


def test_tables_over_other_symbols_are_made_again(training, save):
    model = compressai_of(training["state_dict"])
    with torch.no_grad():
        model.entropy_bottleneck.quantiles[:, :, 2] += 5
    codec = load_codec(str(save(model.state_dict(), "wider.pth")), 0.0067)
    assert "cover other symbols" in codec.card["notes"][-1]


def test_tables_that_are_no_distributions_are_made_again(training, save):
    model = compressai_of(training["state_dict"])
    state = copy.deepcopy(model.state_dict())
    state["gaussian_conditional._quantized_cdf"][3, 1] = -7
    codec = load_codec(str(save(state, "unsound.pth")), 0.0067)
    assert "no distributions" in codec.card["notes"][-1]
    assert same_tables(codec, model)


def test_a_scale_table_of_its_own_is_kept(training, save):
    model = build_model(SHAPE)
    model.load_state_dict(training["state_dict"])
    model.update(get_scale_table(0.2, 64, 20).tolist(), force=True)
    codec = load_codec(str(save(model.state_dict(), "own.pth")), 0.0067)
    assert len(codec.model.gaussian_conditional.scale_table) == 20
    assert same_tables(codec, model)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_is_recognised(save, name):
    shape = Shape(name, 8, 8 if name.startswith("cheng") else 12)
    codec = import_codec(save(untrained(shape).state_dict()), 0.02, "tiny")
    assert codec.shape == shape
    expected = untrained(shape)
    mask_context(expected)
    assert same_weights(codec, expected)


@pytest.mark.parametrize(
    "settings",
    [{"lmbda": 0.0067}, {"args": {"lmbda": 0.0067}}, {"hyper_parameters": {"lambda": 0.0067}}],
)
def test_a_lambda_that_the_file_says_is_taken(training, save, settings):
    path = save(training | settings)
    assert available_lambdas(str(path)) == (0.0067,)
    with pytest.raises(CodecError, match=r"no weights for lambda 0.013; known: 0.0067"):
        load_codec(str(path), 0.013)


def test_a_lambda_that_nobody_says_is_asked_for(training, save):
    path = save(training)
    with pytest.raises(CodecError, match=r"does not say which lambda .*@0\.013.*codecs import"):
        available_lambdas(str(path))
    with pytest.raises(CodecError, match=r"'fast' .* must be a lambda"):
        available_lambdas(f"{path}@fast")
    with pytest.raises(CodecError, match=r"lambda must be above 0, got -1"):
        load_codec(f"{path}@-1", 0.013)


def test_a_lambda_stands_behind_the_name(training, save, tmp_path, monkeypatch):
    save(training)
    monkeypatch.chdir(tmp_path)
    source = absolute_source("checkpoint_best_loss.pth.tar@0.0067")
    assert source == f"{tmp_path}/checkpoint_best_loss.pth.tar@0.0067"
    assert available_lambdas(source) == (0.0067,)
    assert load_codec(source, 0.0067).name == source_name(source) == "checkpoint_best_loss"
    assert find_lossy("checkpoint_best_loss.pth.tar@0.0067").name == "checkpoint_best_loss"


def test_a_folder_of_checkpoints_is_a_curve(training, save, tmp_path):
    for value in (0.0067, 0.013):
        save(training | {"lmbda": value}, f"{value}.pth.tar")
    assert available_lambdas(str(tmp_path)) == (0.0067, 0.013)
    assert load_codec(str(tmp_path), 0.013).rd_lambda == 0.013


def test_it_is_converted_once(training, save):
    """Tables are part of the bitstream format: they are not made again at every start."""
    path = save(training)
    first = load_codec(str(path), 0.0067)
    with torch.no_grad():
        assert load_codec(str(path), 0.0067).weights_hash == first.weights_hash
    (kept,) = (path.parent / "cache").rglob("import-*.safetensors")
    assert read_codec(kept, "kept").table_hash == first.table_hash


def other_width(state):
    return {**state, "h_a.0.weight": torch.zeros(9, 12, 3, 3)}


def renamed(state):
    return {n.replace("h_s", "h_x"): t for n, t in state.items()}


def diverged(state):
    return {**state, "g_a.0.bias": torch.full((8,), torch.nan)}


def overlapping(state):
    """A view of one number that claims 10^12 of them."""
    return {**state, "g_a.0.weight": torch.zeros(1).expand(10**6, 10**6)}


def wide_quantiles(state):
    quantiles = state["entropy_bottleneck.quantiles"].clone()
    quantiles[0, 0, 2] = 1e9
    return {**state, "entropy_bottleneck.quantiles": quantiles}


def other_constant(state):
    return {**state, "g_a.1.beta_reparam.pedestal": torch.ones(1)}


REFUSED = {
    other_width: r"nearest is mbt2018-mean \(N = 8, M = 12\), but 'h_a.0.weight' is 9x12x3x3 and must",
    renamed: r"of none of the architectures .* 'h_s.0.bias' is missing",
    diverged: r"'g_a.0.bias' .* NaN or infinity: the training had diverged",
    overlapping: r"'g_a.0.weight' .* claims more than the file's \d+ bytes",
    wide_quantiles: r"quantiles of entropy_bottleneck .* span less than 8192",
    other_constant: r"'g_a.1.beta_reparam.pedestal' .* is another constant",
    lambda state: {
        n: t.double() for n, t in state.items()
    }: r"tensor of torch.float64 .*model.float",
    lambda state: {
        n: t for n, t in state.items() if not n.startswith("g_a")
    }: r"no tensor is called g_a",
    lambda state: list(state.values()): r"holds a list where a state dict is needed",
    lambda state: {"args": argparse.Namespace(lmbda=1), "state_dict": state}: (
        r"holds more than weights \(argparse.Namespace\).* keep its weights only"
    ),
    lambda state: {"a": state, "b": state}: r"holds several codecs \(a, b\)",
    lambda state: {
        f"{p}.{n}": t for p in "ab" for n, t in state.items()
    }: r"several codecs \(a.g_a, b.g_a\)",
}


@pytest.mark.parametrize("change", list(REFUSED))
def test_another_file_is_refused_in_a_line(training, save, change):
    path = save(change(training["state_dict"]))
    with pytest.raises(CodecError, match=REFUSED[change]) as caught:
        load_codec(str(path), 0.0067)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_was_cut_short_is_refused_in_a_line(training, tmp_path, kept, legacy):
    path = tmp_path / "cut.pth.tar"
    torch.save(training, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(
        CodecError, match=r"cut.pth.tar is (no whole PyTorch checkpoint|damaged)"
    ) as caught:
        load_codec(str(path), 0.0067)
    assert "\n" not in str(caught.value)


def test_a_file_before_zip_archives_is_read(training, tmp_path):
    torch.save(training, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    codec = load_codec(str(tmp_path / "old.pth"), 0.0067)
    assert same_weights(codec, compressai_of(training["state_dict"]))


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(training, save, tmp_path):
    with (
        zipfile.ZipFile(save(training)) as whole,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name) if name.endswith("pkl") else bytes(10**6))
    with pytest.raises(CodecError, match=r"unpacks to more than its \d+ bytes"):
        load_codec(str(tmp_path / "bomb.pth"), 0.0067)


def test_bytes_that_changed_are_refused_or_harmless(training, save):
    """No flipped bit may end in a traceback, or in a codec of another shape."""
    path = save(training)
    data, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for position in random.integers(0, len(data), 40):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            codec = import_codec(path, 0.0067, "damaged")
        except CodecError:
            refused += 1
        else:
            assert codec.shape == SHAPE
    assert refused > 30


def test_the_command_writes_a_codec_file_and_says_how_good_it_is(
    training, save, image_folder, capsys
):
    path = save(training)
    run_codecs(
        ["import", str(path), "--lambda", "0.0067", "--source-domain", f"pages={image_folder}",
         "--max-images", "2"]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert re.search(r"mbt2018-mean, N = 8, M = 12, by the names and shapes", said)
    assert "entropy tables: made on import" in said
    assert re.search(r"fidelity on pages, 2 test crops: [\d.]+ bpp, [\d.]+ dB; JPEG", said)
    codec = read_codec(path.with_name("checkpoint_best_loss.safetensors"), "x")
    assert codec.rd_lambda == 0.0067
    assert same_weights(codec, compressai_of(training["state_dict"]))
    assert codec.card["origin"] == path.name


def test_the_command_overwrites_nothing_and_asks_for_the_lambda(training, save, capsys):
    path = save(training)
    for arguments, reason in (
        ([], "does not say which lambda"),
        (["--lambda", "0.01", "--out", str(path)], "exists already"),
        (["--lambda", "0"], "lambda must be above 0"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run_codecs(["import", str(path), *arguments])
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["bmshj2018-factorized", "mbt2018-mean", "cheng2020-anchor-checkerboard", "elic2022-official"],
)
def test_what_is_exported_is_the_same_codec_to_compressai(save, tmp_path, name):
    shape = Shape(name, 8, 8 if name.startswith("cheng") else 12)
    source = save({"state_dict": untrained(shape).state_dict(), "lmbda": 0.02}, "in.pth")
    run_codecs(["export", str(source), str(tmp_path / "out.pth.tar")])
    codec = load_codec(str(source), 0.02)
    if name in zoo_models:
        theirs = load_checkpoint(name, True, str(tmp_path / "out.pth.tar"))
    else:  # CompressAI's class builds the paper's widths only.
        theirs = build_model(shape).eval()
        theirs.load_state_dict(
            torch.load(tmp_path / "out.pth.tar", weights_only=True)["state_dict"]
        )
    with torch.no_grad():
        pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        ours, there = codec.model.compress(pixels), theirs.compress(pixels)
        assert ours["strings"] == there["strings"]
        shown = theirs.decompress(there["strings"], there["shape"])["x_hat"]
        assert torch.equal(codec.model.decompress(ours["strings"], ours["shape"])["x_hat"], shown)
    assert same_tables(codec, theirs)
    again = load_codec(str(tmp_path / "out.pth.tar"), 0.02)
    assert (again.weights_hash, again.shape) == (codec.weights_hash, shape)
