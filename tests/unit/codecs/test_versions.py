"""Streams that know their symbols, streams of the version before, and rewriting those."""

from __future__ import annotations

import base64
import dataclasses
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from interfero import cli
from interfero.adaptation import METHODS
from interfero.adaptation.deployment import Deployment
from interfero.codecs.bitstream import Stream, parse_stream, symbol_checksum
from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import freeze_codec, read_codec
from interfero.codecs.codec import Codec, Shape, build_model
from interfero.codecs.coding import (
    Coder,
    SourceCoder,
    decode,
    encode,
    pixel_mse,
    portability_warning,
    transcode,
)
from interfero.codecs.entropy_coding import coding_setting, pad_to_stride, recorded_symbols
from interfero.domains.batches import image_tensor
from interfero.errors import BitstreamError

Y, X = np.mgrid[0:64, 0:64]
PICTURE = np.stack([X * 3, Y * 3, (X + Y) * 2], axis=-1).astype(np.uint8)

WRITTEN_BEFORE = base64.b64decode(
    "aWZCaOHLBATKQABAAGCwHG4CAAAAxDrEg7hucxT1LDFtDREhbgVbbx9DW9AIZQcWOPP/6gLZ/3a7rwAfEP2+e19r9j0P"
)
"""PICTURE by bmshj2018-factorized at lambda 0.0009, from the release that wrote version 2; it measured a
mean squared error of 50.3438."""


@pytest.fixture(scope="module")
def source(tiny_codec_file: Path) -> Codec:
    return read_codec(tiny_codec_file, "tiny")


def written_before(coder: Coder, pixels: np.ndarray) -> bytes:
    """A stream of version 2: symbols decided in floats."""
    with coding_setting(), recorded_symbols([coder.model, *coder.roots]):
        output = coder.model.compress(pad_to_stride(image_tensor(pixels), coder.stride))  # type: ignore[operator]
    strings = tuple(batch[0] for batch in output["strings"])
    height, width = pixels.shape[:2]
    return Stream(coder.codec_id, coder.adapter_id, width, height, strings, version=2).pack()


def test_a_stream_carries_the_checksum_of_its_symbols(source: Codec) -> None:
    coded = encode(SourceCoder(source), PICTURE)
    assert parse_stream(coded.data).symbol_checksum == symbol_checksum(coded.symbols)
    assert parse_stream(coded.data).version == 3


@pytest.mark.parametrize("bit", range(16))
def test_other_symbols_are_an_error_that_names_the_cause(source: Codec, bit: int) -> None:
    coder = SourceCoder(source)
    stream = parse_stream(encode(coder, PICTURE).data)
    wrong = dataclasses.replace(stream, symbol_checksum=stream.symbol_checksum ^ 1 << bit)
    with pytest.raises(BitstreamError, match="other symbols than were coded: their checksum is"):
        decode(coder, wrong.pack())


def test_a_decoder_whose_network_says_otherwise_gives_no_picture() -> None:
    """One weight of the hyper-decoder moved behind the codec's name: what other arithmetic does."""
    codec = load_codec("mbt2018-mean", 0.013)
    coder = SourceCoder(codec)
    data = encode(coder, PICTURE).data
    codec.model.h_s[-1].bias[:96] *= 1.5
    with pytest.raises(BitstreamError, match=r"other symbols than were coded|does not decode"):
        decode(coder, data)


def test_streams_of_the_version_before_decode_as_they_did() -> None:
    coder = SourceCoder(load_codec("bmshj2018-factorized", 0.0009))
    assert parse_stream(WRITTEN_BEFORE).version == 2
    decoded = decode(coder, WRITTEN_BEFORE)
    assert pixel_mse(decoded.pixels_HWC, PICTURE) == pytest.approx(50.3438, rel=1e-3)
    assert decoded.symbols == encode(coder, PICTURE).symbols
    # No network decides a symbol there, so they decode everywhere.
    assert portability_warning(coder, parse_stream(WRITTEN_BEFORE)) is None


def test_old_streams_of_a_hyperprior_come_with_a_warning(source: Codec) -> None:
    deployment = Deployment(source)
    old = written_before(SourceCoder(source), PICTURE)
    with pytest.warns(UserWarning, match=r"version 2.*interfero transcode"):
        deployment.decode(old)
    new = deployment.encode(PICTURE)
    assert portability_warning(SourceCoder(source), parse_stream(new)) is None


@pytest.mark.parametrize("method", ["", "cawf", "cawf_two_way", "lora", "bias_gain", "finetune"])
def test_transcoding_keeps_the_picture(source: Codec, method: str) -> None:
    coder: Coder = SourceCoder(source)
    if method:
        adapted = METHODS[method].build(source, 1 if METHODS[method].size_unit else 0, 0)
        adapted.refresh_tables()
        coder = adapted.eval().requires_grad_(False)
    old = written_before(coder, PICTURE)
    before = decode(coder, old).pixels_HWC
    coded, shown = transcode(coder, old)
    assert (shown == before).all()
    after = decode(coder, coded.data)
    assert after.symbols == coded.symbols
    assert np.abs(after.pixels_HWC.astype(int) - before).max() <= 1
    assert parse_stream(coded.data).version == 3
    assert len(coded.data) <= len(old) + 8


@pytest.mark.parametrize("architecture", ["mbt2018", "cheng2020-anchor"])
def test_transcoding_keeps_the_picture_of_an_autoregressive_codec(architecture: str) -> None:
    shape = Shape(architecture, 8, 8)
    codec = freeze_codec(build_model(shape), shape, 0.013, "tiny", {})
    coder = SourceCoder(codec)
    old = written_before(coder, PICTURE)
    coded, before = transcode(coder, old)
    after = decode(coder, coded.data).pixels_HWC
    assert np.abs(after.astype(int) - before).max() <= 1


def test_a_stream_of_this_version_is_transcoded_to_itself(source: Codec) -> None:
    coder = SourceCoder(source)
    data = encode(coder, PICTURE).data
    assert transcode(coder, data)[0].data == data


def test_transcoding_gives_no_checksum_to_symbols_that_were_not_coded(source: Codec) -> None:
    """A damaged stream of this version would come out as an intact one of garbage."""
    coder = SourceCoder(source)
    stream = parse_stream(encode(coder, PICTURE).data)
    wrong = dataclasses.replace(stream, symbol_checksum=stream.symbol_checksum ^ 1)
    with pytest.raises(BitstreamError, match="other symbols than were coded"):
        transcode(coder, wrong.pack())


@pytest.mark.parametrize("filters", ["error", "ignore"])
def test_the_command_warns_of_an_old_stream_that_does_not_decode(
    source: Codec,
    tiny_codec_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    filters: Literal["error", "ignore"],
) -> None:
    """Whatever the environment's warning filters are, and before the error."""
    old = dataclasses.replace(
        parse_stream(written_before(SourceCoder(source), PICTURE)), strings=(b"1234", b"5678")
    )
    (tmp_path / "old.ifr").write_bytes(old.pack())
    words = ["decode", tmp_path / "old.ifr", tmp_path / "new.png", "--source", tiny_codec_file]
    monkeypatch.setattr("sys.argv", ["interfero", *map(str, words)])
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        with pytest.raises(SystemExit):
            cli.main()
    told = capsys.readouterr().err
    assert told.index("warning: this is a stream of version 2") < told.index("error: ")


def test_the_command_rewrites_a_stream_and_says_what_changed(
    source: Codec,
    tiny_codec_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new, out = tmp_path / "old.ifr", tmp_path / "new.ifr", tmp_path / "new.png"
    old.write_bytes(written_before(SourceCoder(source), PICTURE))

    def call(*arguments: object) -> str:
        words = [*map(str, arguments), "--source", str(tiny_codec_file)]
        monkeypatch.setattr("sys.argv", ["interfero", *words])
        cli.main()
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert "warning: this is a stream of version 2" in call("decode", old, out)
    told = call("transcode", old, new)
    assert "version 3; its picture differs from the old one's by" in told
    assert parse_stream(new.read_bytes()).version == 3
    assert "warning" not in call("decode", new, out)
