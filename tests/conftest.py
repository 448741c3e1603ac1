"""Fixtures for every test: a tiny source codec, folders of small images, and the real images if any."""

import atexit
import gc
import os
import shutil
import signal
from pathlib import Path

# Before torch: tiny tensors are slower on many threads, and far slower where another process has a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test joins a pool that somebody keeps on this machine.
os.environ["INTERFERO_POOL"] = "/nonexistent/interfero-pool"

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from interfero.codecs.checkpoint import freeze_codec, save_codec
from interfero.codecs.codec import Shape, build_model

TINY_SHAPE = Shape("mbt2018-mean", 8, 12)
TINY_LAMBDA = 0.013
LATENT_GAIN = 10.0
IMAGE_SIZE = (160, 144)
"""Width and height in pixels."""
LONG = (
    "tests/integration/test_sweep.py", "tests/integration/test_search.py", "tests/faults",
    "tests/integration/test_restoration_sweep.py", "tests/integration", "tests/contracts",
    "tests/unit/trainables", "tests/unit/codecs",
)  # fmt: skip
"""Where tests take long, in the order in which processes that share the work take them up."""


@pytest.fixture(scope="session")
def tiny_codec_file(tmp_path_factory):
    """An untrained mean-scale hyperprior of a few thousand parameters, frozen, for lambda 0.013."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = build_model(TINY_SHAPE)
    # Fresh weights give latents that all round to zero, and no test of symbols could fail.
    with torch.no_grad():
        model.g_a[-1].weight *= LATENT_GAIN
    path = tmp_path_factory.mktemp("codec") / "tiny.safetensors"
    save_codec(freeze_codec(model, TINY_SHAPE, TINY_LAMBDA, "tiny", {"origin": "untrained"}), path)
    return path


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Fourteen images of seven source images: boxes and strokes on smooth ground, like screens."""
    return write_images(tmp_path_factory.mktemp("thing"), draw_page, seed=1)


@pytest.fixture(scope="session")
def other_image_folder(tmp_path_factory):
    """Fourteen images of seven source images: smooth noise, like out-of-focus photographs."""
    return write_images(tmp_path_factory.mktemp("other"), draw_cloud, seed=2)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database without runs: making its tables takes three seconds, a copy nothing."""
    from mlflow.tracking.client import MlflowClient

    from interfero.tracking.address import quiet

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with quiet():
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture(scope="module")
def short_ewc():
    """Three crops for the importances of `ewc`: with its 24 they take longer than a test's few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interfero.adaptation.ewc.NUM_CROPS", 3)
        yield


@pytest.fixture
def tracking_uri(tmp_path, empty_database):
    """Of a database without runs, `mlflow.db` in the test's folder."""
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="session")
def interfero_data():
    """The folder of real images; the test is skipped without it."""
    folder = os.environ.get("INTERFERO_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("INTERFERO_DATA names no folder of real images")
    return Path(folder)


def write_images(folder, draw, seed, count=14):
    """PNG files `s000_0`, `s000_1`, `s001_0`, ...: two crops of each source image."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        draw(rng).save(folder / f"s{i // 2:03d}_{i % 2}.png")
    return folder


def draw_cloud(rng):
    """Noise at several scales, smooth at the largest."""
    width, height = IMAGE_SIZE
    total = np.full((height, width, 3), 128.0)
    for cells, amplitude in ((3, 70.0), (9, 25.0), (36, 8.0)):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        layers = [
            np.asarray(Image.fromarray(coarse[..., c]).resize(IMAGE_SIZE, Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        total += amplitude * np.stack(layers, axis=-1)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def draw_page(rng):
    """Flat boxes and short strokes on a gradient."""
    width, height = IMAGE_SIZE
    ramp = np.linspace(200, 250, width, dtype=np.uint8)
    page = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=-1)
    image = Image.fromarray(page)
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = (int(v) for v in rng.integers(0, (width - 40, height - 30)))
        pen.rectangle((x, y, x + 36, y + 24), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    for line in range(8, height - 8, 12):
        for x in range(6, width - 10, 7):
            if rng.random() < 0.7:
                pen.line((x, line, x + 3, line + int(rng.integers(-4, 5))), fill=(20, 20, 30))
    return image


def pytest_collection_modifyitems(items):
    """Long ones first: whatever comes last, no process is alone with it for long."""
    items.sort(key=lambda item: _place(item.nodeid))


def pytest_collection_finish():
    """From here on the garbage collector looks at what tests make, and not at libraries."""
    gc.freeze()
    # Libraries in C++ complain of what is left at the end of the process.
    atexit.register(gc.unfreeze)
    gc.enable()


def _place(nodeid):
    return next((i for i, start in enumerate(LONG) if nodeid.startswith(start)), len(LONG))


def pytest_configure():
    """Ctrl-C interrupts, as it does for a user: shells start background jobs with it ignored.

    Importing all tests and their libraries makes millions of objects that stay: to look through them for
    garbage, again and again, took a third of that time.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
