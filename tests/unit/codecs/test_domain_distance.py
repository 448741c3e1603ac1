"""Distance of domains from the source domain, measured with an untrained codec on drawn images."""

import dataclasses

import numpy as np
import pytest

from interfero.codecs.checkpoint import read_codec
from interfero.codecs.domain_distance import MAX_SIDE, domain_distance
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain
from interfero.domains.images import Sample


@pytest.fixture(scope="module")
def codec(tiny_codec_file):
    return read_codec(tiny_codec_file, "tiny")


@pytest.fixture(scope="module")
def clouds(other_image_folder):
    return load_domain(f"clouds={other_image_folder}")


@pytest.fixture(scope="module")
def pages(image_folder):
    return load_domain(f"pages={image_folder}")


def changed(domain, change):
    """The same domain, every image changed."""

    def samples(split):
        return tuple(Sample(s.name, s.group, change(s.pixels_HWC)) for s in split)

    return Domain("changed", samples(domain.train), samples(domain.test))


def test_the_source_domain_is_at_0(codec, clouds):
    here = domain_distance(codec, clouds, clouds)
    assert here.rd_excess_percent == 0
    assert here.latent_bits == 0
    assert here.feature_sd == pytest.approx(0, abs=1e-5)
    assert here.chroma_sd == pytest.approx(0, abs=1e-5)


def test_another_domain_is_further_than_a_small_change(codec, clouds, pages):
    near = domain_distance(codec, changed(clouds, lambda p: p // 8 * 8), clouds)
    far = domain_distance(codec, pages, clouds)
    assert 0 < near.latent_bits < far.latent_bits <= 1
    assert 0 < near.feature_sd < far.feature_sd
    assert far.rd_excess_percent != 0


def test_noise_costs_the_source_codec_more(codec, clouds):
    rng = np.random.default_rng(0)

    def noisy(pixels):
        return (pixels + rng.normal(0, 25, pixels.shape)).clip(0, 255).astype(np.uint8)

    assert domain_distance(codec, changed(clouds, noisy), clouds).rd_excess_percent > 1


def test_features_are_the_same_for_every_lambda(codec, clouds, pages):
    other = dataclasses.replace(codec, rd_lambda=10 * codec.rd_lambda)
    one, two = (domain_distance(c, pages, clouds) for c in (codec, other))
    assert one.feature_sd == two.feature_sd
    assert one.rd_excess_percent != two.rd_excess_percent


def test_chroma_distance_is_of_colours_alone(codec, clouds):
    """Luma added to all three channels alike changes no colour; taking colour away changes chroma."""

    def striped(pixels):
        inside = pixels // 2 + 64
        return (inside + 32 * (np.arange(inside.shape[1]) // 4 % 2)[None, :, None]).astype(np.uint8)

    def grey(pixels):
        luma = (pixels @ [0.299, 0.587, 0.114]).round()
        return np.repeat(luma[..., None], 3, axis=2).astype(np.uint8)

    plain = changed(clouds, lambda p: p // 2 + 64)
    stripes = domain_distance(codec, changed(clouds, striped), plain)
    assert stripes.chroma_sd == pytest.approx(0, abs=1e-4)
    assert stripes.feature_sd > 1
    without = domain_distance(codec, changed(clouds, grey), clouds)
    assert without.chroma_sd > 1
    assert without.chroma_sd == pytest.approx(without.feature_sd, rel=0.1)


def test_test_images_do_not_count_and_large_ones_are_cut(codec, clouds, pages):
    swapped = Domain("swapped", pages.train, changed(pages, lambda p: 255 - p).test)
    assert domain_distance(codec, swapped, clouds) == domain_distance(codec, pages, clouds)

    def framed(pixels):
        centre = np.tile(pixels, (2, 2, 1))[:MAX_SIDE, :MAX_SIDE]
        return np.pad(centre, ((64, 64), (64, 64), (0, 0)))

    large = changed(clouds, framed)
    inside = changed(large, lambda p: np.ascontiguousarray(p[64:-64, 64:-64]))
    assert domain_distance(codec, large, clouds) == domain_distance(codec, inside, clouds)
