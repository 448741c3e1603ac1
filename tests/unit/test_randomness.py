"""A random number depends on what it is for, and on nothing else."""

import itertools

import numpy as np
import pytest
import torch

from interfero.randomness import (
    Role,
    numpy_generator,
    seed_for,
    torch_generator,
    uniform_noise,
)

BASE = {"seed": 3, "step": 5, "role": Role.BASE_NOISE, "label": "y"}


def noise(batch: int = 4, channels: int = 6, first_index: int = 0, **change: object):
    return uniform_noise((batch, channels, 5, 7), first_index=first_index, **(BASE | change))


def test_seeds_never_change():
    # A stored sweep is resumed and reused by these: other numbers here are another experiment.
    assert seed_for(0, 0, Role.CROP) == 5549786627031665250
    assert seed_for(3, 7, Role.BASE_NOISE, 2, "y") == 986350068631122132
    assert seed_for(-1, 0, Role.SPLIT, label="ä") == 4725437157166387438


def test_every_argument_matters():
    changes = itertools.product((0, 1), (0, 1), Role, (0, 1), ("", "y", "z"))
    seeds = {seed_for(s, t, role, index, label) for s, t, role, index, label in changes}
    assert len(seeds) == 2 * 2 * len(Role) * 2 * 3


def test_seeds_fit_every_generator():
    seeds = [seed_for(0, step, Role.CROP) for step in range(2000)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    # All 63 bits are used: each is set about half the time.
    bits = np.array([[seed >> bit & 1 for bit in range(63)] for seed in seeds])
    assert np.all(abs(bits.mean(0) - 0.5) < 0.06)


def test_generators_repeat():
    for generator in (numpy_generator, torch_generator):
        first, second = (generator(1, 2, Role.INIT, 3, "a") for _ in range(2))
        draw = (lambda g: g.random(4)) if generator is numpy_generator else _rand
        assert np.array_equal(draw(first), draw(second))
        other = draw(generator(1, 2, Role.INIT, 4, "a"))
        assert not np.array_equal(draw(generator(1, 2, Role.INIT, 3, "a")), other)


def _rand(generator: torch.Generator) -> np.ndarray:
    return torch.rand(4, generator=generator).numpy()


def test_noise_lies_in_the_rounding_interval():
    values = noise(batch=8, channels=64)
    assert values.dtype == torch.float32
    assert values.shape == (8, 64, 5, 7)
    assert values.min() >= -0.5
    assert values.max() < 0.5
    # 17920 draws: four standard errors of the mean and of the variance of a uniform number.
    assert abs(values.mean().item()) < 4 * (1 / 12 / values.numel()) ** 0.5
    assert abs(values.var().item() - 1 / 12) < 4 * (1 / 180 / values.numel()) ** 0.5


def test_noise_of_a_sample_does_not_see_the_batch():
    assert torch.equal(noise(batch=4)[:2], noise(batch=2))


def test_noise_of_a_channel_does_not_see_later_channels():
    assert torch.equal(noise(channels=8)[:, :6], noise(channels=6))


def test_two_workers_draw_what_one_draws():
    halves = [noise(batch=2, first_index=0), noise(batch=2, first_index=2)]
    assert torch.equal(torch.cat(halves), noise(batch=4))


def test_samples_differ():
    values = noise(batch=4).flatten(1)
    assert len(torch.unique(values, dim=0)) == 4


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"step": 6}, {"role": Role.CUSTOM_NOISE}, {"label": "z"}]
)
def test_noise_is_named_by_seed_step_role_and_label(change):
    assert not torch.equal(noise(), noise(**change))


def test_the_global_generators_are_not_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = noise()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(noise(), first)
