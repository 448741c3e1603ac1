"""Cells: what is trained, what identifies it, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from interfero.config import Config
from interfero.domains.domain import ImageUnit
from interfero.store.keys import content_key


class Block(Config):
    """What is always gridded: a sampler never chooses it, it would pick the easy domain."""

    domain: str
    """Target domain."""
    rd_lambda: float = Field(gt=0)
    """Weight of distortion: bits per pixel per unit of MSE on the 0-255 scale."""
    num_images: int = Field(gt=0)
    """Target training images, `all` resolved."""
    data_seed: int = Field(ge=0)
    """Draws the subset, the crops and the noise."""


class Hyperparameters(Config):
    """What a sampler may choose inside a block, and the initialisation."""

    method: str
    """How the codec is adapted."""
    adapter_size: int = Field(ge=0)
    """In the method's own unit; 0 where the method has none."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of Adam."""
    strength: float = Field(default=0.0, ge=0)
    """Weight of the method's own term, in its own unit; 0 where the method has none."""
    init_seed: int = Field(default=0, ge=0)
    """Draws initial custom parameters."""

    @property
    def shape(self) -> tuple[str, int, float]:
        """What members have in common that may step as one computation."""
        return self.method, self.adapter_size, self.strength


class LoopConfig(Config):
    """How every cell of a sweep is trained and measured."""

    num_steps: int = Field(gt=0)
    """Optimiser steps."""
    batch_size: int = Field(default=8, gt=0)
    """Crops a step, over all workers."""
    crop_size: int = Field(default=128, ge=64, multiple_of=64)
    """Side of a crop in pixels."""
    warmup_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; a cosine to zero follows."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradient norm is clipped to this."""
    precision: Literal["bfloat16", "float32"] = "float32"
    """Of training; evaluation is always float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it trains; evaluation is always on the CPU."""
    threads: int = Field(default=1, gt=0)
    """CPU threads of a training process: float sums change in their last bits with them."""
    workers: int = Field(default=1, gt=0)
    """Processes that share a batch: float sums change in their last bits with them, too."""
    fused: bool = False
    """Whether members of a pack that are of one method and size step as one computation: then float sums
    change in their last bits with the company, and a cell is known to rounding, not to the bit."""
    max_source_images: int = Field(default=24, gt=0)
    """Source test images that are coded."""
    max_target_images: int = Field(default=24, gt=0)
    """Target test images that are coded."""
    delta_rank: int = Field(default=0, ge=0)
    """Rank of what a fine-tuned codec keeps of each kernel's difference from the source; 0 is all."""
    attribute: bool = False
    """Whether forgetting is attributed to the codec's components."""


class Identity(Config):
    """Content that a cell's numbers depend on."""

    codec: str
    """The source codec's name."""
    codec_hash: str
    """Of its weights and tables."""
    table_hash: str
    """Of its entropy tables alone."""
    domain_hash: str
    """Of the target domain's images and splits."""
    image_unit: ImageUnit = "images"
    """What one of them is; a label, and no part of the key."""
    source_domain: str
    """The source domain's name."""
    source_domain_hash: str
    """Of its images and splits."""
    loop_hash: str
    """Of the training code's syntax tree, docstrings left out."""
    versions: dict[str, str]
    """Of the libraries that decide numbers."""


class Cell(Config):
    """One point of a sweep, resolved."""

    block: Block
    hyperparameters: Hyperparameters
    loop: LoopConfig
    identity: Identity

    @property
    def key(self) -> str:
        """Content hash of everything the cell's numbers depend on."""
        return self._hash({"identity": {"image_unit"}})

    @property
    def source_training_key(self) -> str:
        """Content hash of what the trained parameters depend on if the target domain is never seen.

        Cells of methods that train on the source domain alone share one training for all targets.
        """
        return self._hash(
            {"block": {"domain", "num_images"}, "identity": {"domain_hash", "image_unit"}}
        )

    def _hash(self, left_out: dict[str, set[str]]) -> str:
        value = self.model_dump(mode="json", exclude=left_out)
        if self.loop.workers == 1:
            # Cells that one process trained were named before there could be more of them.
            del value["loop"]["workers"]
        if not self.loop.fused:
            # Nor were those that trained one after the other.
            del value["loop"]["fused"]
        return content_key(value)

    @property
    def params(self) -> dict[str, str | int | float]:
        """What MLflow shows as parameters."""
        return {
            "codec": self.identity.codec,
            **self.block.model_dump(),
            "image_unit": self.identity.image_unit,
            **self.hyperparameters.model_dump(),
            "num_steps": self.loop.num_steps,
        }

    @property
    def tags(self) -> dict[str, str]:
        """Fingerprints, and whether its pack may fuse, as tags of its run."""
        identity = self.identity.model_dump()
        tags = {f"interfero.{n}": str(v) for n, v in identity.items() if n.endswith("hash")}
        return {**tags, "interfero.fused": str(self.loop.fused).lower()}

    @property
    def provenance(self) -> dict[str, str]:
        """What params leave out: hashes, the source domain, library versions and loop settings."""
        identity = self.identity.model_dump(exclude={"codec", "image_unit", "versions"})
        versions = (f"{name} {v}" for name, v in sorted(self.identity.versions.items()))
        loop = json.dumps(self.loop.model_dump(mode="json"), sort_keys=True)
        return {**identity, "versions": ", ".join(versions), "loop": loop}


class Pack(Config):
    """Cells of one block that train together."""

    cells: tuple[Cell, ...]

    @property
    def block(self) -> Block:
        """The block all members share."""
        return self.cells[0].block


def group_cells(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that may train together: of one block, method and setting, in order."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        shared = (cell.block, cell.loop, cell.identity)
        text = json.dumps([part.model_dump(mode="json") for part in shared])
        text += cell.hyperparameters.method
        groups.setdefault(text, []).append(cell)
    return list(groups.values())
