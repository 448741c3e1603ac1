"""MS-SSIM: pytorch-msssim's numbers."""

import pytest
import pytorch_msssim
import torch

from interfero.metrics.ms_ssim import MIN_SIDE, ms_ssim


def images(height, width, noise, batch=2):
    random = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 255, width).expand(batch, 3, height, width)
    a = (ramp + 20 * torch.randn(ramp.shape, generator=random)).clamp(0, 255).round()
    b = (a + noise * torch.randn(a.shape, generator=random)).clamp(0, 255).round()
    return a, b


@pytest.mark.parametrize("size", [(161, 161), (176, 200), (321, 481), (163, 350)])
@pytest.mark.parametrize("noise", [1, 15, 120])
def test_the_numbers_are_those_of_pytorch_msssim(size, noise):
    a, b = images(*size, noise)
    expected = pytorch_msssim.ms_ssim(a, b, data_range=255, size_average=False)
    assert ms_ssim(a, b, 255).tolist() == pytest.approx(expected.tolist(), abs=2e-6)
    assert 0 < expected[0] < 1


def test_an_image_is_like_itself_and_unlike_its_negative():
    a, _ = images(170, 170, 1)
    assert ms_ssim(a, a, 255).tolist() == pytest.approx([1, 1])
    # Negative structure counts as none.
    assert ms_ssim(a, 255 - a, 255).tolist() == [0, 0]


def test_strides_do_not_matter():
    a, b = images(170, 180, 9)
    strided = [x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) for x in (a, b)]
    assert torch.equal(ms_ssim(*strided, 255), ms_ssim(a, b, 255))


@pytest.mark.parametrize("shape", [(1, 3, MIN_SIDE - 1, 200), (1, 3, 200, MIN_SIDE - 1)])
def test_too_small_an_image_is_refused(shape):
    with pytest.raises(ValueError, match="at least 161 pixels"):
        ms_ssim(torch.zeros(shape), torch.zeros(shape), 255)


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ms_ssim(torch.zeros(1, 3, 170, 170), torch.zeros(1, 3, 170, 171), 255)
