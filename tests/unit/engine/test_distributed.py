"""Which samples each process takes, and which noise they get."""

import pytest
import torch

from interfero.codecs.noise import NoiseKey
from interfero.engine.distributed import Group, Share, share_of
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError
from interfero.randomness import Role


def indices(share):
    return [first + i for first, size in share.runs for i in range(size)]


def test_parts_of_a_batch_worked_by_hand():
    assert [indices(share_of(6, rank, 3, halves=False)) for rank in range(3)] == [
        [0, 1], [2, 3], [4, 5],
    ]  # fmt: skip
    assert [indices(share_of(8, rank, 2, halves=True)) for rank in range(2)] == [
        [0, 1, 4, 5], [2, 3, 6, 7],
    ]  # fmt: skip


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("size", [1, 7, 8])
def test_one_process_takes_all_in_order(size, halves):
    assert share_of(size, 0, 1, halves=halves) == Share(size)


@pytest.mark.parametrize(("size", "halves"), [(7, False), (6, True)])
def test_what_cannot_be_parted_equally_is_refused(size, halves):
    with pytest.raises(ConfigError, match=f"a batch of {size} crops cannot be parted"):
        share_of(size, 0, 2, halves=halves)


@pytest.mark.parametrize("halves", [False, True])
def test_the_noise_of_a_part_is_that_of_its_samples(halves):
    whole = NoiseKey(3, 5, 8).draw((8, 2, 4, 4), "y")
    for rank in range(2):
        share = share_of(8, rank, 2, halves=halves)
        key = NoiseKey(3, 5, share.size, first_index=share.first_index, skip=share.skip)
        assert torch.equal(key.draw((4, 2, 4, 4), "y"), whole[indices(share)])


@pytest.mark.parametrize("size", [7, 8])
def test_the_second_half_has_noise_of_its_own(size):
    """What replay rehearses: `size - size // 2` samples, by their place in the batch."""
    middle = size // 2
    expected = NoiseKey(3, 5, size, Role.REPLAY_NOISE).draw((size, 2, 4, 4), "y")[middle:]
    key = NoiseKey(3, 5, size).second_half().with_role(Role.REPLAY_NOISE)
    assert key.batch_size == size - middle
    assert torch.equal(key.draw((size - middle, 2, 4, 4), "y"), expected)


def test_a_process_alone_keeps_its_own_errors(tmp_path):
    group = Group(LocalWorker(tmp_path))
    with pytest.raises(ZeroDivisionError), group.together():
        1 / 0  # noqa: B018
    assert group.from_first(lambda: "found") == "found"
    values = torch.ones(2)
    assert group.mean(values) is values
