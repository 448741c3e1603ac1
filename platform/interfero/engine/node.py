"""A node of a sweep's graph: a piece of work, named by everything that decides what it makes.

    originals -> compress -> restoration -> restore -> segmentation -> test       (a restoration sweep)
    reference, distance, train -> evaluate                                        (an adaptation sweep)

A node holds what it is made from, so its key hashes the whole chain behind it: work that two cells share
has one key, is done once, and is found again by any later sweep. Nodes with a run in MLflow are cells
(leaves); the others leave a product in the storage, or results that are kept by content.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from interfero.config import Config
from interfero.store.keys import content_key
from interfero.store.products import product_of

Params = dict[str, str | int | float]


class Node(Config, ABC):
    """What one trial does, alone or with others of a pack."""

    kind: ClassVar[str]
    """Its name in keys, folders and texts."""
    leaf: ClassVar[bool] = False
    """Whether it is a cell: it has a run in MLflow, and its record lies with the sweep."""
    given: ClassVar[bool] = False
    """Whether it is there from the start: nothing is to be done for it."""
    together: ClassVar[bool] = False
    """Whether all processes of a group do it; else the first one does it by itself."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Content hash of everything its result depends on, after its kind if it is no cell."""

    @property
    def product(self) -> str:
        """Folder of its product: its key without the part."""
        return product_of(self.key)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Nodes it holds that have to be done before."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """What it leaves in the folder of its product, besides its record."""
        return ()

    @property
    def params(self) -> Params:
        """What a record calls it by."""
        return {"step": self.kind, "key": self.key}

    @property
    def tags(self) -> dict[str, str]:
        """Fingerprints, as tags of a cell's run."""
        return {}

    @property
    def lineage(self) -> dict[str, str]:
        """Keys of every product behind it, by kind; several of a kind in one text."""
        found: dict[str, dict[str, None]] = {}
        for node in self.inputs:
            if node.given:
                continue
            for kind, text in node.lineage.items():
                found.setdefault(kind, {}).update(dict.fromkeys(text.split(" ")))
            found.setdefault(node.kind, {})[node.product] = None
        return {kind: " ".join(keys) for kind, keys in found.items()}


class ContentNode(Node):
    """A node whose key is its kind and the hash of its identity."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the key hashes: nodes it needs by their keys."""

    @cached_property
    def key(self) -> str:
        """See `Node`."""
        return f"{self.kind}-{content_key(self.identity())}"
