"""Gain and forgetting, with hand-worked numbers."""

import pytest

from interfero.metrics.forgetting import (
    exact_fraction,
    forgetting,
    percent,
    psnr_drop_db,
    rd_gain,
)


def test_gain_and_forgetting_have_opposite_signs() -> None:
    assert rd_gain(before=2.0, after=1.5) == 0.5
    assert forgetting(before=2.0, after=1.5) == -0.5


def test_percent_is_of_the_loss_before() -> None:
    assert percent(0.5, before=2.0) == 25.0
    with pytest.raises(ValueError, match="must be positive, got 0"):
        percent(1.0, before=0.0)


def test_exact_fraction_counts_equal_pairs() -> None:
    assert exact_fraction([(b"a", b"a"), (b"a", b"b"), (None, b"b"), ((1, 2), (1, 2))]) == 0.5
    with pytest.raises(ValueError, match="at least 1 pair"):
        exact_fraction([])


def test_undecodable_stream_loses_its_whole_psnr() -> None:
    assert psnr_drop_db(31.5, 30.0) == 1.5
    assert psnr_drop_db(31.5, None) == 31.5
    with pytest.raises(ValueError, match="finite"):
        psnr_drop_db(31.5, float("nan"))
