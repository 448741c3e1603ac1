"""CompressAI without what this project never uses of it, as long as nobody asks for it.

`import compressai` imports its data sets, whose table of transforms imports torch_geometric and torchvision,
and these pandas, sympy, triton and torch's compiler: two thirds of the time that every process of ours took
to start. A finder lets two of its packages be executed when a name of theirs is first asked for, its table of
transforms be filled when it is first read, and the statistics of SciPy be imported when first used. Whoever
uses them gets them whole.

It is installed by `import interfero` and does nothing until CompressAI is imported; where that was imported
before, nothing is left to be saved.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DEFERRED = frozenset({"compressai.datasets", "compressai.transforms"})
"""Packages that nothing of CompressAI's codecs imports a name of."""
STATISTICS = "scipy.stats"
WITHOUT: Mapping[str, tuple[str, ...]] = {
    "compressai.registry.transforms": ("torch_geometric.transforms", "torchvision.transforms"),
    "compressai.entropy_models.entropy_models": (STATISTICS,),
}
"""Modules that are executed without a library they import: the first makes a table of all its names, the
second calls one function of it when entropy tables are computed."""
TABLE = "TRANSFORMS"
"""The table that the first of `WITHOUT` makes."""


class Finder(MetaPathFinder):
    """Wraps the loaders of a few modules of CompressAI."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec with a loader of ours, or None for all other modules."""
        if fullname not in DEFERRED and fullname not in WITHOUT:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        missing = WITHOUT.get(fullname)
        spec.loader = _Deferred(spec.loader) if missing is None else _Without(spec.loader, missing)
        return spec


class _Deferred(Loader):
    """Executes a package when a name is asked for that it does not have yet."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        lock, started, loader = threading.RLock(), False, self._loader

        def get(name: str) -> Any:
            nonlocal started
            # Who looks at modules in general (inspect, doctest) asks for such names of all of them.
            if not name.startswith("__") or name == "__all__":
                # Other threads wait here until the package is whole.
                with lock:
                    if not started:
                        started = True
                        try:
                            loader.exec_module(module)
                        except BaseException:
                            started = False
                            raise
                    if name in module.__dict__:
                        return module.__dict__[name]
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = get


class _Without(Loader):
    """Executes a module with empty modules in the place of libraries that it imports."""

    def __init__(self, loader: Loader, missing: tuple[str, ...]) -> None:
        self._loader, self._missing = loader, missing

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _placeholders(self._missing):
            self._loader.exec_module(module)
        if TABLE in module.__dict__:
            module.__dict__[TABLE] = _Table(module.__dict__[TABLE], self._missing)


@contextmanager
def _placeholders(names: Sequence[str]) -> Iterator[None]:
    """Empty modules in the place of those that are not imported yet, each in an empty package.

    SciPy itself is imported as it is: it imports its statistics when they are first asked for.
    """
    placed: dict[str, ModuleType] = {}
    for name in names:
        package, _, child = name.partition(".")
        if name in sys.modules or (package in sys.modules and name != STATISTICS):
            continue
        placed[name] = ModuleType(name)
        if name != STATISTICS:
            placed[package] = ModuleType(package)
            setattr(placed[package], child, placed[name])
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Table(UserDict[str, Any]):
    """CompressAI's transforms by name, those of other libraries from when it is first read or written."""

    def __init__(self, own: Mapping[str, Any], libraries: Sequence[str]) -> None:
        # Not the constructor of the class above: that would fill it.
        self._own, self._libraries = own, libraries

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """Everything, in the order in which CompressAI would have it."""
        found: dict[str, Any] = {}
        for library in reversed(self._libraries):
            names = vars(importlib.import_module(library))
            found |= {name: value for name, value in names.items() if name[0].isupper()}
        self.__dict__["data"] = found | dict(self._own)
        # CompressAI's own register themselves, in this table, when their package is executed.
        hasattr(importlib.import_module("compressai.transforms"), "point")
        whole: dict[str, Any] = self.__dict__["data"]
        return whole


def install() -> None:
    """Put the finder first, once."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
