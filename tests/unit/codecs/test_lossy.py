"""Codecs of both kinds through one interface: real bytes, matched rates."""

import numpy as np
import pytest

from interfero.codecs.catalogue import available_lambdas
from interfero.codecs.classical import CLASSICAL, Jpeg
from interfero.codecs.lossy import Setting, find_lossy
from interfero.domains.images import Sample
from interfero.errors import CodecError


@pytest.fixture
def images():
    ramp = np.linspace(0, 255, 64)[None, :, None] + np.zeros((64, 1, 3))
    noise = np.random.default_rng(0).normal(0, 20, (4, 64, 64, 3))
    return tuple(
        Sample(f"s{i}", f"s{i}", (ramp + noise[i]).clip(0, 255).astype(np.uint8)) for i in range(4)
    )


def rate(codec, setting, images):
    sizes = [codec.transcode(s.pixels_HWC, setting).num_bytes for s in images]
    return 8 * sum(sizes) / (64 * 64 * len(sizes))


def test_a_classical_codec_spends_the_asked_rate(images):
    codec = find_lossy("jpeg")
    setting = codec.setting_for(images, 2.0)
    assert setting.bpp == pytest.approx(2.0, rel=0.1)
    assert rate(codec, setting, images) == pytest.approx(setting.bpp)
    lossy = codec.transcode(images[0].pixels_HWC, setting)
    assert lossy.pixels_HWC.shape == (64, 64, 3)
    assert not np.array_equal(lossy.pixels_HWC, images[0].pixels_HWC)


def test_rates_of_the_same_images_share_what_was_measured(images, monkeypatch):
    coded = []
    encode = Jpeg.encode
    monkeypatch.setattr(Jpeg, "encode", lambda *a: coded.append(a[2]) or encode(*a))
    codec, alone = find_lossy("jpeg"), find_lossy("jpeg")
    found = [codec.setting_for(images, rate) for rate in (1.5, 2.0)]
    assert len(coded) == len(images) * len(set(coded))
    assert found[1] == alone.setting_for(images, 2.0)
    coded.clear()
    assert codec.setting_for(images[:2], 2.0).bpp != found[1].bpp
    assert len(coded) == 2 * len(set(coded))


@pytest.mark.parametrize("name", [*CLASSICAL, "tiny"])
def test_several_images_in_threads_come_back_in_their_order(
    images, tiny_codec_file, monkeypatch, name
):
    codec = find_lossy(str(tiny_codec_file) if name == "tiny" else name)
    value = 0.013 if name == "tiny" else float(CLASSICAL[name].default_qualities[3])
    setting, pixels = Setting(value, 0.0, 0.0), [s.pixels_HWC for s in images] * 2
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    together = codec.transcode_all(pixels, setting)
    for one, other in zip(together, (codec.transcode(p, setting) for p in pixels), strict=True):
        assert one.num_bytes == other.num_bytes
        assert np.array_equal(one.pixels_HWC, other.pixels_HWC)


def test_a_learned_codec_takes_its_nearest_lambda_and_says_what_it_spends(images, tiny_codec_file):
    codec = find_lossy(str(tiny_codec_file))
    reached = codec.setting_for(images, 0.2)
    assert (codec.name, reached.value) == ("tiny", 0.013)
    assert reached.bpp == pytest.approx(rate(codec, reached, images))


def test_of_several_lambdas_the_nearest_rate_wins(images, monkeypatch):
    lambdas = available_lambdas("mbt2018-mean")
    rates = {value: 0.1 * 2**i for i, value in enumerate(lambdas)}
    codec = find_lossy("mbt2018-mean")
    monkeypatch.setattr(type(codec), "_mean_rate", lambda self, images, value: rates[value])
    for asked, place in ((0.08, 0), (0.11, 0), (0.27, 1), (0.3, 2), (0.35, 2), (0.6, 3)):
        assert codec.setting_for(images, asked).value == lambdas[place], asked
    assert codec.setting_for(images, 1.4 * max(rates.values())).value == lambdas[-1]
    with pytest.raises(CodecError, match=r"within a factor of 1\.5"):
        codec.setting_for(images, 2 * max(rates.values()))
    with pytest.raises(CodecError, match=f"no nearer to 99 bpp than .* .lambda {lambdas[-1]:g}"):
        codec.setting_for(images, 99.0)


def test_an_unknown_codec_gets_the_nearest_name():
    with pytest.raises(CodecError, match="did you mean 'jpeg'"):
        find_lossy("jpg")


def test_identity_changes_with_the_codec(tiny_codec_file):
    names = ("jpeg", "webp", str(tiny_codec_file), "mbt2018-mean")
    assert len({find_lossy(name).identity for name in names}) == len(names)
