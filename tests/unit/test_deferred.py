"""CompressAI is whole for whoever uses it, and light for whoever does not."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch_geometric", "torchvision", "pandas", "sympy", "torch._dynamo", "scipy.stats")
RUN = (
    "import json, sys, traceback\n"
    "said = {}\n"
    "for name, steps in json.load(sys.stdin).items():\n"
    "    try:\n"
    "        exec(steps, {'sys': sys})\n"
    "        said[name] = ''\n"
    "    except BaseException:\n"
    "        said[name] = traceback.format_exc()\n"
    "print(json.dumps(said))\n"
)
LIGHT = {
    "codecs import none of what CompressAI drags in": (
        "import interfero, interfero.codecs.catalogue, interfero.adaptation.catalogue\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "assert not loaded, loaded"
    ),
    "entropy tables are computed with SciPy's statistics": (
        "from interfero.codecs.codec import Shape, build_model\n"
        "model = build_model(Shape('mbt2018-mean', 8, 8))\n"
        "assert 'scipy.stats' not in sys.modules\n"
        "model.update(force=True)\n"
        "assert 'scipy.stats' in sys.modules and model.gaussian_conditional.quantized_cdf.numel()"
    ),
    "training imports no compiler": (
        "import torch\n"
        "from interfero.codecs.codec import Shape, build_model\n"
        "from interfero.adaptation import METHODS\n"
        "from interfero.adaptation.method import Batch\n"
        "from interfero.codecs.checkpoint import freeze_codec\n"
        "from interfero.codecs.noise import NoiseKey\n"
        "from trainables.member import make_optimizers\n"
        "shape = Shape('mbt2018-mean', 8, 8)\n"
        "codec = freeze_codec(build_model(shape), shape, 0.01, 'tiny', {})\n"
        "method = METHODS['finetune']\n"
        "adapted = method.build(codec, 0, 0)\n"
        "adapted.train_parameters()\n"
        "optimizer, _ = make_optimizers(adapted, 1e-3)\n"
        "for step in range(2):\n"
        "    optimizer.zero_grad()\n"
        "    batch = Batch({'target': torch.rand(1, 3, 64, 64)}, NoiseKey(0, step, 1), 0.01)\n"
        "    method.loss(adapted, batch).total.backward()\n"
        "    optimizer.step()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "assert optimizer.state_dict()['state'][0]['step'] == 2\n"
        "assert 'torch._dynamo' not in sys.modules"
    ),
    "a package that fails says so each time": (
        # An error of a deferred package is not taken for a missing name, and a second try is made.
        "import compressai\n"
        "sys.modules['torch.utils.data'], kept = None, sys.modules.get('torch.utils.data')\n"
        "for attempt in range(2):\n"
        "    try:\n"
        "        compressai.datasets.ImageFolder\n"
        "    except ImportError:\n"
        "        continue\n"
        "    raise SystemExit('no error')\n"
        "sys.modules['torch.utils.data'] = kept\n"
        "assert compressai.datasets.ImageFolder"
    ),
    "what is deferred is there when it is asked for": (
        "import compressai\n"
        "assert not hasattr(compressai.datasets, 'nothing_of_that_name')\n"
        "assert compressai.datasets.ImageFolder.__name__ == 'ImageFolder'\n"
        "from compressai.datasets import *\n"
        "assert VideoFolder is compressai.datasets.VideoFolder\n"
        "from compressai.transforms import RGB2YCbCr\n"
        "assert RGB2YCbCr()\n"
        "from scipy.stats import norm\n"
        "assert norm.ppf(0.5) == 0"
    ),
}
"""What one process does in this order: nothing deferred is loaded before the last steps."""
PLAIN = {
    "without the finder CompressAI imports all of it": (
        # What the finder saves is really there to be saved; if not, it is to be removed.
        "import interfero\n"
        "sys.meta_path.pop(0)\n"
        "import compressai\n"
        f"assert set({HEAVY!r}) <= set(sys.modules)"
    ),
    "the table of transforms is CompressAI's": (
        "from compressai.registry import TRANSFORMS\n"
        "raise SystemExit(repr([(k, v.__module__) for k, v in TRANSFORMS.items()]))"
    ),
}
TABLE = (
    "from compressai.registry import TRANSFORMS, register_transform\n"
    "ours = [(k, v.__module__) for k, v in TRANSFORMS.items()]\n"
    "assert len(ours) > 100\n"
    "assert sorted(ours) == sorted({theirs}), ours\n"
    "@register_transform('Mine')\n"
    "class Mine: ...\n"
    "assert TRANSFORMS['Mine'] is Mine\n"
    "assert 'NormalizeScale' in TRANSFORMS and 'ToTensor' in TRANSFORMS"
)
"""The last of these steps."""


def run(steps: dict[str, str]) -> dict[str, str]:
    """What each of some steps of one process failed with; nothing where it did not."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN], input=json.dumps(steps),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def plain() -> dict[str, str]:
    return run(PLAIN)


@pytest.fixture(scope="module")
def light(plain: dict[str, str]) -> dict[str, str]:
    theirs = plain["the table of transforms is CompressAI's"].strip().rpartition("SystemExit: ")[2]
    return run(LIGHT | {"the table of transforms is CompressAI's": TABLE.format(theirs=theirs)})


@pytest.mark.parametrize("what", LIGHT)
def test_what_is_not_asked_for_is_not_loaded(light, what):
    assert light[what] == ""


def test_without_the_finder_compressai_imports_all_of_it(plain):
    assert plain["without the finder CompressAI imports all of it"] == ""


def test_the_table_of_transforms_is_compressais(light):
    """The same names and classes as CompressAI alone has."""
    assert light["the table of transforms is CompressAI's"] == ""


def test_libraries_that_are_there_already_are_left_alone():
    steps = {
        "libraries": (
            "import torchvision, scipy.stats\n"
            "there = sys.modules['torchvision.transforms'], sys.modules['scipy.stats']\n"
            "import interfero, interfero.codecs.codec\n"
            "assert there == (sys.modules['torchvision.transforms'], sys.modules['scipy.stats'])\n"
            "from compressai.registry import TRANSFORMS\n"
            "assert TRANSFORMS['ToTensor'] is torchvision.transforms.ToTensor"
        ),
        "a module of a deferred package can come first": (
            "import compressai\n"
            "from compressai.datasets.image import ImageFolder\n"
            "assert compressai.datasets.ImageFolder is ImageFolder"
        ),
    }
    assert run(steps) == dict.fromkeys(steps, "")
