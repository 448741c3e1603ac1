"""A source codec that all tests of adapters share."""

import pytest

from interfero.codecs.checkpoint import read_codec


@pytest.fixture(scope="module")
def tiny_codec(tiny_codec_file):
    """A mean-scale hyperprior of a few thousand parameters."""
    return read_codec(tiny_codec_file, "tiny")
