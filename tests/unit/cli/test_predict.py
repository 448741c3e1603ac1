"""`interfero predict` as a user types it, on simulated maps and drawn images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from interfero import cli
from interfero.analysis.records import read_records, write_tables
from interfero.cli.predict.answer import MAP_FILE
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.source_statistics import SourceStatistics
from interfero.domains.catalogue import load_domain
from tools.planted import PlantedSweep, Scatter


def growing(place: Mapping[str, float]) -> float:
    return 4 * place["num_images"] ** 0.3


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["interfero", "predict", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def map_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_codec_file: Path, other_image_folder: Path
) -> Path:
    """A map whose domain `text` is `other_image_folder`, and whose codec is nowhere to be found."""
    sweep = PlantedSweep(growing, scatter=Scatter(seed=0.02))
    known = load_domain(f"text={other_image_folder}").fingerprint
    records = [
        r.model_copy(
            update={
                "provenance": {
                    "domain_hash": known if r.params["domain"] == "text" else "another",
                    "source_domain": f"clouds={other_image_folder}",
                }
            }
        )
        for r in sweep.records(np.random.default_rng(0))
    ]
    return write_tables(records, tmp_path_factory.mktemp("map"))[0].parent


def test_a_known_domain_is_answered_from_its_own_cells(
    map_folder: Path,
    other_image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--domain", other_image_folder, "--num-images", 10, "--method", "finetune")
    assert call(monkeypatch, *asked, "--cells", map_folder) == 0
    out = capsys.readouterr().out
    assert "in the map; 10 images, lambda 0.013, 300 steps" in out
    assert "power law" in out
    assert "extrapolates" not in out
    assert f"{map_folder}, 36 cells, 3 data seeds, 3 domains (charts, fundus, text)" in out


def test_beyond_the_map_it_says_that_it_extrapolates(
    map_folder: Path,
    other_image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--domain", f"mine={other_image_folder}", "--num-images", 500, "--method", "finetune")
    assert call(monkeypatch, *asked, "--cells", map_folder / "cells.parquet") == 0
    out = capsys.readouterr().out
    assert "extrapolates: training images 500 lies outside 1 to 80" in out


def test_a_new_domain_is_told_how_predictions_did_on_domains_left_out(
    tmp_path: Path,
    other_image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("charts", "fundus", "maps", "text")
    sweep = PlantedSweep(growing, domains=names, distances=(1.0, 2.0, 3.0, 4.0))
    write_tables(sweep.records(np.random.default_rng(0)), tmp_path)
    asked = ("--domain", other_image_folder, "--num-images", 20, "--method", "finetune")
    assert call(monkeypatch, *asked, "--cells", tmp_path) == 0
    out = " ".join(capsys.readouterr().out.split())
    found = re.search(
        r"of 4 domains, each left out whole, (\d+) of 48 cells lay in such intervals", out
    )
    assert found is not None
    assert int(found.group(1)) > 40
    assert re.search(r"off by \d\.\d\d-fold, a constant by \d\.\d\d-fold", out)


def test_a_new_domain_is_measured_with_the_source_codec(
    map_folder: Path,
    image_folder: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--domain", image_folder, "--num-images", 5, "--method", "finetune")
    asked += ("--cells", map_folder)
    assert call(monkeypatch, *asked, "--source", tiny_codec_file) == 0
    out = capsys.readouterr().out
    assert "new to the map" in out
    assert "not tried on domains left out whole: 3 are too few" in out
    assert "feature distance (source s.d.)" in out
    assert call(monkeypatch, *asked) == 0
    assert "distance from the source domain is unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--method": "finetun"}, "did you mean 'finetune'"),
        ({"--num-images": 0}, "--num-images must be 1 or more"),
        ({"--domain": "no/such/folder"}, "there is no no/such/folder"),
        ({"--cells": "no/such/cells.parquet"}, "no/such/cells.parquet"),
        ({"--adapter-size": 4}, "--adapter-size 4 is not in the map: 0"),
        ({"--lambda": -1}, "must be positive"),
        ({"--lambda": 0}, "must be positive"),
        ({"--num-steps": 0}, "must be positive"),
        ({"--source": "bmshj2018-factorized"}, "the map is of 'simulated'"),
    ],
)
def test_bad_input_exits_with_2_and_one_screen(
    map_folder: Path,
    other_image_folder: Path,
    changed: dict[str, object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, object] = {
        "--domain": other_image_folder,
        "--num-images": 5,
        "--method": "finetune",
        "--cells": map_folder,
    }
    flat = [item for pair in (asked | changed).items() for item in pair]
    assert call(monkeypatch, *flat) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) < 20


def test_a_map_that_answers_nothing_says_why(
    tmp_path: Path,
    other_image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = PlantedSweep(growing, seeds=(0,)).records(np.random.default_rng(0))
    write_tables(records, tmp_path)
    asked = ("--domain", other_image_folder, "--num-images", 5, "--method", "finetune")
    assert call(monkeypatch, *asked, "--cells", tmp_path) == 2
    assert "1 data seeds, 3 are needed: add --data-seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [("codec_hash", "codec tiny here is not"), ("source_domain_hash", "source domain clouds here")],
)
def test_another_codec_or_source_domain_of_the_same_name_measures_no_distance(
    tmp_path: Path,
    map_folder: Path,
    image_folder: Path,
    other_image_folder: Path,
    tiny_codec_file: Path,
    name: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [
        r.model_copy(update={"provenance": {**r.provenance, name: "another"}})
        for r in read_records(map_folder)
    ]
    write_tables(records, tmp_path)
    asked = ("--domain", image_folder, "--num-images", 5, "--method", "finetune")
    assert call(monkeypatch, *asked, "--cells", tmp_path, "--source", tiny_codec_file) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "feature distance" not in out


def test_without_a_map_the_one_that_comes_along_answers_and_says_so(
    other_image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("INTERFERO_DATA", raising=False)
    asked = ("--domain", other_image_folder, "--num-images", 500, "--method", "finetune")
    assert call(monkeypatch, *asked) == 0
    out = capsys.readouterr().out
    assert "map: the one that comes with interfero, 126 cells, 3 data seeds, 3 domains" in out
    assert "extrapolates: training images 500 lies outside 1 to 179" in out
    # Its source images are not part of the project: what distances are measured from is.
    assert "is unknown" not in out
    assert "feature distance (source s.d.)" in out


def test_what_is_kept_of_the_source_domain_measures_as_its_images_do(
    tmp_path: Path,
    map_folder: Path,
    image_folder: Path,
    other_image_folder: Path,
    tiny_codec_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = load_domain(f"clouds={other_image_folder}")
    codec = read_codec(tiny_codec_file, "tiny")
    hashes = {"source_domain_hash": source.fingerprint, "codec_hash": codec.weights_hash}
    records = [
        r.model_copy(update={"provenance": {**r.provenance, **hashes}})
        for r in read_records(map_folder)
    ]
    gone = [
        r.model_copy(update={"provenance": {**r.provenance, "source_domain": "nowhere"}})
        for r in records
    ]
    asked = ("--domain", image_folder, "--num-images", 5, "--method", "finetune", "--source",
             tiny_codec_file, "--cells")  # fmt: skip
    said = []
    for name, cells in (("whole", records), ("gone", gone)):
        write_tables(cells, tmp_path / name)
        if name == "gone":
            assert call(monkeypatch, *asked, tmp_path / name) == 0
            assert "no domain is called 'nowhere'" in capsys.readouterr().out
            SourceStatistics.measured(source, [codec]).save(tmp_path / name / "source.safetensors")
        assert call(monkeypatch, *asked, tmp_path / name) == 0
        said.append(capsys.readouterr().out.replace(str(tmp_path / name), ""))
    assert said[0] == said[1]
    assert "feature distance (source s.d.)" in said[1]
    (tmp_path / "gone" / "source.safetensors").write_bytes(b"damaged")
    assert call(monkeypatch, *asked, tmp_path / "gone") == 2


def test_the_map_that_comes_along_is_small_and_names_no_place() -> None:
    assert MAP_FILE.stat().st_size < 3 * 2**20
    for record in read_records(MAP_FILE):
        assert record.status == "finished"
        assert record.adapter_file is None
        assert record.sample_file is None
        names = [*map(str, record.params.values()), *record.provenance.values()]
        assert not any(text.startswith(("/", "~")) or "=/" in text for text in names)
        assert not any(image.name.startswith("/") for image in record.images)
