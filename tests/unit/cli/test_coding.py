"""`interfero encode` and `interfero decode` as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interfero import cli
from interfero.adaptation import METHODS, save_adapter
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.codec import Shape, build_model
from interfero.codecs.coding import SourceCoder, decode, encode


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["interfero", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    y, x = np.mgrid[0:100, 0:90]
    pixels = np.stack([x * 2, y * 2, (x + y) % 255], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_encode_says_what_it_did_to_opacity_and_frames(
    tmp_path: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    frames = [Image.new("RGBA", (70, 70), (10 * i, 20, 30, 99)) for i in range(1, 4)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    stream = tmp_path / "a.ifr"
    assert call(monkeypatch, "encode", tmp_path / "a.png", stream, "--source", tiny_codec_file) == 0
    said = capsys.readouterr().out
    assert "1 x transparency laid on white" in said
    assert "2 x further page or frame left out" in said


def test_domains_goes_on_after_one_that_is_refused(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    good = tmp_path / "good"
    good.mkdir()
    for i in range(4):
        Image.open(picture).rotate(90 * i, expand=True).save(good / f"p{i}p.png")
    assert call(monkeypatch, "domains", f"x={tmp_path / 'none'}", f"y={good}") == 2
    shown = capsys.readouterr()
    assert "domain 'x': no image in" in shown.err
    assert "y" in shown.out


def test_round_trip_gives_the_codecs_pixels(
    tmp_path: Path, picture: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Folders of outputs are made.
    stream, out = tmp_path / "streams/a.ifr", tmp_path / "pictures/a.png"
    assert call(monkeypatch, "encode", picture, stream, "--source", tiny_codec_file) == 0
    assert call(monkeypatch, "decode", stream, out, "--source", tiny_codec_file) == 0
    expected = decode(SourceCoder(read_codec(tiny_codec_file, "tiny")), stream.read_bytes())
    assert (np.asarray(Image.open(out)) == expected.pixels_HWC).all()


def test_refusals_name_what_helps_there(
    tmp_path: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What a domain would declare, and how a sweep goes on, are no options of these commands."""
    Image.fromarray(np.full((70, 70), 9000, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("no picture")
    source = ("--source", tiny_codec_file)
    for name, said in (
        ("deep.png", "more than 8 bits a channel (16 bits, mode I;16): convert it to 8-bit RGB"),
        ("text.png", "give a picture such as a PNG of 8-bit RGB"),
    ):
        assert call(monkeypatch, "encode", tmp_path / name, tmp_path / "a.ifr", *source) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert "NAME=PATH" not in shown
    Image.new("RGB", (70, 70)).save(tmp_path / "a.png")
    place = tmp_path / "text.png" / "a.ifr"
    assert call(monkeypatch, "encode", tmp_path / "a.png", place, *source) == 2
    assert "free the disk or name another place\n" in capsys.readouterr().err
    assert call(monkeypatch, "encode", tmp_path / "a.png", tmp_path / "a.ifr", *source) == 0
    for out, remedy in ((tmp_path / "a.xyz", "name a .png file"), (place, "name another place")):
        assert call(monkeypatch, "decode", tmp_path / "a.ifr", out, *source) == 2
        assert remedy in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 12])
def test_a_stream_of_other_channels_is_a_picture_if_it_can_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    channels: int,
) -> None:
    shape = Shape("bmshj2018-factorized", 8, 12, channels)
    codec = freeze_codec(build_model(shape), shape, 0.013, "c", {})
    save_codec(codec, tmp_path / "c.safetensors")
    pixels = np.full((64, 80, channels), 99, np.uint8)
    stream, out = tmp_path / "a.ifr", tmp_path / "a.png"
    stream.write_bytes(encode(SourceCoder(codec), pixels).data)
    code = call(monkeypatch, "decode", stream, out, "--source", tmp_path / "c.safetensors")
    if channels == 1:
        assert code == 0
        assert (Image.open(out).mode, Image.open(out).size) == ("L", (80, 64))
    else:
        assert code == 2
        assert "holds 12 channels, pictures have 1 or 3" in capsys.readouterr().err


def adapter_file(codec_file: Path, path: Path, method: str = "cawf", seed: int = 0) -> Path:
    size = 1 if METHODS[method].size_unit else 0
    adapted = METHODS[method].build(read_codec(codec_file, "tiny"), size, seed)
    adapted.refresh_tables()
    save_adapter(adapted, path, method=method, adapter_size=size, record={})
    return path


def test_adapted_stream_needs_its_adapter(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adapter = adapter_file(tiny_codec_file, tmp_path / "adapter.safetensors")
    # Folders of outputs are made.
    stream, out = tmp_path / "streams/a.ifr", tmp_path / "pictures/a.png"
    source = ("--source", tiny_codec_file)
    assert call(monkeypatch, "encode", picture, stream, *source, "--adapter", adapter) == 0
    needed = parse_stream(stream.read_bytes()).adapter_id
    assert needed is not None
    assert call(monkeypatch, "decode", stream, out, *source) == 2
    assert f"needs adapter {needed.hex()}, loaded is none" in capsys.readouterr().err
    assert call(monkeypatch, "decode", stream, out, *source, "--adapter", adapter) == 0


def test_the_header_picks_among_several_adapters(
    tmp_path: Path, picture: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [adapter_file(tiny_codec_file, tmp_path / f"{i}.safetensors", seed=i) for i in (0, 1)]
    # Folders of outputs are made.
    stream, out = tmp_path / "streams/a.ifr", tmp_path / "pictures/a.png"
    source = ("--source", tiny_codec_file)
    assert call(monkeypatch, "encode", picture, stream, *source, "--adapter", files[1]) == 0
    both = ("--adapter", files[0], "--adapter", files[1])
    assert call(monkeypatch, "decode", stream, out, *source, *both) == 0
    assert call(monkeypatch, "decode", stream, out, *source, "--adapter", files[0]) == 2


@pytest.mark.parametrize("with_adapter", [True, False])
def test_a_source_mode_stream_decodes_with_and_without_the_adapter(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_adapter: bool,
) -> None:
    adapter = adapter_file(tiny_codec_file, tmp_path / "adapter.safetensors")
    # Folders of outputs are made.
    stream, out = tmp_path / "streams/a.ifr", tmp_path / "pictures/a.png"
    source, adapted = ("--source", tiny_codec_file), ("--adapter", adapter)
    assert call(monkeypatch, "encode", picture, stream, *source, *adapted, "--mode", "source") == 0
    assert (
        call(monkeypatch, "decode", stream, out, *source, *(adapted if with_adapter else ())) == 0
    )
    expected = decode(SourceCoder(read_codec(tiny_codec_file, "tiny")), stream.read_bytes())
    assert (np.asarray(Image.open(out)) == expected.pixels_HWC).all()


@pytest.mark.parametrize("method", ["cawf", "finetune"])
def test_auto_shows_both_losses_and_keeps_the_lower(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
) -> None:
    # Untrained, the adapter draws the source codec's picture and costs more bytes: source mode wins.
    adapter = adapter_file(tiny_codec_file, tmp_path / "adapter.safetensors", method)
    stream = tmp_path / "a.ifr"
    source, adapted = ("--source", tiny_codec_file), ("--adapter", adapter)
    assert call(monkeypatch, "encode", picture, stream, *source, *adapted, "--mode", "auto") == 0
    lines = capsys.readouterr().out.splitlines()
    losses = {line.partition(": loss ")[0].strip(): line.rpartition(" ")[2] for line in lines[:2]}
    assert float(losses.pop("source mode")) < float(*losses.values())
    assert lines[2].endswith("source mode")
    assert call(monkeypatch, "decode", stream, tmp_path / "a.png", *source) == 0


def test_modes_that_do_not_exist_are_refused(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adapter = adapter_file(tiny_codec_file, tmp_path / "second.safetensors", "finetune")
    encode = ("encode", picture, tmp_path / "a.ifr", "--source", tiny_codec_file)
    assert call(monkeypatch, *encode, "--adapter", adapter, "--mode", "source") == 2
    assert "no source mode: leave it out" in capsys.readouterr().err
    assert call(monkeypatch, *encode, "--mode", "target") == 2
    assert "target mode needs an adapter" in capsys.readouterr().err
    assert not (tmp_path / "a.ifr").exists()


def test_a_stream_of_another_codec_says_which(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Folders of outputs are made.
    stream, out = tmp_path / "streams/a.ifr", tmp_path / "pictures/a.png"
    assert call(monkeypatch, "encode", picture, stream, "--lambda", 0.0045) == 0
    assert call(monkeypatch, "decode", stream, out, "--source", tiny_codec_file) == 2
    assert "bundled: mbt2018-mean, lambda 0.0045" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_printed_is_what_was_written(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = tmp_path / "a.ifr"
    assert call(monkeypatch, "encode", picture, stream, "--source", tiny_codec_file) == 0
    data = stream.read_bytes()
    strings = sum(map(len, parse_stream(data).strings))
    bpp = 8 * len(data) / (100 * 90)
    said = f"{len(data)} bytes ({len(data) - strings} of them header), {bpp:.4f} bpp"
    assert said in capsys.readouterr().out


def test_a_large_picture_is_coded_whole(
    tmp_path: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (1500, 70)).save(tmp_path / "wide.png")
    stream = tmp_path / "a.ifr"
    arguments = ("encode", tmp_path / "wide.png", stream, "--source", tiny_codec_file)
    assert call(monkeypatch, *arguments) == 0
    parsed = parse_stream(stream.read_bytes())
    assert (parsed.width, parsed.height) == (1500, 70)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("encode", "missing.png", "a.ifr"), "missing.png"),
        (("decode", "missing.ifr", "a.png"), "missing.ifr"),
        (("encode", "missing.png", "a.ifr", "--source", "mbt2018-meen"), "mbt2018-mean"),
        (("domains", "histolgy"), "histology"),
    ],
)
def test_errors_name_what_is_wrong_and_exit_with_2(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err
