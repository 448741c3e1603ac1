"""Which methods adapt which architectures, known without torch: a pair is refused before anything is loaded.

The methods themselves look at the layers of a codec and have the last word; a test compares them with this.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from interfero.codecs.names import ZOO_PREFIX
from interfero.errors import CodecError
from interfero.store.headers import read_metadata

_BUNDLED = Path(__file__).parents[1] / "codecs" / "weights"
_CHAINS = (
    "bmshj2018-factorized", "bmshj2018-factorized-relu", "bmshj2018-hyperprior", "mbt2018-mean",
)  # fmt: skip
"""Architectures whose networks are chains of convolutions, GDN and ReLU, without a context model."""
_HYPERPRIORS = (
    "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "cheng2020-anchor", "cheng2020-attn",
    "cheng2020-anchor-checkerboard", "elic2022-official",
)  # fmt: skip
"""Architectures that have hyper-latents."""
_LIMITED = {
    "cawf": (
        _CHAINS,
        "are chains of convolutions, GDN and ReLU without a context model (bmshj2018-*, mbt2018-mean); "
        "cawf_two_way or lora adapt more of them",
    ),
    "cawf_two_way": (
        (*_CHAINS, "mbt2018"),
        "are chains of convolutions, GDN and ReLU (bmshj2018-*, mbt2018-mean, mbt2018); lora adapts more of "
        "them",
    ),
    "lora_entropy": (_HYPERPRIORS, "have a hyperprior; lora adapts all others"),
    "regularised_refinement": (
        _HYPERPRIORS,
        "have a hyperprior; latent_refinement refines latents of all others",
    ),
}
"""By method: the architectures that it adapts, and what they are."""


def check_methods(source: str, methods: Iterable[str]) -> None:
    """Refuse methods that do not adapt a source codec, all in one error; reads no weights.

    Args:
        source: A source codec as it is typed.
        methods: Names; those that adapt every architecture, and unknown ones, pass.

    Raises:
        CodecError: names each method, the architecture, and what else adapts it.
    """
    architecture = architecture_of(source)
    problems = [
        f"{method} does not adapt {architecture!r}: it knows codecs that {_LIMITED[method][1]}"
        for method in methods
        if architecture is not None and not adapts(method, architecture)
    ]
    if problems:
        raise CodecError("\n".join(problems))


def adapts(method: str, architecture: str) -> bool:
    """Whether a method adapts an architecture, as far as names tell."""
    return method not in _LIMITED or architecture in _LIMITED[method][0]


def architecture_of(source: str) -> str | None:
    """The architecture of a source codec; None where only loading tells, as of PyTorch's files."""
    if source.startswith(ZOO_PREFIX):
        return source.removeprefix(ZOO_PREFIX)
    path = _BUNDLED / source
    path = path if path.is_dir() else Path(source)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    stated = {str(read_metadata(file).get("architecture", "")) for file in files}
    only = stated.pop() if len(stated) == 1 else ""
    return only or None
