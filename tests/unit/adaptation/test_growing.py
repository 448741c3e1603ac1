"""Custom channels beside custom channels: each reads all before it, and none reads what comes later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interfero.adaptation import METHODS, save_adapter
from interfero.adaptation.cawf import CawfCodec, grown
from interfero.adaptation.deployment import Deployment
from interfero.adaptation.method import Batch
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.codec import Codec, Shape, build_model
from interfero.codecs.coding import SourceCoder, decode, encode, score_coded, score_estimated
from interfero.codecs.exact import check_exact
from interfero.codecs.noise import NoiseKey
from interfero.domains.images import Sample
from interfero.errors import AdapterError
from interfero.store.tensors import state_hash

Y, X = np.mgrid[0:70, 0:90]
IMAGE = np.stack([X * 2, Y * 3, (X + Y) % 255], axis=-1).astype(np.uint8)
NOISE = NoiseKey(seed=1, step=3, batch_size=2)


@pytest.fixture(
    scope="module", params=["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean"]
)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    shape = Shape(request.param, 8, 12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = build_model(shape)
    with torch.no_grad():
        model.g_a[-1].weight *= 20
    path = tmp_path_factory.mktemp("codec") / f"{request.param}.safetensors"
    save_codec(freeze_codec(model, shape, 0.013, "tiny", {"origin": "untrained"}), path)
    return read_codec(path, "tiny")


def trained(source: Codec, num_custom: int, seed: int) -> CawfCodec:
    """Channels that do something, as training would leave them."""
    codec = METHODS["cawf"].build(source, num_custom, seed)
    assert isinstance(codec, CawfCodec)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        codec.g_a.head.weight.normal_(0, 0.3)
        codec.g_s.head.weight.normal_(0, 0.01)
    codec.refresh_tables()
    return codec.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def layers(source: Codec) -> list[CawfCodec]:
    """Channels of three domains, each beside all before."""
    found: list[CawfCodec] = []
    below = source
    for seed, num_custom in enumerate((2, 3, 1)):
        found.append(trained(below, num_custom, seed))
        below = grown(below, found[-1])
    return found


def batch() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_streams_nest(source: Codec, layers: list[CawfCodec]) -> None:
    """A stream holds those of all domains before, to the byte; each decodes to what was coded."""
    before = parse_stream(encode(SourceCoder(source), IMAGE).data).strings
    for codec in layers:
        coded = encode(codec, IMAGE)
        strings = parse_stream(coded.data).strings
        assert strings[: len(before)] == before
        assert len(strings) > len(before)
        assert decode(codec, coded.data).symbols == coded.symbols
        own = coded.symbols[-1] if len(strings) == 1 + len(before) else coded.symbols[-2:]
        assert np.any(np.hstack([*map(np.ravel, own)]) != 0), "its latents all round to zero"
        before = strings


def test_it_starts_where_the_codec_below_is(source: Codec, layers: list[CawfCodec]) -> None:
    below = grown(source, layers[0])
    new = METHODS["cawf"].build(below, 2, 0)
    new.refresh_tables()
    shown = decode(layers[0], encode(layers[0], IMAGE).data).pixels_HWC
    assert (decode(new, encode(new, IMAGE).data).pixels_HWC == shown).all()
    new.mode = "source"
    assert encode(new, IMAGE).data != encode(SourceCoder(source), IMAGE).data
    assert (
        parse_stream(encode(new, IMAGE).data).strings
        == parse_stream(encode(layers[0], IMAGE).data).strings
    )


def test_nothing_below_learns(source: Codec) -> None:
    first = trained(source, 2, 0)
    below = grown(source, first)
    before = state_hash(below.model.state_dict().items())
    method = METHODS["cawf"]
    codec = method.build(below, 2, 1).train()
    codec.train_parameters()
    image = batch()
    shared = method.shared_pass(below, image, NOISE)
    loss = method.loss(codec, Batch({"target": image}, NOISE, 0.013, shared=shared)).total
    loss.backward()
    assert not any(p.requires_grad for p in below.model.layer.parameters())
    assert all(p.grad is None for p in below.model.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in codec.parameters())
    torch.optim.SGD(codec.parameters(), 0.1).step()
    assert state_hash(below.model.state_dict().items()) == before


def test_channels_read_those_before_them(source: Codec, layers: list[CawfCodec]) -> None:
    """Take the earlier channels away, and the later ones say something else."""
    silent = METHODS["cawf"].build(source, 2, 0)
    with torch.no_grad():
        for parameter in silent.parameters():
            parameter.zero_()
    silent.refresh_tables()
    other = METHODS["cawf"].build(grown(source, silent), 3, 1)
    other.load_adapter_state(layers[1].adapter_state())
    image = batch()
    with torch.no_grad():
        # The correction alone: what is below is taken off.
        found = [c.forward_noisy(image, NOISE).x_hat - b.forward_noisy(image, NOISE).x_hat
                 for c, b in ((layers[1], layers[0]), (other, silent))]  # fmt: skip
    assert not torch.allclose(found[0], found[1], atol=1e-4)


def test_every_layer_pays_for_its_latents(source: Codec, layers: list[CawfCodec]) -> None:
    """What a layer adds to the estimated rate it adds to the stream; pictures are the same."""
    sample = Sample("big", "big", np.tile(IMAGE, (4, 4, 1)))
    coders = [SourceCoder(source), *layers]
    estimated = [score_estimated(coder, sample) for coder in coders]
    coded = [score_coded(coder, sample) for coder in coders]
    assert [e.mse for e in estimated] == pytest.approx([c.mse for c in coded], rel=1e-3)
    for n in range(1, len(coders)):
        told, paid = (s[n].bpp - s[n - 1].bpp for s in (estimated, coded))
        assert paid > 0
        assert told == pytest.approx(paid, rel=0.25)


def test_each_layer_has_noise_of_its_own(source: Codec) -> None:
    """Equal channels beside each other would else have equal noise, which averages to nothing."""
    first = trained(source, 2, 0)
    second = trained(grown(source, first), 2, 0)
    base = first.joint_pass(batch(), NOISE)
    both = second.joint_pass(batch(), NOISE)
    quiet_base, quiet = first.joint_pass(batch(), None), second.joint_pass(batch(), None)
    ours = both.y_hat[:, -2:] - quiet.y_hat[:, -2:]
    theirs = base.y_hat[:, -2:] - quiet_base.y_hat[:, -2:]
    assert not torch.equal(ours, theirs)
    # What is below is the same pass, whoever stands beside it.
    assert torch.equal(both.y_hat[:, :-2], base.y_hat)


def test_it_decodes_on_every_machine(layers: list[CawfCodec]) -> None:
    for codec in layers:
        check_exact(*codec.roots)


def files_of(layers: list[CawfCodec], folder: Path) -> list[Path]:
    paths = []
    for n, codec in enumerate(layers):
        paths.append(folder / f"{n}.safetensors")
        save_adapter(codec, paths[-1], method="cawf", adapter_size=codec.num_custom, record={})
    return paths


def test_a_receiver_loads_them_in_any_order(
    source: Codec, layers: list[CawfCodec], tmp_path: Path
) -> None:
    paths = files_of(layers, tmp_path)
    path = tmp_path / "source.safetensors"
    save_codec(source, path)
    receiver = Deployment.load(str(path), None, paths[::-1])
    for codec in layers:
        data = encode(codec, IMAGE).data
        assert (receiver.decode(data) == decode(codec, data).pixels_HWC).all()
    assert len(receiver.candidates(IMAGE, "auto")) == 4


def test_channels_without_those_below_are_refused(
    source: Codec, layers: list[CawfCodec], tmp_path: Path
) -> None:
    paths = files_of(layers, tmp_path)
    path = tmp_path / "source.safetensors"
    save_codec(source, path)
    with pytest.raises(AdapterError, match="the adapters below them too"):
        Deployment.load(str(path), None, [paths[0], paths[2]])
