"""interfero: how much a neural image codec forgets when it is adapted, and how much adapter it needs.

The names below are what a notebook needs (docs/python.md). `import interfero` imports no library: what is
behind a name is imported when the name is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interfero.deferred import install

if TYPE_CHECKING:
    from interfero.adaptation.deployment import Deployment
    from interfero.api import (
        SweepResult,
        decode,
        encode,
        image_frame,
        load_adapter,
        load_cells,
        read_image,
        run_sweep,
    )
    from interfero.codecs.catalogue import load_codec
    from interfero.codecs.evaluation import evaluate
    from interfero.domains.catalogue import load_domain
    from interfero.engine.options.adaptation import AdaptationOptions
    from interfero.engine.options.restoration import RestorationOptions
    from interfero.engine.sweep import Sweep

__all__ = [
    "AdaptationOptions",
    "Deployment",
    "RestorationOptions",
    "Sweep",
    "SweepResult",
    "decode",
    "encode",
    "evaluate",
    "image_frame",
    "load_adapter",
    "load_cells",
    "load_codec",
    "load_domain",
    "read_image",
    "run_sweep",
]

# Texts, not imports inside a function: what a cell's key hashes follows those, and this is above it all.
_PLACES = {
    "AdaptationOptions": "interfero.engine.options.adaptation",
    "Deployment": "interfero.adaptation.deployment",
    "RestorationOptions": "interfero.engine.options.restoration",
    "Sweep": "interfero.engine.sweep",
    "evaluate": "interfero.codecs.evaluation",
    "load_codec": "interfero.codecs.catalogue",
    "load_domain": "interfero.domains.catalogue",
}
"""Modules of the names that are not of `interfero.api`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'interfero' has no attribute {name!r}")
    value = getattr(import_module(_PLACES.get(name, "interfero.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


install()
