"""Codec files: half-precision safetensors, entropy tables frozen with the weights they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from compressai.models import CompressionModel
from torch import Tensor

from interfero.codecs.codec import Codec, Shape, build_model, build_within, mask_context
from interfero.codecs.entropy_tables import MAX_TABLE
from interfero.codecs.exact import check_exact
from interfero.errors import CodecError, StorageError
from interfero.store.tensors import load_tensors, save_tensors, tensor_bytes

FORMAT = "interfero-codec-1"
_CDF = "._quantized_cdf"


def freeze_codec(
    model: CompressionModel, shape: Shape, rd_lambda: float, name: str, card: dict[str, Any]
) -> Codec:
    """Round to half precision, then compute the tables, then never touch them again.

    The order matters: half-precision weights change the tables, and tables computed elsewhere from
    the same weights may differ in their last counts, which would break old bitstreams.
    """
    rounded = build_model(shape)
    copy_parameters(model, rounded)
    mask_context(rounded)
    _round_to_half(rounded)
    rounded.update(force=True, update_quantiles=True)
    # The bisection leaves full-precision quantiles; what is stored must be what the tables used.
    _round_to_half(rounded)
    rounded.update(force=True)
    return Codec(shape, rd_lambda, name, rounded.eval(), card)


def copy_parameters(source: CompressionModel, target: CompressionModel) -> None:
    """Copy every parameter, and no entropy table, from one model to another of the same shape.

    Raises:
        CodecError: the models differ in shape.
    """
    given, wanted = dict(source.named_parameters()), dict(target.named_parameters())
    different = [n for n in wanted if n not in given or given[n].shape != wanted[n].shape]
    if different or len(given) != len(wanted):
        raise CodecError(f"weights do not belong to this shape, for example {different[:1]}")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(given[name])


def copy_transforms(source: CompressionModel, target: CompressionModel) -> bool:
    """Copy analysis and synthesis transforms between architectures that share them.

    Returns:
        Whether they have the same shape; if not, nothing is copied.
    """
    given, wanted = dict(source.named_parameters()), dict(target.named_parameters())
    names = [n for n in wanted if n.startswith(("g_a.", "g_s."))]
    if any(n not in given or given[n].shape != wanted[n].shape for n in names):
        return False
    with torch.no_grad():
        for name in names:
            wanted[name].copy_(given[name])
    return True


def _round_to_half(model: CompressionModel) -> None:
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(value.half().float())


def save_codec(codec: Codec, path: Path, *, half_precision: bool = True) -> None:
    """Write a codec file: weights in half precision, tables as integers, the card as metadata.

    `half_precision=False` keeps weights that were not rounded by `freeze_codec` as they are.
    """
    save_tensors(path, *_described(codec, half_precision=half_precision))


def codec_bytes(codec: Codec) -> bytes:
    """A codec file with every bit of the weights, whatever they were rounded to."""
    return tensor_bytes(*_described(codec, half_precision=False))


def smallest_bytes(codec: Codec) -> int:
    """Size of the smallest codec file that loads as this very codec.

    Weights take half precision where that changes none of them, as those of a codec that `freeze_codec`
    rounded: a codec that was trained on takes twice the bytes.
    """
    exact = all(torch.equal(p, p.half().float()) for p in codec.model.parameters())
    return len(tensor_bytes(*_described(codec, half_precision=exact)))


def _described(codec: Codec, *, half_precision: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a codec file."""
    parameters = {n for n, _ in codec.model.named_parameters()} if half_precision else set()
    state = codec.model.state_dict()
    tensors = {k: v.half() if k in parameters else v for k, v in state.items()}
    tensors |= {k: _pack_rows(state[k], state[_lengths_of(k)]) for k in state if k.endswith(_CDF)}
    metadata = {
        "format": FORMAT,
        "architecture": codec.shape.architecture,
        "num_channels": codec.shape.num_channels,
        "num_latents": codec.shape.num_latents,
        "rd_lambda": codec.rd_lambda,
        "weights_hash": codec.weights_hash,
        "table_hash": codec.table_hash,
        "card": codec.card,
    }
    if codec.shape.image_channels != 3:
        metadata["image_channels"] = codec.shape.image_channels
    return tensors, metadata


def _lengths_of(key: str) -> str:
    return key.removesuffix(_CDF) + "._cdf_length"


def _pack_rows(table: Tensor, lengths: Tensor) -> Tensor:
    """The used start of every row, one after the other: most of a Gaussian table is padding."""
    return torch.cat([row[:length] for row, length in zip(table, lengths.tolist(), strict=True)])


def _unpack_rows(packed: Tensor, lengths: Tensor) -> Tensor:
    """The padded table that `_pack_rows` was given, exactly.

    Raises:
        ValueError: padding would make far more of it than the file holds.
    """
    if lengths.numel() * int(lengths.max()) > MAX_TABLE:
        raise ValueError(f"{lengths.numel()} rows of up to {int(lengths.max())} entries")
    rows = packed.split(lengths.tolist())
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def read_codec(path: Path, name: str) -> Codec:
    """Read a codec file and verify its weights and tables against the hashes it carries.

    Raises:
        CodecError: the file is missing, damaged, or no codec; or its streams would not decode on every
            machine.
    """
    try:
        tensors, metadata = load_tensors(path)
    except StorageError as error:
        raise CodecError(str(error)) from error
    if metadata.get("format") != FORMAT:
        raise CodecError(f"{path} is not a codec file (format {metadata.get('format')!r})")
    try:
        codec = _rebuild(tensors, metadata, name)
        hashes = metadata["weights_hash"], metadata["table_hash"]
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError, CodecError) as error:
        raise CodecError(f"{path} is damaged: it describes no codec ({error!r})") from error
    if (codec.weights_hash, codec.table_hash) != hashes:
        raise CodecError(f"{path} is damaged: its content does not match its hash; fetch it again")
    check_exact(codec.model)
    return codec


def _rebuild(tensors: dict[str, Tensor], metadata: dict[str, Any], name: str) -> Codec:
    shape = Shape(
        metadata["architecture"],
        int(metadata["num_channels"]),
        int(metadata["num_latents"]),
        int(metadata.get("image_channels", 3)),
    )
    model = build_within(shape, sum(tensor.numel() for tensor in tensors.values()))
    # Widening half precision is exact; the tables come as they are.
    state = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
    state |= {
        k: _unpack_rows(v, state[_lengths_of(k)]) for k, v in state.items() if k.endswith(_CDF)
    }
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    return Codec(shape, float(metadata["rd_lambda"]), name, model, metadata["card"])
