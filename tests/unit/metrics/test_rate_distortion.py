"""Rate, distortion and loss against numbers worked by hand."""

import pytest
import torch

from interfero.metrics.rate_distortion import PEAK, estimated_bpp, mse_255, psnr_db, rd_loss


def test_estimated_rate_counts_bits_over_pixels():
    # 3 latents of probability 1/2 and 2 of 1/8 are 3 + 6 = 9 bits, over 4 pixels.
    halves, eighths = torch.full((1, 3, 1, 1), 0.5), torch.full((1, 2, 1), 0.125)
    assert estimated_bpp([halves, eighths], num_pixels=4).item() == pytest.approx(2.25)


def test_estimated_rate_of_certain_latents_is_nothing():
    assert estimated_bpp([torch.ones(2, 3, 4, 4)], num_pixels=16).item() == 0


def test_estimated_rate_sums_in_single_precision():
    # bfloat16 holds 4096 and 4128, and nothing between.
    likelihoods = torch.full((4099,), 0.5, dtype=torch.bfloat16)
    assert estimated_bpp([likelihoods], num_pixels=1).item() == 4099


def test_estimated_rate_has_a_gradient():
    likelihood = torch.tensor([0.5], requires_grad=True)
    estimated_bpp([likelihood], num_pixels=1).backward()
    # d(-log2 p)/dp = -1 / (p ln 2)
    assert likelihood.grad is not None
    assert likelihood.grad.item() == pytest.approx(-1 / (0.5 * 0.6931472), rel=1e-5)


def test_mse_is_on_the_scale_of_8_bit_pixels():
    image = torch.zeros(1, 3, 2, 2)
    reconstruction = image.clone()
    # One of 12 values is off by 6 grey levels: 36 / 12.
    reconstruction[0, 0, 0, 0] = 6 / PEAK
    assert mse_255(reconstruction, image).item() == pytest.approx(3)


def test_mse_is_a_mean_over_the_batch():
    image = torch.zeros(2, 3, 2, 2)
    reconstruction = image.clone()
    reconstruction[1] = 2 / PEAK
    assert mse_255(reconstruction, image).item() == pytest.approx(2)


def test_loss_is_rate_plus_weighted_distortion():
    loss = rd_loss(torch.tensor(0.5), torch.tensor(100.0), rd_lambda=0.013)
    assert loss.item() == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("mse", "expected"),
    [(65025.0, 0.0), (650.25, 20.0), (65.025, 30.0), (6.5025, 40.0), (1.0, 48.1308)],
)
def test_psnr(mse, expected):
    assert psnr_db(mse) == pytest.approx(expected, abs=1e-4)


def test_psnr_ends_at_100_db():
    assert psnr_db(0) == 100
    assert psnr_db(1e-9) == 100


def test_a_negative_mse_is_refused():
    with pytest.raises(ValueError, match="negative"):
        psnr_db(-1e-9)
