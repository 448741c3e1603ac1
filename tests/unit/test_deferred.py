"""CompressAI is whole for whoever uses it, and light for whoever does not."""

import subprocess
import sys

HEAVY = ("torch_geometric", "torchvision", "pandas", "sympy", "torch._dynamo", "scipy.stats")


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_codecs_import_none_of_what_compressai_drags_in():
    run(
        "import sys, interfero, interfero.codecs.catalogue, interfero.adaptation.catalogue\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "assert not loaded, loaded"
    )


def test_without_the_finder_compressai_imports_all_of_it():
    """What the finder saves is really there to be saved; if not, it is to be removed."""
    run(
        "import sys, interfero\n"
        "sys.meta_path.pop(0)\n"
        "import compressai\n"
        f"assert set({HEAVY!r}) <= set(sys.modules)"
    )


def test_what_is_deferred_is_there_when_it_is_asked_for():
    run(
        "import interfero, compressai, interfero.codecs.codec\n"
        "assert not hasattr(compressai.datasets, 'nothing_of_that_name')\n"
        "assert compressai.datasets.ImageFolder.__name__ == 'ImageFolder'\n"
        "from compressai.datasets import *\n"
        "assert VideoFolder is compressai.datasets.VideoFolder\n"
        "from compressai.transforms import RGB2YCbCr\n"
        "assert RGB2YCbCr()\n"
        "from scipy.stats import norm\n"
        "assert norm.ppf(0.5) == 0"
    )


def test_a_module_of_a_deferred_package_can_come_first():
    run(
        "import interfero, compressai, interfero.codecs.codec\n"
        "from compressai.datasets.image import ImageFolder\n"
        "assert compressai.datasets.ImageFolder is ImageFolder"
    )


def test_the_table_of_transforms_is_compressais():
    """The same names and classes, in the same order, as CompressAI alone has."""
    names = "[(k, v.__module__) for k, v in TRANSFORMS.items()]"
    script = (
        "import subprocess, sys\n"
        "import interfero, interfero.codecs.codec\n"
        "from compressai.registry import TRANSFORMS, register_transform\n"
        f"ours = repr({names})\n"
        "bare = subprocess.run([sys.executable, '-W', 'ignore', '-c', 'import compressai\\n'\n"
        "    'from compressai.registry import TRANSFORMS\\n'\n"
        f"    'print({names})'], capture_output=True, text=True, check=True).stdout.strip()\n"
        "assert len(TRANSFORMS) > 100\n"
        "assert sorted(eval(ours)) == sorted(eval(bare)), (ours, bare)\n"
        "@register_transform('Mine')\n"
        "class Mine: ...\n"
        "assert TRANSFORMS['Mine'] is Mine\n"
        "assert 'NormalizeScale' in TRANSFORMS and 'ToTensor' in TRANSFORMS"
    )
    run(script)


def test_libraries_that_are_there_already_are_left_alone():
    run(
        "import sys, torchvision, scipy.stats\n"
        "there = sys.modules['torchvision.transforms'], sys.modules['scipy.stats']\n"
        "import interfero, interfero.codecs.codec\n"
        "assert there == (sys.modules['torchvision.transforms'], sys.modules['scipy.stats'])\n"
        "from compressai.registry import TRANSFORMS\n"
        "assert TRANSFORMS['ToTensor'] is torchvision.transforms.ToTensor"
    )


def test_entropy_tables_are_computed_with_scipys_statistics():
    run(
        "import sys, interfero\n"
        "from interfero.codecs.codec import Shape, build_model\n"
        "model = build_model(Shape('mbt2018-mean', 8, 8))\n"
        "assert 'scipy.stats' not in sys.modules\n"
        "model.update(force=True)\n"
        "assert 'scipy.stats' in sys.modules and model.gaussian_conditional.quantized_cdf.numel()"
    )


def test_a_package_that_fails_says_so_each_time():
    """An error of a deferred package is not taken for a missing name, and a second try is made."""
    run(
        "import sys, interfero, compressai\n"
        "sys.modules['torch.utils.data'], kept = None, sys.modules.get('torch.utils.data')\n"
        "for attempt in range(2):\n"
        "    try:\n"
        "        compressai.datasets.ImageFolder\n"
        "    except ImportError:\n"
        "        continue\n"
        "    raise SystemExit('no error')\n"
        "sys.modules['torch.utils.data'] = kept\n"
        "assert compressai.datasets.ImageFolder"
    )
