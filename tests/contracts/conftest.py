"""What both suites about cells in training work on."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest

from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import Codec
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.domain import Domain
from interfero.domains.ingest import load_folder
from trainables.workbench import Workbench


@pytest.fixture(scope="module")
def domain(image_folder: Path) -> Domain:
    return load_folder("pictures", image_folder)


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluationStore:
    """What the source codec comes to on each image, measured once as in a sweep."""
    return EvaluationStore(tmp_path_factory.mktemp("evaluations"))


@pytest.fixture
def bench(tiny_codec_file: Path, domain: Domain, evaluations: EvaluationStore) -> Workbench:
    return make_bench(tiny_codec_file, domain, evaluations)


@cache
def _as_read(codec_file: Path) -> Codec:
    return read_codec(codec_file, "tiny")


def make_bench(
    codec_file: Path, domain: Domain, evaluations: EvaluationStore | None = None
) -> Workbench:
    """The tiny codec and its images, anew: a copy of the codec as it was read, which takes half as long."""

    def read() -> Codec:
        return copy.deepcopy(_as_read(codec_file))

    return Workbench(read(), read, domain, domain, evaluations)
