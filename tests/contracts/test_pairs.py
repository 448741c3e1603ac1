"""Every codec with every method that is claimed for it: train, save, reload, code, decode."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.adaptation.branched import BranchedCodec, merge
from interfero.adaptation.method import AdaptedCodec, Batch
from interfero.adaptation.support import adapts, architecture_of, check_methods
from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.codec import ARCHITECTURES, Codec, Shape, build_model, rd_parameters
from interfero.codecs.coding import Coded, SourceCoder, decode, encode
from interfero.codecs.noise import NoiseKey
from interfero.errors import CodecError

pytestmark = pytest.mark.usefixtures("short_ewc")

REFUSED = {
    ("mbt2018", "cawf"): "mbt2018",
    ("cheng2020-anchor", "cawf"): "cheng2020-anchor",
    ("cheng2020-attn", "cawf"): "cheng2020-attn",
    ("cheng2020-anchor", "cawf_two_way"): r"g_a: layer 0 \(ResidualBlockWithStride\)",
    ("cheng2020-attn", "cawf_two_way"): r"g_a: layer 0 \(ResidualBlockWithStride\)",
    ("cheng2020-anchor-checkerboard", "cawf"): "cheng2020-anchor-checkerboard",
    ("cheng2020-anchor-checkerboard", "cawf_two_way"): r"g_a: layer 0 \(ResidualBlockWithStride\)",
    ("elic2022-official", "cawf"): "elic2022-official",
    ("bmshj2018-factorized", "lora_entropy"): "bmshj2018-factorized'.* hyperprior",
    ("bmshj2018-factorized-relu", "lora_entropy"): "bmshj2018-factorized-relu'.* hyperprior",
    ("bmshj2018-factorized", "regularised_refinement"): "bmshj2018-factorized'.* hyperprior",
    (
        "bmshj2018-factorized-relu",
        "regularised_refinement",
    ): "bmshj2018-factorized-relu'.* hyperprior",
    ("elic2022-official", "cawf_two_way"): r"g_a: layer 1 \(ResidualBottleneckBlock\)",
}
"""Pairs that are not claimed, and what their error names."""

PAIRS = [(a, m) for a in ARCHITECTURES for m in METHODS if (a, m) not in REFUSED]
CODED = ("bmshj2018-factorized", "mbt2018-mean", "mbt2018")
"""Architectures on which every method codes: without a hyperprior, with one, with a context model."""
RELATIVES = (
    "finetune_encoder", "finetune_decoder", "from_scratch", "continue_source", "l2_sp", "ewc", "distill",
    "replay", "lora_transforms", "lora_entropy", "rslora", "dora",
)  # fmt: skip
"""Methods that code as `finetune` or `lora` do: on other architectures only their training is tried."""
TRAINED = [(a, m) for a, m in PAIRS if m in RELATIVES and a not in CODED]
SEARCHES = ("latent_refinement", "regularised_refinement")
MERGING = ("lora", "lora_transforms", "lora_entropy", "rslora", "dora", "residual_adapter")


@pytest.fixture(scope="module")
def codec_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny untrained codec of each architecture."""
    folder = tmp_path_factory.mktemp("codecs")
    files = {}
    for name in ARCHITECTURES:
        shape = Shape(name, 8, 8 if name.startswith("cheng") else 12)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            model = build_model(shape)
        # Fresh weights give latents that all round to zero.
        last = [m for m in model.g_a.modules() if isinstance(m, torch.nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight *= 10
        files[name] = folder / f"{name}.safetensors"
        save_codec(freeze_codec(model, shape, 0.013, name, {}), files[name])
    return files


CodecOf = Callable[[str], Codec]


@pytest.fixture(scope="module")
def sources(codec_files: dict[str, Path]) -> CodecOf:
    """The codec of an architecture that methods are trained on, read once: no training touches it."""
    return cache(lambda name: read_codec(codec_files[name], name))


@pytest.fixture(scope="module")
def elsewhere(codec_files: dict[str, Path]) -> CodecOf:
    """The same codec on another machine: the file read again, and nothing trained on it."""
    return cache(lambda name: read_codec(codec_files[name], name))


@pytest.fixture(scope="module")
def streams(
    codec_files: dict[str, Path], pixels: np.ndarray
) -> Callable[[str], tuple[Coded, np.ndarray]]:
    """The source codec's own stream of the picture, and what it shows, before anything is trained."""

    def coded(name: str) -> tuple[Coded, np.ndarray]:
        coder = SourceCoder(read_codec(codec_files[name], name))
        stream = encode(coder, pixels)
        return stream, decode(coder, stream.data).pixels_HWC

    return cache(coded)


@pytest.fixture(scope="module")
def untrained(elsewhere: CodecOf) -> Callable[[str, str], Any]:
    """A method before any step."""
    return cache(lambda name, architecture: METHODS[name].build(elsewhere(architecture), 1, 0))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """A smooth picture with an edge, 96 x 80."""
    rows, columns = np.mgrid[:80, :96]
    picture = np.stack([rows * 3, columns * 2, (rows + columns) % 64 * 3], axis=-1)
    picture[20:40, 30:70] = 240
    return picture.astype(np.uint8)


def trained(name: str, codec: Codec, steps: int = 2) -> AdaptedCodec:
    """A method after real steps on random pictures."""
    method = METHODS[name]
    adapted = method.build(codec, 1 if method.size_unit else 0, 0)
    adapted.train_parameters()
    adapted.train()
    if not method.trains:
        method.settle(adapted, 0.1, 5 * steps)
        return adapted.eval()
    random = torch.Generator().manual_seed(0)
    images = {
        "target": torch.rand(2, 3, 64, 64, generator=random),
        "source": torch.rand(2, 3, 64, 64, generator=random),
    }
    method.prepare(
        adapted, lambda i: Batch({"source": images["source"][:1]}, NoiseKey(0, i, 1), 0.013)
    )
    learning = [p for p in rd_parameters(adapted) if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=1e-2)
    for step in range(steps):
        noise = NoiseKey(0, step, 2)
        shared = method.shared_pass(codec, images["target"], noise)
        optimizer.zero_grad()
        method.loss(adapted, Batch(images, noise, 0.013, 1.0, shared)).total.backward()
        assert all(p.grad is not None for p in learning), "a parameter that learns is not used"
        optimizer.step()
    adapted.refresh_tables()
    return adapted.eval()


@pytest.mark.parametrize(("architecture", "name"), [p for p in PAIRS if p not in TRAINED])
def test_a_claimed_pair_trains_saves_and_codes(
    architecture: str, name: str, sources: CodecOf, elsewhere: CodecOf,
    streams: Callable[[str], tuple[Coded, np.ndarray]], pixels: np.ndarray, tmp_path: Path,
) -> None:  # fmt: skip
    codec, (before, shown) = sources(architecture), streams(architecture)
    identity = elsewhere(architecture).weights_hash
    adapted = trained(name, codec)
    assert codec.weights_hash == identity, "training touched the source codec"
    path = tmp_path / "adapter.safetensors"
    size = 1 if METHODS[name].size_unit else 0
    save_adapter(adapted, path, method=name, adapter_size=size, record={})
    again, _ = load_adapter(path, elsewhere(architecture))
    coded = encode(again, pixels)
    assert coded == encode(adapted, pixels)
    decoded = decode(again, coded.data)
    assert decoded.symbols == coded.symbols
    # A search finds nothing better in these, untrained, and then codes as the source codec does.
    found_nothing = name in SEARCHES and architecture.startswith("cheng2020")
    assert (decoded.pixels_HWC != shown).any() or found_nothing
    if METHODS[name].detaches:
        again.mode = "source"
        assert encode(again, pixels) == before
        assert (decode(again, before.data).pixels_HWC == shown).all()


@pytest.mark.parametrize(("architecture", "name"), TRAINED)
def test_a_relative_of_a_method_that_codes_trains_and_is_restored(
    architecture: str,
    name: str,
    sources: CodecOf,
    elsewhere: CodecOf,
    untrained: Callable[[str, str], Any],
) -> None:
    codec, identity = sources(architecture), elsewhere(architecture).weights_hash
    adapted = trained(name, codec, steps=1)
    assert codec.weights_hash == identity, "training touched the source codec"
    again = METHODS[name].build(codec, 1 if METHODS[name].size_unit else 0, 0)
    again.load_adapter_state(adapted.adapter_state())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def output_of(codec: AdaptedCodec) -> Tensor:
        output = codec.forward_noisy(image, NoiseKey(0, 0, 1))
        # The noisy picture does not depend on the entropy model.
        return output.likelihoods["y"] if name == "lora_entropy" else output.x_hat

    outputs = [output_of(c) for c in (adapted, again)]
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], output_of(untrained("finetune", architecture)))
    coding = untrained("lora" if "lora" in name or name == "dora" else "finetune", architecture)
    assert type(adapted).compress is type(coding).compress
    assert type(adapted).decompress is type(coding).decompress


@pytest.mark.parametrize(("architecture", "name"), list(REFUSED))
def test_what_is_not_claimed_is_refused_by_name(
    architecture: str, name: str, sources: CodecOf
) -> None:
    with pytest.raises(CodecError, match=REFUSED[architecture, name]):
        METHODS[name].build(sources(architecture), 1, 0)


def test_pairs_that_are_not_claimed_are_known_without_torch(codec_files: dict[str, Path]) -> None:
    """What options are checked by says what the methods say once a codec is loaded."""
    known = {(a, m) for a in ARCHITECTURES for m in METHODS if not adapts(m, a)}
    assert known == set(REFUSED)
    for architecture, file in codec_files.items():
        assert architecture_of(str(file)) == architecture
    with pytest.raises(CodecError) as late:
        METHODS["cawf"].build(read_codec(codec_files["mbt2018"], "mbt2018"), 1, 0)
    with pytest.raises(CodecError) as early:
        check_methods(str(codec_files["mbt2018"]), ("lora", "cawf"))
    assert str(early.value) == str(late.value)


@pytest.mark.parametrize("name", MERGING)
@pytest.mark.parametrize("architecture", ["mbt2018-mean", "cheng2020-anchor"])
def test_merged_branches_show_what_joined_ones_show(
    architecture: str, name: str, sources: CodecOf
) -> None:
    codec = sources(architecture)
    adapted = trained(name, codec)
    assert isinstance(adapted, BranchedCodec)
    given = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        if name == "lora_entropy":
            part, given = "h_a", codec.model.g_a(given)
        else:
            part = "g_a"
        merged = getattr(merge(adapted), part)(given)
        with adapted.attached():
            joined = getattr(adapted.source, part)(given)
        plain = getattr(codec.model, part)(given)
    assert torch.allclose(merged, joined, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(joined, plain, rtol=1e-4, atol=1e-4)


def test_what_is_no_kernel_update_cannot_be_merged(codec_files: dict[str, Path]) -> None:
    adapted = trained("bias_gain", read_codec(codec_files["mbt2018-mean"], "x"))
    assert isinstance(adapted, BranchedCodec)
    with pytest.raises(CodecError, match=r"branch at 'g_a.0' \(Bias\) cannot be merged"):
        merge(adapted)


def test_layers_that_cannot_be_adapted_are_named(codec_files: dict[str, Path]) -> None:
    codec = read_codec(codec_files["mbt2018-mean"], "x")
    codec.model.g_a[2] = torch.nn.Sequential(torch.nn.Linear(8, 8))
    with pytest.raises(CodecError, match=r"layer 'g_a.2.0' \(Linear\) cannot be adapted by lora"):
        METHODS["lora"].build(codec, 1, 0)
    codec.model.g_a[2] = torch.nn.Conv2d(8, 8, 5, padding=2, groups=2)
    with pytest.raises(CodecError, match=r"layer 'g_a.2' \(Conv2d\) .* grouped"):
        METHODS["lora"].build(codec, 1, 0)


def test_several_adapters_share_a_codec_and_switch_at_once(
    codec_files: dict[str, Path], pixels: np.ndarray
) -> None:
    codec = read_codec(codec_files["mbt2018-mean"], "x")
    before = encode(SourceCoder(codec), pixels)
    one, two = trained("lora", codec), trained("cawf_two_way", codec, steps=3)
    assert one.source is two.source is codec.model
    first, second = encode(one, pixels), encode(two, pixels)
    assert first.data != second.data
    assert encode(one, pixels) == first
    assert encode(two, pixels) == second
    assert encode(SourceCoder(codec), pixels) == before
