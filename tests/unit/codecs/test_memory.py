"""Keeping freed memory: the second image finds the pages of the first."""

import platform
import resource

import pytest
import torch

from interfero.codecs.entropy_coding import coding_setting
from interfero.codecs.memory import LARGEST_KEPT_BYTES


def page_faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def activations():
    """Several large tensors alive at once, all freed at the end."""
    tensors = [torch.ones(LARGEST_KEPT_BYTES // 16) for _ in range(6)]
    return sum(float(t[0]) for t in tensors)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_memory_of_one_image_serves_the_next():
    with coding_setting():
        # The heap grows until each of them has found a place.
        for _ in range(8):
            activations()
        faults = page_faults(activations)
    # 6 tensors of 8 MiB are 12,000 pages.
    assert faults < 1000
