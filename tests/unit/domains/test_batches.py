"""Batches are a function of seed, step and sample index, and stay what they were."""

import hashlib

import numpy as np
import pytest
import torch

from interfero.domains.batches import draw_batch, image_tensor
from interfero.domains.images import Sample


def samples(sizes=((64, 64), (200, 130), (90, 300), (256, 256))):
    made = []
    for i, (height, width) in enumerate(sizes):
        y, x, c = np.ogrid[:height, :width, :3]
        pixels = ((7 * y + 13 * x + 31 * c + 57 * i + x * y) % 256).astype(np.uint8)
        made.append(Sample(f"s{i}", f"s{i}", pixels))
    return made


def draw(images, **changes):
    given = {"seed": 0, "step": 0, "batch_size": 8, "crop_size": 64}
    return draw_batch(images, **given | changes)


def test_the_crops_of_earlier_releases_are_drawn():
    """Records of earlier sweeps stay comparable: this is their hash."""
    digest = hashlib.blake2b(digest_size=8)
    for step in range(6):
        batch = draw(
            samples(), seed=step % 3, step=step, crop_size=64 * (1 + step % 3),
            label="x" * (step % 2), first_index=8 * step,
        )  # fmt: skip
        digest.update(batch.numpy().tobytes())
    assert digest.hexdigest() == "8ee6a236fe33157f"


def test_a_batch_is_contiguous_float_in_0_to_1():
    batch = draw(samples())
    assert batch.shape == (8, 3, 64, 64)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    assert batch.min() == 0
    assert batch.max() == 1


def test_every_level_is_what_image_tensor_gives():
    levels = np.arange(256, dtype=np.uint8).repeat(3 * 16).reshape(64, 64, 3)
    batch = draw([Sample("a", "a", levels)])
    assert set(batch.unique().tolist()) == set(image_tensor(levels).unique().tolist())


def test_sample_indices_decide_not_batches():
    whole = draw(samples(), step=5)
    halves = [draw(samples(), step=5, batch_size=4, first_index=i) for i in (0, 4)]
    assert torch.equal(whole, torch.cat(halves))


@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 1}, {"first_index": 8}, {"label": "x"}])
def test_whatever_names_a_crop_changes_it(change):
    assert not torch.equal(draw(samples()), draw(samples(), **change))


def test_crops_are_flipped_and_transposed_and_nothing_else():
    image = samples(((64, 64),))
    whole = image_tensor(image[0].pixels_HWC)
    ways = [
        torch.flip(w, dims)
        for w in (whole, whole.transpose(1, 2))
        for dims in ([], [1], [2], [1, 2])
    ]
    batch = draw(image, batch_size=64)
    found = {next(i for i, way in enumerate(ways) if torch.equal(crop, way)) for crop in batch}
    assert found == set(range(8))


def test_small_images_are_extended_by_reflection():
    pixels = samples(((64, 80),))[0].pixels_HWC
    batch = draw([Sample("a", "a", pixels)], crop_size=128, batch_size=4)
    assert {round(255 * v) for v in batch.unique().tolist()} <= set(np.unique(pixels).tolist())
    # Mirrored along at least one axis of every crop: the far half shows the near one.
    for crop in batch:
        assert any(torch.equal(crop, crop.flip(axis)) for axis in (1, 2))


def test_drawing_changes_no_image():
    images = samples()
    before = [s.pixels_HWC.copy() for s in images]
    draw(images, batch_size=32)
    assert all((s.pixels_HWC == b).all() for s, b in zip(images, before, strict=True))
