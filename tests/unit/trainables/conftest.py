"""Real cells of a tiny codec, without a plan or Ray."""

import pytest

from interfero.adaptation import METHODS
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.ingest import load_folder
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from trainables.workbench import Workbench


def make_bench(codec_file, images, evaluations=None):
    """A workbench that has not computed anything."""
    domain = load_folder("pictures", images)

    def read():
        return read_codec(codec_file, "tiny")

    return Workbench(read(), read, domain, domain, evaluations)


def make_cell(bench, method, *, rate=3e-3, **loop):
    """A cell of one image and two crops a step."""
    given = {
        "num_steps": 6, "batch_size": 2, "crop_size": 64, "max_source_images": 1,
        "max_target_images": 1,
    }  # fmt: skip
    return Cell(
        block=Block(domain="pictures", rd_lambda=0.013, num_images=3, data_seed=0),
        hyperparameters=Hyperparameters(
            method=method,
            adapter_size=1 if METHODS[method].size_unit else 0,
            strength=1.0 if METHODS[method].strength_unit else 0.0,
            learning_rate=rate,
        ),
        loop=LoopConfig(**given | loop),
        identity=Identity(
            codec="tiny",
            codec_hash=bench.codec.weights_hash,
            table_hash=bench.codec.table_hash,
            domain_hash="0",
            source_domain="pictures",
            source_domain_hash="0",
            loop_hash="0",
            versions={},
        ),
    )


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory):
    """What the source codec comes to on each image, measured once as in a sweep."""
    return EvaluationStore(tmp_path_factory.mktemp("evaluations"))


@pytest.fixture(name="bench")
def fresh_bench(tiny_codec_file, image_folder, evaluations):
    return make_bench(tiny_codec_file, image_folder, evaluations)


@pytest.fixture(name="cell")
def cell_builder(bench):
    def build(method, **changes):
        return make_cell(bench, method, **changes)

    return build
