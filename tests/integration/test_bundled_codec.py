"""The weights that come with the project: whole, small, documented, and better than JPEG."""

from __future__ import annotations

from pathlib import Path

import pytest

from interfero.codecs.catalogue import BUNDLED_FOLDER, available_lambdas, bundled_names, load_codec
from interfero.codecs.coding import SourceCoder, mean_score, score_coded, score_estimated
from interfero.codecs.jpeg import jpeg_curve
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import spread
from interfero.domains.images import Sample
from interfero.domains.ingest import load_folder
from interfero.metrics.bd_rate import psnr_at_rate

MAX_BYTES = 4_000_000
MIN_LAMBDAS = 5


@pytest.mark.parametrize("name", bundled_names())
def test_files_are_small_and_carry_their_card(name: str) -> None:
    files = sorted((BUNDLED_FOLDER / name).glob("*.safetensors"))
    assert len(files) >= MIN_LAMBDAS
    for file in files:
        assert file.stat().st_size < MAX_BYTES
    for value in available_lambdas(name):
        card = load_codec(name, value).card
        assert card["training"]["rd_lambda"] == value
        assert card["command"].startswith("python -m trainables.source")
        assert card["domain"]["licence"] not in ("", "not stated")


@pytest.mark.parametrize("name", bundled_names())
def test_rate_and_quality_rise_with_lambda(name: str) -> None:
    samples = spread(load_domain("photos").test, 4)
    scores = []
    for value in available_lambdas(name):
        coder = SourceCoder(load_codec(name, value))
        scores.append(mean_score([score_coded(coder, s) for s in samples], value))
    assert [s["bpp"] for s in scores] == sorted(s["bpp"] for s in scores)
    assert [s["psnr_db"] for s in scores] == sorted(s["psnr_db"] for s in scores)


@pytest.mark.parametrize("name", bundled_names())
def test_what_is_coded_is_what_the_entropy_model_promised(name: str) -> None:
    """Within 3 % and the header: tables, indexes and the rate estimate belong together."""
    samples = spread(load_domain("photos").test, 3)
    for value in available_lambdas(name):
        coder = SourceCoder(load_codec(name, value))
        for sample in samples:
            height, width = sample.pixels_HWC.shape[:2]
            header_bpp = 8 * 24 / (height * width)
            promised = score_estimated(coder, sample).bpp
            coded = score_coded(coder, sample).bpp
            assert promised * 0.99 < coded < promised * 1.03 + header_bpp


@pytest.fixture(scope="module")
def photographs(interfero_data: Path) -> tuple[tuple[Sample, ...], list[tuple[float, float]]]:
    """A few at half scale (`benchmarks/source_codec.py` takes all), and JPEG's curve on them."""
    samples = spread(load_folder("natural", interfero_data / "natural").test, 16)
    return samples, [(p.bpp, p.psnr_db) for p in jpeg_curve(samples, range(2, 90, 4))]


@pytest.mark.data
@pytest.mark.parametrize("name", bundled_names())
def test_every_lambda_beats_jpeg_at_its_rate(
    name: str, photographs: tuple[tuple[Sample, ...], list[tuple[float, float]]]
) -> None:
    """Means over photographs, against the better of four JPEG settings."""
    samples, jpeg = photographs
    for value in available_lambdas(name):
        coder = SourceCoder(load_codec(name, value))
        score = mean_score([score_coded(coder, s) for s in samples], value)
        smallest = min(jpeg)
        # Headers alone keep JPEG above the lowest rate: its smallest files must then be worse.
        reached = smallest[1] if score["bpp"] < smallest[0] else psnr_at_rate(jpeg, score["bpp"])
        assert reached is not None
        assert score["psnr_db"] > reached
