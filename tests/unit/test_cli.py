"""`interfero encode` and `interfero decode` as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interfero import cli
from interfero.adaptation import METHODS, save_adapter
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.coding import SourceCoder, decode


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


def test_round_trip_gives_the_codecs_pixels(
    tmp_path: Path, picture: Path, tiny_codec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, out = tmp_path / "a.ifr", tmp_path / "a.png"
    assert call(monkeypatch, "encode", picture, stream, "--source", tiny_codec_file) == 0
    assert call(monkeypatch, "decode", stream, out, "--source", tiny_codec_file) == 0
    expected = decode(SourceCoder(read_codec(tiny_codec_file, "tiny")), stream.read_bytes())
    assert (np.asarray(Image.open(out)) == expected.pixels_HWC).all()


def test_adapted_stream_needs_its_adapter(
    tmp_path: Path,
    picture: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adapted = METHODS["cawf"].build(read_codec(tiny_codec_file, "tiny"), 1, 0)
    adapted.refresh_tables()
    adapter, stream = tmp_path / "adapter.safetensors", tmp_path / "a.ifr"
    save_adapter(adapted, adapter, method="cawf", adapter_size=1, record={})
    source = ("--source", tiny_codec_file)
    assert call(monkeypatch, "encode", picture, stream, *source, "--adapter", adapter) == 0
    assert call(monkeypatch, "decode", stream, tmp_path / "a.png", *source) == 2
    assert "needs adapter" in capsys.readouterr().err
    with_adapter = (*source, "--adapter", adapter)
    assert call(monkeypatch, "decode", stream, tmp_path / "a.png", *with_adapter) == 0


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
