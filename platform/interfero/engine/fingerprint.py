"""What decides a cell's numbers besides its settings: the training code and the libraries."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path

NUMBER_LIBRARIES = ("torch", "compressai", "numpy")
MODEL_LIBRARIES = ("segmentation-models-pytorch", "timm", "torchmetrics")
"""Those that build and score segmentation models."""


def library_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of the libraries that decide numbers: those of every sweep, and `more` of some."""
    return {name: importlib.metadata.version(name) for name in (*NUMBER_LIBRARIES, *more)}


def code_hash(files: Iterable[Path]) -> str:
    """Hash of Python files' syntax trees: comments, docstrings and layout do not count."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(files, key=lambda p: (p.parent.name, p.name)):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [n for n in node.body if not _is_text(n)] or [ast.Pass()]
        for node in ast.walk(tree):
            _leave_out_what_is_empty(node)
        digest.update(f"{path.parent.name}/{path.name}\n{ast.dump(tree)}".encode())
    return digest.hexdigest()


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
