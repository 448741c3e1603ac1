"""The nodes of a sequence of domains: a chain of trainings, what their codecs make of images, and its rows.

    stage -> stage -> ... -> archive -> row            (one codec, trained on)
    stage, stage, ... -> archive of each -> row        (an adapter for each domain)
    stage, stage, ... -> merged -> archive -> row      (one codec, made of several)

A stage holds the stage before it, so its key hashes all that was met and nothing that comes later: orders
that begin alike train what they have in common once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from interfero.engine.adaptation.nodes import ADAPTER_FILE, Cell, KeyPart, SharedTraining
from interfero.engine.node import ContentNode, Node, Params
from interfero.engine.sequence.strategies import Buffer, MemoryForm
from interfero.store.keys import content_key

IMPORTANCE_FILE = "importance.safetensors"
"""How much each weight has mattered so far, for the next stage of ewc."""
STREAMS_FILE = "streams.parquet"
FEATURES_FILE = "features.safetensors"
"""What a gate sees of each image; kept with what the source codec made."""
MEGAPIXELS = "archive/megapixels"
"""Metric of an archive: what it coded."""
SOURCE_METHOD = "source"
"""Method of a row before anything was adapted."""


class Memory(KeyPart):
    """What is kept of images that were met before."""

    buffer: Buffer
    num_images: int = Field(gt=0)
    """The source's among them, at most."""
    form: MemoryForm = "images"

    def named_by(self) -> dict[str, Any]:
        """See `KeyPart`: images were all there was once."""
        value = super().named_by()
        if self.form == "images":
            del value["form"]
        return value


class MetDomain(KeyPart):
    """A domain as a training sees it."""

    domain: str
    domain_hash: str
    """Of its images and splits, and of what a subset has of its reserve."""
    num_images: int = Field(gt=0)
    """Training images."""


class Stage(SharedTraining):
    """A training on one domain of a sequence, from the source codec or from the stage before."""

    kind: ClassVar[str] = "stage"

    node: Literal["stage"] = "stage"
    before: Stage | None = None
    """What it goes on from; None for the source codec."""
    memory: Memory | None = None
    """What it rehearses; None if nothing."""
    anchor: Literal["before", "source"] = "before"
    """The codec whose weights it is pulled to, if its method pulls."""
    union: tuple[MetDomain, ...] = ()
    """Trained on all of these and on the source domain at once, if any; not on the cell's domain alone."""

    @cached_property
    def key(self) -> str:
        """Content hash of everything that its parameters depend on."""
        return f"{self.kind}-{content_key(self._identity())}"

    def _identity(self) -> dict[str, Any]:
        cell = self.cell
        loop = {
            k: v
            for k, v in cell.loop.named_by().items()
            if k not in ("max_source_images", "max_target_images", "attribute")
        }
        content = cell.identity.named_by()
        if not self.looks_back:
            content = {k: v for k, v in content.items() if not k.startswith("source_domain")}
        if self.union:
            content["domain_hash"] = [met.named_by() for met in self.union]
        return {
            "block": {k: v for k, v in cell.block.named_by().items() if k != "domain"},
            "hyperparameters": cell.hyperparameters.named_by(),
            "loop": loop,
            "content": content,
            "before": self.before.key if self.before else None,
            "memory": self.memory.named_by() if self.memory else None,
            "anchor": self.anchor,
        }

    @property
    def looks_back(self) -> bool:
        """Whether it sees images of the source domain, or of those that were met before."""
        return bool(self.memory or self.union or self.cell.hyperparameters.method == "ewc")

    @property
    def met(self) -> tuple[MetDomain, ...]:
        """What its codec was trained on, in order."""
        if self.union:
            return self.union
        block = self.cell.block
        own = MetDomain(
            domain=block.domain, domain_hash=self.cell.identity.domain_hash, num_images=block.num_images
        )  # fmt: skip
        return (*(self.before.met if self.before else ()), own)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.before,) if self.before else ()

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        ewc = self.cell.hyperparameters.method == "ewc"
        return (ADAPTER_FILE, IMPORTANCE_FILE) if ewc else (ADAPTER_FILE,)

    @property
    def params(self) -> Params:
        """See `Node`."""
        return {**super().params, "sequence": ">".join(met.domain for met in self.met)}


MEAN_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Factors of the mean of differences that task arithmetic chooses from, up to their whole sum."""
REVISION = 2
"""Of what rows of merged codecs and of joint training hold: 2 since the source codec counts as stored with
merged codecs, and joint training, which keeps all images, has no size."""


class Merged(ContentNode):
    """One codec, made of those that were adapted to single domains; nothing is trained."""

    kind: ClassVar[str] = "merged"

    node: Literal["merged"] = "merged"
    parts: tuple[Stage, ...] = Field(min_length=1)
    """In the order of their domains' names: which of them came first decides nothing."""
    weights: Literal["mean", "arithmetic"]
    """mean: of all differences from the source codec. arithmetic: their sum, times the factor that is best on
    validation images of the domains and of the source (arXiv:2212.04089)."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return self.parts

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (ADAPTER_FILE,)

    @property
    def cell(self) -> Cell:
        """What the parts have in common, but for the domain."""
        return self.parts[0].cell

    @property
    def scales(self) -> tuple[float, ...]:
        """Factors of the sum of differences: the mean's, or those that validation chooses from, rising."""
        mean = 1 / len(self.parts)
        if self.weights == "mean":
            return (mean,)
        return tuple(sorted({1.0, *(f * mean for f in MEAN_FACTORS if f * mean < 1)}))

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        identity = self.cell.identity
        looked_at = identity.source_domain_hash if self.weights == "arithmetic" else None
        tried = {"scales": self.scales} if self.weights == "arithmetic" else {}
        return {"parts": [part.key for part in self.parts], "weights": self.weights, **tried,
                "source_domain": looked_at, "code": identity.loop_hash}  # fmt: skip


Trained = Annotated[Stage | Merged, Field(discriminator="node")]


class Tested(KeyPart):
    """A domain whose test images are coded."""

    __test__: ClassVar[bool] = False  # pytest takes what is called Test... for its own.

    domain: str
    domain_hash: str
    """Of all its images."""
    num_images: int = Field(gt=0)
    """Test images, at most."""
    source: bool = False
    """Whether it is the source domain."""


class Archive(ContentNode):
    """The streams that one codec makes of test images of every domain, and how good they are."""

    kind: ClassVar[str] = "archive"

    node: Literal["archive"] = "archive"
    trained: Trained | None = None
    """What makes the codec; None for the source codec."""
    codec_hash: str
    """Of the source codec's weights and tables."""
    rd_lambda: float = Field(gt=0)
    tested: tuple[Tested, ...] = Field(min_length=1)
    """The source domain first, the others by name."""
    data_seed: int = Field(ge=0)
    """Draws validation images."""
    code: str
    """Hash of the code that trains, codes and measures."""
    versions: dict[str, str]
    """Of the libraries that decide numbers."""

    @property
    def domain(self) -> str:
        """What the codec was adapted to last; empty for the source codec."""
        return self.trained.cell.block.domain if isinstance(self.trained, Stage) else ""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.trained,) if self.trained else ()

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (STREAMS_FILE,) if self.trained else (STREAMS_FILE, FEATURES_FILE)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {"trained": self.trained.key if self.trained else None, "codec": self.codec_hash,
                "tested": [t.named_by() for t in self.tested], "data_seed": self.data_seed,
                "code": self.code, "versions": self.versions}  # fmt: skip


class StageRow(ContentNode):
    """One row of the matrix: what there is after a stage, tested on every domain and on all older streams."""

    kind: ClassVar[str] = "row"
    leaf: ClassVar[bool] = True

    node: Literal["row"] = "row"
    method: str
    """The strategy's name."""
    sequence: tuple[str, ...] = ()
    """Domains met; empty before the first."""
    cell: Cell | None = None
    """How the stage's domain was adapted to; None before the first."""
    images_asked: str = ""
    """Training images as `--num-images` names them."""
    memory: Memory | None = None
    """What is kept after the stage; None if nothing."""
    codec: str
    """The source codec's name."""
    source_domain: str
    banks: tuple[tuple[Archive, ...], ...] = Field(min_length=1)
    """What codes at each stage, the source codec's first; several where images are routed."""

    @cached_property
    def key(self) -> str:
        """Content hash, without a kind: it is a cell."""
        return content_key(self.identity())

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        renewed = self.method == "joint" or isinstance(self.bank[-1].trained, Merged)
        return {"method": self.method, "sequence": self.sequence, "images": self.images_asked,
                "memory": self.memory.named_by() if self.memory else None,
                **({"revision": REVISION} if renewed else {}),
                "banks": [[archive.key for archive in bank] for bank in self.banks]}  # fmt: skip

    @property
    def bank(self) -> tuple[Archive, ...]:
        """What codes now."""
        return self.banks[-1]

    @property
    def untouched(self) -> Archive:
        """What the source codec made, before anything."""
        return self.banks[0][0]

    @property
    def routed(self) -> bool:
        """Whether an image may take one of several ways."""
        return any(archive.trained is None for archive in self.bank) and bool(self.sequence)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return tuple({a.key: a for bank in self.banks for a in bank}.values())

    @property
    def params(self) -> Params:
        """What MLflow shows as parameters."""
        archive, cell = self.untouched, self.cell
        of_cell: Params = {
            "num_images": 0, "adapter_size": 0, "learning_rate": 0.0, "strength": 0.0, "init_seed": 0,
            "num_steps": 0,
        }  # fmt: skip
        if cell is not None:
            of_cell = {name: cell.params[name] for name in of_cell}
        return {
            "codec": self.codec,
            "domain": self.sequence[-1] if self.sequence else self.source_domain,
            "rd_lambda": archive.rd_lambda,
            "method": self.method,
            **of_cell,
            "data_seed": archive.data_seed,
            "sequence": ">".join(self.sequence),
            "stage": len(self.sequence),
            "images_asked": self.images_asked,
            "memory_images": self.memory.num_images if self.memory else 0,
            "buffer": self.memory.buffer if self.memory else "none",
            "memory_form": self.memory.form if self.memory else "none",
            "routing": "bank" if self.routed else "none",
        }

    @property
    def tags(self) -> dict[str, str]:
        """Fingerprints that link the row's run to the nodes behind it."""
        steps = {f"interfero.step_{kind}": keys for kind, keys in self.lineage.items()}
        return {**(self.cell.tags if self.cell else {}), **steps}


SequenceNode = Stage | Merged | Archive | StageRow
"""What trials do."""
