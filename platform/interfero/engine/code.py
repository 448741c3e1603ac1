"""What decides a cell's numbers besides its settings: the training code and the libraries."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from interfero.versions import library_version

NUMBER_LIBRARIES = ("torch", "compressai", "numpy")
MODEL_LIBRARIES = ("segmentation-models-pytorch", "timm", "torchmetrics")
"""Those that build and score segmentation models."""


def library_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of the libraries that decide numbers: those of every sweep, and `more` of some."""
    return {name: library_version(name) for name in (*NUMBER_LIBRARIES, *more)}


def code_hash(files: Iterable[Path]) -> str:
    """Hash of Python files' syntax trees: comments, docstrings and layout do not count."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(files, key=lambda p: (p.parent.name, p.name)):
        digest.update(f"{path.parent.name}/{path.name}\n{_read(path.read_bytes()).dump}".encode())
    return digest.hexdigest()


class _Read(NamedTuple):
    """What counts of a file."""

    imports: tuple[str, ...]
    """What its imports name, ours or not: modules, and what is taken from them."""
    dump: str
    """Its syntax tree without texts."""


@cache
def _read(source: bytes) -> _Read:
    """Read a file once: a plan asks for several closures that share most of theirs."""
    tree = ast.parse(source)
    imports: list[str] = []
    for node in _running(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_text(n)] or [ast.Pass()]
    for node in ast.walk(tree):
        _leave_out_what_is_empty(node)
    return _Read(tuple(dict.fromkeys(imports)), ast.dump(tree))


def _leave_out_what_is_empty(node: ast.AST) -> None:
    """Versions of Python differ in which fields a node has: `type_params` came with 3.12."""
    for name, value in list(ast.iter_fields(node)):
        if value == [] or (value is None and not isinstance(node, ast.Constant)):
            delattr(node, name)


def python_files(*roots: Path) -> list[Path]:
    """Python files of packages and single files."""
    found: list[Path] = []
    for root in roots:
        found += sorted(root.rglob("*.py")) if root.is_dir() else [root]
    return found


def _is_text(node: ast.stmt) -> bool:
    """A docstring, or a string that documents a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


PACKAGES = ("interfero", "trainables")
"""Whose modules are looked into; other libraries are known by their versions."""


def closure_hash(*modules: str, alone: Sequence[str] = ()) -> str:
    """Hash of some modules and of everything of ours that they import, in turn.

    Args:
        modules: Where to begin.
        alone: Modules that count without what they import.

    Raises:
        ModuleNotFoundError: one of the modules is not there.
    """
    files = import_closure(modules)
    for name in alone:
        path = _source_of(name)
        if path is None:
            raise ModuleNotFoundError(f"no module {name!r}")
        files[name] = path
    return code_hash(files.values())


def import_closure(modules: Iterable[str]) -> dict[str, Path]:
    """Files of some modules and of all modules of ours that they import, by name.

    Imports inside functions count: they run as well. Those for type checkers only do not.

    Raises:
        ModuleNotFoundError: one of the modules is not there.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _source_of(name)
        if path is None:
            raise ModuleNotFoundError(f"no module {name!r}")
        found[name] = path
        waiting += [n for n in _imported(path.read_bytes()) if n not in found]
    return dict(sorted(found.items()))


@cache
def _source_of(module: str) -> Path | None:
    """The file of a module of ours; None if there is none of that name."""
    package, _, rest = module.partition(".")
    if package not in PACKAGES:
        return None
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    base = Path(next(iter(spec.submodule_search_locations))).joinpath(
        *filter(None, rest.split("."))
    )
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(source: bytes) -> Iterator[str]:
    """Modules of ours that a file imports, the packages they lie in included."""
    for name in _read(source).imports:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            candidate = ".".join(parts[:length])
            if _source_of(candidate) is not None:
                yield candidate


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree but those below `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from (n for statement in child.orelse for n in _running(statement))
            continue
        yield child
        yield from _running(child)
