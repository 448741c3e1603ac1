"""What both suites about cells in training work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import Codec
from interfero.domains.domain import Domain
from interfero.domains.ingest import load_folder
from trainables.workbench import Workbench


@pytest.fixture(scope="module")
def domain(image_folder: Path) -> Domain:
    return load_folder("pictures", image_folder)


@pytest.fixture
def bench(tiny_codec_file: Path, domain: Domain) -> Workbench:
    return make_bench(tiny_codec_file, domain)


def make_bench(codec_file: Path, domain: Domain) -> Workbench:
    """The tiny codec and its images, read anew."""

    def read() -> Codec:
        return read_codec(codec_file, "tiny")

    return Workbench(read(), read, domain, domain)
