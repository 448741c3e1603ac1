"""PSNR against the values that a deep file holds, next to PSNR of its 8-bit pixels."""

from collections import Counter

import numpy as np
import pytest

from interfero.codecs.coding import Coded, Decoded, ImageScore
from interfero.domains.images import ImageRules, Sample
from interfero.domains.mapped_values import map_values
from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage
from trainables.evaluation import _range_metrics
from trainables.workbench import ReferenceImage

LOW, HIGH = 100.0, 4100.0


def reference(values_HWB):
    rules = ImageRules(mapping=PixelMapping(pixel_range=(LOW, HIGH)))
    pixels, fine = map_values(RawImage(values_HWB), "a", rules, Counter())
    sample = Sample("a", "a", pixels, fine_HWC=fine)
    decoded = np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8)
    return ReferenceImage(
        sample, Coded(b"", ()), Decoded(decoded, ()), ImageScore("a", "a", 1.0, 9.0)
    )


def psnr_of_values(values, decoded):
    shown = LOW + decoded.astype(np.float64) / 255 * (HIGH - LOW)
    return 10 * np.log10((HIGH - LOW) ** 2 / np.mean((shown - values) ** 2))


def test_it_is_the_psnr_of_the_values_with_the_declared_range_as_its_peak():
    values = np.random.default_rng(0).integers(100, 4000, (64, 64, 3)).astype(np.uint16)
    image = reference(values)
    after = np.clip(image.sample.pixels_HWC.astype(int) - 2, 0, 255).astype(np.uint8)
    found = _range_metrics([image], [after])
    assert found == {
        "target/psnr_range_db": pytest.approx(psnr_of_values(values, after), abs=1e-2),
        "target/psnr_range_db_before": pytest.approx(
            psnr_of_values(values, image.decoded.pixels_HWC), abs=1e-2
        ),
    }


def test_rounding_to_8_bits_counts_there():
    values = np.random.default_rng(0).integers(100, 4100, (64, 64, 3)).astype(np.uint16)
    image = reference(values)
    found = _range_metrics([image], [image.sample.pixels_HWC])
    # Uniform rounding of a level: 20 log10(255) + 10 log10(12).
    assert found["target/psnr_range_db"] == pytest.approx(58.92, abs=0.1)


def test_domains_of_8_bits_have_no_such_metric():
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    pixels, fine = map_values(RawImage(values), "a", ImageRules(), Counter())
    sample = Sample("a", "a", pixels, fine_HWC=fine)
    image = ReferenceImage(
        sample, Coded(b"", ()), Decoded(pixels, ()), ImageScore("a", "a", 1.0, 9.0)
    )
    assert _range_metrics([image], [pixels]) == {}
