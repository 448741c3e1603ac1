"""Sender and receiver: the mode is chosen by cost, and read from the header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from interfero.adaptation import METHODS
from interfero.adaptation.deployment import Deployment
from interfero.adaptation.method import AdaptedCodec
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import Codec
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.errors import AdapterError, BitstreamError, ConfigError

Y, X = np.mgrid[0:70, 0:90]
IMAGE = np.stack([X * 2, Y * 3, (X + Y) % 255], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def source(tiny_codec_file: Path) -> Codec:
    return read_codec(tiny_codec_file, "tiny")


def adapted(source: Codec, method: str = "cawf", *, brightness: float = 0.0) -> AdaptedCodec:
    """A codec whose pictures in target mode are brighter by `brightness`."""
    codec = METHODS[method].build(source, 1 if METHODS[method].size_unit else 0, 0)
    with torch.no_grad():
        # Of g_s, the last parameter is the bias of the layer that draws the picture.
        drawing = [p for n, p in codec.named_parameters() if "g_s" in n and n.endswith("bias")]
        drawing[-1].add_(brightness)
    codec.refresh_tables()
    return codec.eval().requires_grad_(False)


def other_picture(source: Codec, codec: AdaptedCodec) -> np.ndarray:
    """What `codec` shows in target mode: a picture that it, and not the source codec, draws well."""
    return decode(codec, encode(codec, IMAGE).data).pixels_HWC


def test_source_mode_is_the_source_codecs_stream_with_and_without_an_adapter(source: Codec) -> None:
    with_adapter = Deployment(source, [adapted(source, brightness=0.2)])
    data = with_adapter.encode(IMAGE, "source")
    assert data == encode(SourceCoder(source), IMAGE).data == Deployment(source).encode(IMAGE)
    expected = decode(SourceCoder(source), data).pixels_HWC
    for receiver in (with_adapter, Deployment(source)):
        assert (receiver.decode(data) == expected).all()


def test_target_mode_needs_the_adapter_that_the_header_names(source: Codec) -> None:
    codec, other = adapted(source, brightness=0.2), adapted(source, brightness=0.3)
    data = Deployment(source, [codec]).encode(IMAGE, "target")
    assert parse_stream(data).adapter_id == codec.adapter_id
    expected = decode(codec, data).pixels_HWC
    assert (Deployment(source, [other, codec]).decode(data) == expected).all()
    for receiver in (Deployment(source), Deployment(source, [other])):
        with pytest.raises(BitstreamError, match=f"needs adapter {codec.adapter_id.hex()}"):  # type: ignore[union-attr]
            receiver.decode(data)


@pytest.mark.parametrize("method", ["cawf", "finetune"])
def test_auto_keeps_the_cheaper_mode(source: Codec, method: str) -> None:
    codec = adapted(source, method, brightness=0.3)
    deployment = Deployment(source, [codec])
    dark = deployment.decode(Deployment(source).encode(IMAGE))
    bright = other_picture(source, codec)
    kept = {name: deployment.encode(i, "auto") for name, i in (("dark", dark), ("bright", bright))}
    assert parse_stream(kept["dark"]).adapter_id is None
    assert parse_stream(kept["bright"]).adapter_id == codec.adapter_id
    # Whoever holds the source codec alone reads what was coded in source mode.
    assert Deployment(source).decode(kept["dark"]).shape == IMAGE.shape


def test_auto_compares_real_bytes_and_pixels(source: Codec) -> None:
    deployment = Deployment(source, [adapted(source, brightness=0.1)])
    candidates = deployment.candidates(IMAGE, "auto")
    assert [c.adapter_id is None for c in candidates] == [True, False]
    for c in candidates:
        difference = deployment.decode(c.data).astype(float) - IMAGE
        assert c.bpp == 8 * len(c.data) / (70 * 90)
        assert c.mse == pytest.approx((difference**2).mean())
        assert c.rd_loss == pytest.approx(c.bpp + source.rd_lambda * c.mse)
    assert deployment.encode(IMAGE) == min(candidates, key=lambda c: c.rd_loss).data


def test_the_cheapest_of_several_adapters_is_kept(source: Codec) -> None:
    codecs = [adapted(source, brightness=b) for b in (0.1, 0.3, 0.5)]
    image = other_picture(source, codecs[1])
    data = Deployment(source, codecs).encode(image, "target")
    assert parse_stream(data).adapter_id == codecs[1].adapter_id


def test_modes_that_do_not_exist_are_refused_with_a_remedy(source: Codec) -> None:
    with pytest.raises(ConfigError, match="target mode needs an adapter"):
        Deployment(source).encode(IMAGE, "target")
    second = Deployment(source, [adapted(source, "finetune")])
    with pytest.raises(ConfigError, match=r"second codec and has no source mode.*auto"):
        second.encode(IMAGE, "source")


def test_an_adapter_of_another_source_codec_is_refused(
    source: Codec, tiny_codec_file: Path
) -> None:
    other = read_codec(tiny_codec_file, "tiny")
    with torch.no_grad():
        other.model.g_s[0].bias[0] += 1
    with pytest.raises(AdapterError, match="belongs to source codec"):
        Deployment(other, [adapted(source)])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (IMAGE.astype(np.float32), "float32"),
        (IMAGE[..., 0], r"\(70, 90\)"),
        (np.zeros((4097, 4096, 3), np.uint8), "4096x4097"),
        (np.zeros((0, 8, 3), np.uint8), "8x0"),
    ],
)
def test_what_is_no_picture_is_refused_before_any_work(
    source: Codec, image: np.ndarray, said: str
) -> None:
    with pytest.raises(BitstreamError, match=said):
        Deployment(source).encode(image)
