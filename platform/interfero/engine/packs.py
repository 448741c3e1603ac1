"""A pack: what one trial of Tune does. A scheduling policy over ready nodes, never part of their content."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence, Set
from typing import Annotated, cast

from pydantic import Field

from interfero.config import Config
from interfero.engine.adaptation.nodes import Cell, Distance, Reference, Train
from interfero.engine.node import Node
from interfero.engine.restoration.nodes import (
    Compressed,
    FineTuned,
    Restored,
    Restorer,
    Segmenter,
    TaskCodec,
    TaskCoded,
    TestCell,
)
from interfero.engine.sequence.nodes import Archive, Merged, Stage, StageRow

AnyNode = Annotated[
    Cell
    | Train
    | Reference
    | Distance
    | Compressed
    | Restorer
    | Restored
    | Segmenter
    | FineTuned
    | TaskCodec
    | TaskCoded
    | TestCell
    | Stage
    | Merged
    | Archive
    | StageRow,
    Field(discriminator="node"),
]
"""What trials do; a new kind of node is added here and in the table of its trainable."""

PACK = "pack"
"""Of a trial's configuration: what it trains."""
RECORD = "record"
"""Of a trial's result: the key of a node whose record is kept, or None."""
RUNG = "rung"
"""Of a trial's result: the validation of a cell in training."""
RETRIES = 2
"""Times a pack starts again after its actor died; cells it had finished are not repeated."""


class Pack(Config):
    """Nodes that one trial does, in order; those that learn from the same batches train together."""

    nodes: tuple[AnyNode, ...] = Field(min_length=1)
    needs: frozenset[str] = Field(default=frozenset(), exclude=True)
    """Keys of what has to be done before; a worker does not need to know."""
    after: frozenset[str] = Field(default=frozenset(), exclude=True)
    """Keys of what has to have ended before, whatever it came to: trainings that these go on from."""
    continued: frozenset[str] = frozenset()
    """Keys of its nodes that longer trainings will go on from, where their cool-down begins."""

    @classmethod
    def of(cls, nodes: Iterable[Node], needs: Set[str] = frozenset()) -> Pack:
        """A pack of nodes of any kind that trials do."""
        return cls(nodes=cast("tuple[AnyNode, ...]", tuple(nodes)), needs=frozenset(needs))

    @property
    def text(self) -> str:
        """All that a worker needs to know, compressed: Tune keeps what it was given of every trial, twice."""
        return base64.b85encode(zlib.compress(self.model_dump_json().encode())).decode()

    @classmethod
    def from_text(cls, text: str) -> Pack:
        """The pack whose `text` it is."""
        return cls.model_validate_json(zlib.decompress(base64.b85decode(text)))

    @property
    def keys(self) -> list[str]:
        """Of its nodes."""
        return [node.key for node in self.nodes]

    @property
    def num_cells(self) -> int:
        """Nodes with a run of their own."""
        return sum(node.leaf for node in self.nodes)

    def without(self, done: Set[str]) -> Pack | None:
        """What is left of it, if anything is."""
        left = tuple(node for node in self.nodes if node.key not in done)
        return self.model_copy(update={"nodes": left}) if left else None


def cells_of(pack: Pack) -> Sequence[Cell]:
    """Cells of an adaptation sweep, and those that its trainings stand for.

    Raises:
        TypeError: it holds another kind of node.
    """
    found = [node.cell if isinstance(node, Train) else node for node in pack.nodes]
    if not all(isinstance(cell, Cell) for cell in found):
        raise TypeError(f"a pack of {sorted({node.kind for node in pack.nodes})} has no cells")
    return [cell for cell in found if isinstance(cell, Cell)]
