"""CompressAI's checkpoints as source codecs, and source codecs as CompressAI's checkpoints.

Names and shapes of a file's tensors say which architecture it is, and how wide. Nothing goes through
CompressAI's own `load_state_dict`, which keeps tables that were there and raises after it has copied weights.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from compressai.models import CompressionModel
from compressai.models.base import get_scale_table
from torch import Tensor

from interfero.codecs.codec import (
    ANY_CHANNELS,
    ARCHITECTURES,
    TABLE_BUFFERS,
    Codec,
    Shape,
    build_model,
    build_within,
    entropy_tables,
    mask_context,
)
from interfero.codecs.entropy_tables import CDF_END, MAX_ROW, Tables, tables_of
from interfero.codecs.exact import check_exact
from interfero.codecs.torch_checkpoint import current_name, read_checkpoint
from interfero.errors import CodecError
from interfero.store.files import write_atomic
from interfero.versions import library_version

MAX_EXCESS_BITS = 1e-3
"""Tables are kept where they cost no more than this per symbol than those that the weights give: another
machine's last counts cost 1e-6, those of before a training 0.01 and more."""
MAX_SCALE, MAX_SCALES = 512.0, 256
"""Limits of a Gaussian table; CompressAI's has 64 scales up to 256."""

Shapes = dict[str, tuple[int, ...]]


def import_codec(path: Path, rd_lambda: float, name: str) -> Codec:
    """A source codec from a PyTorch file, in the precision of its weights.

    Args:
        path: A training checkpoint or a state dict of one of `ARCHITECTURES`.
        rd_lambda: The lambda it was trained for.
        name: What to call it.

    Raises:
        CodecError: it cannot be read, is of no architecture known here, or its streams would not decode
            on every machine.
    """
    found = read_checkpoint(path)
    shape, model = recognise(path, found.state)
    _fill(path, model, found.state)
    mask_context(model)
    tables = _settle_tables(path, model, found.state)
    model.eval().requires_grad_(False)
    check_exact(model)
    bands = "" if shape.image_channels == 3 else f", {shape.image_channels} image channels"
    notes = [
        f"{shape.architecture}, N = {shape.num_channels}, M = {shape.num_latents}{bands}, by the names and "
        f"shapes of the tensors of {path.name}",
        *found.notes,
        f"entropy tables: {tables}",
    ]
    versions = {library: library_version(library) for library in ("compressai", "torch")}
    card = {"origin": path.name, "notes": notes, "imported_by": versions}
    return Codec(shape, rd_lambda, name, model, card)


def recognise(path: Path, state: Mapping[str, Tensor]) -> tuple[Shape, CompressionModel]:
    """The architecture whose parameters have these names and shapes, and an untrained model of it.

    Raises:
        CodecError: none has; names the nearest, and where it differs.
    """
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    convolutions = [n for n in given if n.startswith("g_a.") and len(given[n]) == 4]
    ordered = sorted(convolutions, key=_in_order)
    if not ordered:
        raise CodecError(f"{path} holds no image codec of CompressAI: g_a has no convolution")
    widths = given[ordered[0]][0], given[ordered[-1]][0]
    wrong: dict[str, list[str]] = {}
    for architecture in ARCHITECTURES:
        wrong[architecture] = _other_names(given, architecture)
        if not wrong[architecture]:
            channels = given[ordered[0]][1] if architecture in ANY_CHANNELS else 3
            shape = Shape(architecture, *widths, channels)
            try:
                model = build_within(shape, sum(tensor.numel() for tensor in state.values()))
            except CodecError as error:
                wrong[architecture] = [str(error)]
                continue
            wrong[architecture] = _other_shapes(given, model)
            if not wrong[architecture]:
                return shape, model
    nearest = min(wrong, key=lambda name: len(wrong[name]))
    raise CodecError(
        f"{path} is of none of the architectures {', '.join(ARCHITECTURES)}; nearest is {nearest} "
        f"(N = {widths[0]}, M = {widths[1]}), but {wrong[nearest][0]}: another architecture has to be "
        "added to `ARCHITECTURES` first (CONTRIBUTING.md)"
    )


def _in_order(name: str) -> list[tuple[int, str]]:
    """Layers by number: `g_a.10` after `g_a.2`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


@cache
def _names_of(architecture: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names of an architecture's parameters, and of its tables and constants."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(Shape(architecture, 8, 8))
    parameters = frozenset(current_name(n) for n, _ in model.named_parameters())
    return parameters, frozenset(current_name(n) for n, _ in model.named_buffers())


def _other_names(given: Shapes, architecture: str) -> list[str]:
    """Parameters that a file lacks, and what it has that the architecture has not."""
    parameters, buffers = _names_of(architecture)
    missing = [f"{name!r} is missing" for name in sorted(parameters - given.keys())]
    return missing + [f"it has no {name!r}" for name in sorted(given.keys() - parameters - buffers)]


def _other_shapes(given: Shapes, model: CompressionModel) -> list[str]:
    return [
        f"{name!r} is {_size(given[current_name(name)])} and must be {_size(value.shape)}"
        for name, value in model.named_parameters()
        if given[current_name(name)] != tuple(value.shape)
    ]


def _size(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _fill(path: Path, model: CompressionModel, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of a model of the same shape, and compare its constants."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(state[current_name(name)])
    for name, constant in model.named_buffers():
        given = state.get(current_name(name))
        if given is None or name.rpartition(".")[2] in TABLE_BUFFERS:
            continue
        if given.shape != constant.shape or not torch.allclose(given.float(), constant.float()):
            raise CodecError(
                f"{name!r} of {path} is another constant than CompressAI's: a model of another kind, "
                "which would be computed wrongly here"
            )


def _settle_tables(path: Path, model: CompressionModel, state: Mapping[str, Tensor]) -> str:
    """Make the tables that the weights give, or keep the file's where they are those; says which."""
    modules = {n: m for n, m in model.named_modules() if isinstance(m, EntropyModel)}
    own = {n: _own_tables(module, n, state) for n, module in modules.items()}
    for name, module in modules.items():
        _make_tables(path, name, module, state)
    if not all(own.values()):
        return "made on import from the weights: the file has none"
    worst, which = 0.0, ""
    for name, module in modules.items():
        cdf, offsets, sizes = (
            own[name][b].int().numpy() for b in TABLE_BUFFERS if b != "scale_table"
        )
        try:
            excess = _excess_bits(Tables(cdf, sizes, offsets), tables_of(module))
        except (CodecError, ValueError, IndexError):
            return (
                f"made on import from the weights: the file's own, of {name}, are no distributions"
            )
        if excess > worst:
            worst, which = excess, name
    if worst > MAX_EXCESS_BITS:
        cost = (
            f"would cost {worst:.3g} bits per symbol" if worst < math.inf else "cover other symbols"
        )
        return f"made on import from the weights: the file's own, of {which}, are of other weights and {cost}"
    for name, module in modules.items():
        for buffer, value in own[name].items():
            setattr(module, buffer, value.to(getattr(module, buffer).dtype).clone())
    return "kept as they are in the file"


def _own_tables(module: EntropyModel, name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tables of an entropy model that a file has; empty where one is missing."""
    wanted = [b for b in TABLE_BUFFERS if hasattr(module, b)]
    found = {b: state[f"{name}.{b}"] for b in wanted if state.get(f"{name}.{b}") is not None}
    whole = len(found) == len(wanted) and all(t.numel() for t in found.values())
    return found if whole else {}


def _make_tables(path: Path, name: str, module: EntropyModel, state: Mapping[str, Tensor]) -> None:
    """Make tables as CompressAI's `update(force=True)` does, which trusts quantiles and scales."""
    with torch.no_grad():
        if isinstance(module, EntropyBottleneck):
            low, middle, high = module.quantiles[:, 0, :].unbind(1)
            if not bool(((low <= middle) & (middle <= high) & (high - low < MAX_ROW)).all()):
                raise CodecError(
                    f"quantiles of {name} of {path} must rise and span less than {MAX_ROW}: the training "
                    "had diverged, or the auxiliary optimiser did not run; take another checkpoint"
                )
            module.update(force=True)
        elif isinstance(module, GaussianConditional):
            scales = state.get(f"{name}.scale_table")
            if scales is None or not scales.numel():
                scales = get_scale_table()
            rising = scales.dim() == 1 and bool((scales[1:] > scales[:-1]).all())
            if (
                not rising
                or len(scales) > MAX_SCALES
                or not 0 < scales[0] <= scales[-1] <= MAX_SCALE
            ):
                raise CodecError(
                    f"scales of {name} of {path} must rise, be at most {MAX_SCALES} and lie in 0 to "
                    f"{MAX_SCALE:g}: save the model again after `model.update(force=True)`"
                )
            module.update_scale_table(scales.tolist(), force=True)


def _excess_bits(kept: Tables, made: Tables) -> float:
    """What the worst row of `kept` costs more than that of `made`, in bits per symbol; inf for other rows."""
    if not np.array_equal(kept.sizes, made.sizes) or not np.array_equal(kept.offsets, made.offsets):
        return math.inf
    width = int(made.sizes.max())
    inside = np.arange(width - 1) < made.sizes[:, None] - 1
    p, q = (np.diff(t.cdf[:, :width]) / CDF_END for t in (made, kept))
    ratio = np.divide(p, q, out=np.ones_like(p), where=inside)
    return float((p * np.log2(ratio)).sum(axis=1, where=inside).max())


def export_codec(codec: Codec, path: Path) -> None:
    """Write CompressAI's form: a state dict in single precision, with the tables, and what it is of.

    Raises:
        StorageError: it cannot be written.
    """
    assert all(table.numel() for table in entropy_tables(codec.model).values())
    shape = codec.shape
    content = {
        "state_dict": codec.model.state_dict(),
        "architecture": shape.architecture,
        "N": shape.num_channels,
        "M": shape.num_latents,
        "lmbda": codec.rd_lambda,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())
