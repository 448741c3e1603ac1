"""BD-rate on curves whose answer is known by hand."""

import math

import pytest

from interfero.metrics.bd_rate import bd_psnr_db, bd_rate_percent, psnr_at_rate

# PSNR rises by 6 dB with each doubling of the rate: a straight line over log rate.
ANCHOR = [(0.1, 24.0), (0.2, 30.0), (0.4, 36.0), (0.8, 42.0)]


def scaled(factor: float) -> list[tuple[float, float]]:
    return [(factor * bpp, psnr_db) for bpp, psnr_db in ANCHOR]


def test_the_same_curve_has_no_difference():
    delta = bd_rate_percent(ANCHOR, ANCHOR)
    assert delta.value == pytest.approx(0, abs=1e-9)
    assert delta.overlap == 1


@pytest.mark.parametrize("factor", [0.8, 0.5, 1.25])
def test_scaled_rate_is_the_scale(factor):
    delta = bd_rate_percent(ANCHOR, scaled(factor))
    assert delta.value == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert delta.overlap == 1


def test_scaled_rate_on_a_curve_that_is_no_line():
    anchor = [(0.1, 24.0), (0.2, 28.5), (0.35, 31.0), (0.8, 34.0), (1.1, 34.9)]
    tested = [(0.8 * bpp, psnr_db) for bpp, psnr_db in anchor]
    assert bd_rate_percent(anchor, tested).value == pytest.approx(-20, abs=1e-6)


def test_curves_may_differ_in_points_and_come_in_any_order():
    tested = [(0.8 * 0.1 * 2 ** (i / 2), 24.0 + 3 * i) for i in range(7)]
    assert bd_rate_percent(ANCHOR, tested[::-1]).value == pytest.approx(-20, abs=1e-6)


def test_a_shift_in_psnr_is_the_shift():
    # 2 dB at 6 dB a doubling are a third of a doubling: 2 ** (-1/3) - 1 of the rate.
    tested = [(bpp, psnr_db + 2) for bpp, psnr_db in ANCHOR]
    assert bd_psnr_db(ANCHOR, tested).value == pytest.approx(2, abs=1e-9)
    delta = bd_rate_percent(ANCHOR, tested)
    assert delta.value == pytest.approx(100 * (2 ** (-1 / 3) - 1), abs=1e-6)
    assert delta.overlap == pytest.approx(16 / 18)


def test_bd_psnr_tells_how_much_of_the_rate_range_it_saw():
    # Rates times two: two of the three doublings are shared, 6 dB lower at each.
    delta = bd_psnr_db(ANCHOR, scaled(2))
    assert delta.value == pytest.approx(-6, abs=1e-6)
    assert delta.overlap == pytest.approx(2 / 3)


def test_a_wide_anchor_does_not_lower_the_overlap():
    wide = [(0.05, 18.0), *ANCHOR, (1.6, 48.0)]
    assert bd_rate_percent(wide, ANCHOR).overlap == 1
    assert bd_rate_percent(ANCHOR, wide).overlap == pytest.approx(18 / 30)


@pytest.mark.parametrize("delta", [bd_rate_percent, bd_psnr_db])
def test_under_four_points_are_refused(delta):
    with pytest.raises(ValueError, match="tested curve has 3 of the 4 points"):
        delta(ANCHOR, ANCHOR[:3])
    with pytest.raises(ValueError, match="anchor curve has 0 of the 4 points"):
        delta([], ANCHOR)


@pytest.mark.parametrize("delta", [bd_rate_percent, bd_psnr_db])
@pytest.mark.parametrize(
    "spoilt",
    [
        [(0.1, 24.0), (0.2, 30.0), (0.4, 29.9), (0.8, 42.0)],
        [(0.1, 24.0), (0.2, 30.0), (0.2, 36.0), (0.8, 42.0)],
        [(0.1, 24.0), (0.2, 30.0), (0.4, 30.0), (0.8, 42.0)],
    ],
)
def test_curves_that_do_not_rise_are_refused(delta, spoilt):
    with pytest.raises(ValueError, match="must rise"):
        delta(ANCHOR, spoilt)
    with pytest.raises(ValueError, match="must rise"):
        delta(spoilt, ANCHOR)


@pytest.mark.parametrize("point", [(0.0, 20.0), (-0.1, 20.0), (0.05, math.nan), (0.9, math.inf)])
def test_impossible_points_are_refused(point):
    with pytest.raises(ValueError, match="positive rates and finite PSNR"):
        bd_rate_percent(ANCHOR, [*ANCHOR, point])


def test_curves_that_do_not_meet_are_refused():
    above = [(bpp, psnr_db + 20) for bpp, psnr_db in ANCHOR]
    with pytest.raises(ValueError, match="covers 0%"):
        bd_rate_percent(ANCHOR, above)
    with pytest.raises(ValueError, match="covers 0%"):
        bd_psnr_db(ANCHOR, scaled(10))


def test_little_overlap_is_refused_and_just_enough_is_not():
    with pytest.raises(ValueError, match="covers 49%"):
        bd_rate_percent(ANCHOR, [(bpp, psnr_db + 9.1) for bpp, psnr_db in ANCHOR])
    half = bd_rate_percent(ANCHOR, [(bpp, psnr_db + 9) for bpp, psnr_db in ANCHOR])
    assert half.overlap == 0.5


def test_psnr_at_a_rate():
    assert psnr_at_rate(ANCHOR, 0.2) == pytest.approx(30)
    assert psnr_at_rate(ANCHOR, 0.2 * math.sqrt(2)) == pytest.approx(33)
    assert psnr_at_rate(ANCHOR, 0.09) is None
    assert psnr_at_rate(ANCHOR, 0.81) is None


def test_the_published_curves_give_the_published_gap():
    # CompressAI's figures on Kodak: JPEG (Pillow) and mbt2018-mean, mse.
    jpeg = [(0.221, 23.78), (0.327, 26.58), (0.423, 28.04), (0.508, 29.04), (0.660, 30.38)]
    jpeg += [(0.906, 32.06), (1.24, 33.79)]
    learned = [(0.124, 27.70), (0.198, 29.36), (0.307, 31.13), (0.461, 32.95), (0.662, 34.97)]
    delta = bd_rate_percent(jpeg, learned)
    assert -64 < delta.value < -58
    assert delta.overlap == pytest.approx((33.79 - 27.70) / (34.97 - 27.70))
