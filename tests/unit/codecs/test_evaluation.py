"""Evaluation of learned and classical codecs: rates and errors that are worked out by hand, and tiles."""

import dataclasses
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from interfero.codecs.catalogue import load_codec
from interfero.codecs.classical import ClassicalPoint, Jpeg, WebP
from interfero.codecs.coding import SourceCoder, decode, encode, score_coded, score_estimated
from interfero.codecs.evaluation import (
    EvaluationOptions,
    evaluate,
    grouped_mean,
    ms_ssim_of,
    tile_boxes,
)
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.domain import Domain
from interfero.domains.images import Sample
from interfero.errors import ConfigError


def picture(height=96, width=128, seed=0):
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [90 + 60 * np.sin(rows / 9), 120 + 50 * np.cos(columns / 13), 60 + rows + columns / 2]
    pixels = np.stack(planes, -1) + np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def sample(name="a", group=None, **size):
    return Sample(name, group or name, picture(seed=len(name), **size))


@pytest.fixture(scope="module")
def codec(tiny_codec_file):
    return load_codec(str(tiny_codec_file), 0.013)


def test_rate_and_psnr_are_those_of_the_coded_files(codec):
    images = [sample("a", height=70, width=90), sample("bb")]
    result = evaluate(codec, images)
    for image, measured in zip(images, result.images, strict=True):
        data = encode(SourceCoder(codec), image.pixels_HWC).data
        decoded = decode(SourceCoder(codec), data).pixels_HWC.astype(float)
        height, width = image.pixels_HWC.shape[:2]
        mse = ((decoded - image.pixels_HWC) ** 2).mean()
        assert measured.bpp == 8 * len(data) / (height * width)
        assert measured.mse == pytest.approx(mse)
        assert measured.psnr_db == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-4)
        estimated = score_estimated(SourceCoder(codec), image).bpp
        assert measured.estimated_bpp == pytest.approx(estimated)
        assert measured.num_tiles == 1
    assert result.bpp.value == pytest.approx(sum(i.bpp for i in result.images) / 2)
    assert result.psnr_db.value == pytest.approx(sum(i.psnr_db for i in result.images) / 2)


def test_a_codec_and_its_coder_are_one_thing(codec):
    images = [sample()]
    one, other = evaluate(codec, images), evaluate(SourceCoder(codec), images)
    assert one == other


def test_a_classical_codec_is_measured_the_same_way():
    image = sample(height=70, width=90)
    result = evaluate(ClassicalPoint(Jpeg(), 40), [image])
    data = Jpeg().encode(image.pixels_HWC, 40)
    assert result.images[0].bpp == 8 * len(data) / (70 * 90)
    difference = Jpeg().decode(data).astype(float) - image.pixels_HWC
    assert result.images[0].mse == pytest.approx((difference**2).mean())
    assert result.estimated_bpp is None
    assert "jpeg" in result.codec


def test_a_domain_is_measured_on_its_test_images(codec):
    domain = Domain("d", (sample("train"),), (sample("t"), sample("tt")))
    assert [i.name for i in evaluate(codec, domain).images] == ["t", "tt"]
    assert len(evaluate(codec, domain, EvaluationOptions(max_images=1)).images) == 1


def test_no_images_are_refused(codec):
    with pytest.raises(ConfigError, match="at least one image"):
        evaluate(codec, [])


def test_estimating_can_be_left_out(codec):
    assert evaluate(codec, [sample()], EvaluationOptions(estimate=False)).estimated_bpp is None


def test_ms_ssim_needs_161_pixels_a_side():
    images = [sample("small", height=160, width=300), sample("large", height=161, width=161)]
    result = evaluate(ClassicalPoint(WebP(), 80), images)
    assert result.images[0].ms_ssim is None
    assert 0.9 < result.images[1].ms_ssim < 1
    assert result.ms_ssim.num_images == 1
    assert evaluate(ClassicalPoint(WebP(), 80), images[:1]).ms_ssim is None
    same = images[1].pixels_HWC
    assert ms_ssim_of(same, same) == pytest.approx(1, abs=1e-6)


def test_more_quality_is_a_better_ms_ssim():
    image = sample(height=192, width=200)
    low, high = (evaluate(ClassicalPoint(Jpeg(), q), [image]).ms_ssim.value for q in (5, 80))
    assert low < high


def test_standard_errors_are_over_source_images():
    # Alone, four values 1, 3, 5, 7: s^2 = 20/3, error sqrt(20/3/4).
    alone = grouped_mean([1, 3, 5, 7], ["a", "b", "c", "d"])
    assert (alone.value, alone.num_images) == (4, 4)
    assert alone.standard_error == pytest.approx(math.sqrt(20 / 3 / 4))
    # In two groups: sums of residuals -4 and 4, error sqrt(2 * 32) / 4 = 2.
    assert grouped_mean([1, 3, 5, 7], ["a", "a", "b", "b"]).standard_error == pytest.approx(2)
    assert grouped_mean([1, 3], ["a", "a"]).standard_error is None
    with pytest.raises(ValueError, match="at least one"):
        grouped_mean([], [])


def test_blocks_of_one_picture_have_no_standard_error():
    """Groups that splits keep apart are no pictures for that."""
    blocks = [
        Sample(name, name, picture(seed=i), source_image="retina") for i, name in enumerate("ab")
    ]
    result = evaluate(ClassicalPoint(Jpeg(), 50), blocks)
    assert result.bpp.standard_error is None
    other = Sample("c", "c", picture(seed=5))
    assert evaluate(ClassicalPoint(Jpeg(), 50), [*blocks, other]).bpp.standard_error > 0


def test_scores_name_the_picture(codec):
    block = Sample("r.c0r0", "r.c0r0", picture(), source_image="r")
    for score in (score_coded, score_estimated):
        assert score(SourceCoder(codec), block).group == "r"


@pytest.mark.parametrize("max_tile", [64, 100, 128, 1000])
@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (65, 127), (128, 129), (200, 333), (1, 500)]
)
def test_tiles_cover_every_pixel_once_and_pad_at_the_edges_alone(height, width, max_tile):
    covered = np.zeros((height, width), int)
    for rows, columns in tile_boxes(np.zeros((height, width, 3), np.uint8), max_tile, 64):
        covered[rows, columns] += 1
        for axis, length in ((rows, height), (columns, width)):
            assert 0 < axis.stop - axis.start <= max_tile
            assert axis.start % 64 == 0
            assert axis.stop == length or axis.stop % 64 == 0
    assert (covered == 1).all()


def test_tiles_are_of_about_equal_length():
    boxes = list(tile_boxes(np.zeros((64, 1100, 3), np.uint8), 1024, 64))
    assert [columns.stop - columns.start for _, columns in boxes] == [576, 524]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (129, 128), (127, 193), (130, 257)])
def test_the_bytes_of_all_tiles_count(codec, height, width):
    image = sample(height=height, width=width)
    measured = evaluate(codec, [image], EvaluationOptions(max_tile=128)).images[0]
    coder, total, squares = SourceCoder(codec), 0, 0.0
    boxes = list(tile_boxes(image.pixels_HWC, 128, codec.stride))
    for box in boxes:
        tile = Sample("tile", "tile", np.ascontiguousarray(image.pixels_HWC[box]))
        score = score_coded(coder, tile)
        area = tile.pixels_HWC.shape[0] * tile.pixels_HWC.shape[1]
        total += round(score.bpp * area / 8)
        squares += score.mse * area
    assert measured.num_tiles == len(boxes) == (-(-height // 128)) * (-(-width // 128))
    assert measured.bpp == 8 * total / (height * width)
    assert measured.mse == pytest.approx(squares / (height * width))


def test_an_image_that_fits_is_coded_whole(codec):
    image = sample(height=128, width=100)
    whole = evaluate(codec, [image]).images[0]
    assert evaluate(codec, [image], EvaluationOptions(max_tile=128)).images[0] == whole
    assert evaluate(codec, [image], EvaluationOptions(max_tile=64)).images[0].bpp > whole.bpp


def lpips_file(path):
    """Random weights under the names of the lpips package."""
    random = torch.Generator().manual_seed(0)
    convolutions = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3)]
    convolutions += [(10, 256, 256, 3)]
    state = {}
    for index, (layer, out, into, side) in enumerate(convolutions):
        shape = (out, into, side, side)
        state[f"net.slice{index + 1}.{layer}.weight"] = torch.randn(shape, generator=random) * 0.05
        state[f"net.slice{index + 1}.{layer}.bias"] = torch.zeros(out)
        state[f"lin{index}.model.1.weight"] = torch.rand((1, out, 1, 1), generator=random)
    safetensors.torch.save_file(state, path)
    return path


def test_lpips_is_measured_with_local_weights_alone(tmp_path):
    options = EvaluationOptions(lpips_weights=lpips_file(tmp_path / "lpips.safetensors"))
    image = sample()
    low, high = (evaluate(ClassicalPoint(Jpeg(), q), [image], options).lpips for q in (3, 95))
    assert low.value > high.value > 0
    assert evaluate(ClassicalPoint(Jpeg(), 95), [image]).lpips is None


def test_missing_lpips_weights_say_how_to_make_them(tmp_path):
    options = EvaluationOptions(lpips_weights=tmp_path / "absent.safetensors")
    with pytest.raises(ConfigError, match="says how to make the file"):
        evaluate(ClassicalPoint(Jpeg(), 50), [sample()], options)


def test_results_are_frozen(codec):
    result = evaluate(codec, [sample()])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.images[0].bpp = 0


def test_two_processes_measure_what_one_does(codec, tmp_path):
    images = [sample("a", height=70, width=90), sample("bb"), sample("ccc")]
    alone = evaluate(codec, images)
    store = EvaluationStore(tmp_path)
    together = evaluate(codec, images, store=store, processes=2)
    assert together == alone
    kept = sorted(tmp_path.rglob("*.safetensors"))
    assert len(kept) == 3
    assert evaluate(codec, images, store=store) == alone
    assert sorted(tmp_path.rglob("*.safetensors")) == kept


def test_no_process_is_too_few(codec):
    with pytest.raises(ConfigError, match="1 process or more, got 0"):
        evaluate(codec, [sample()], processes=0)
