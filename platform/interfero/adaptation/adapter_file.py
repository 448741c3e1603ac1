"""Adapter files: what was trained, and which source codec it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from interfero.adaptation.catalogue import find_method
from interfero.adaptation.method import AdaptedCodec, Method
from interfero.codecs.codec import Codec
from interfero.codecs.exact import check_exact
from interfero.errors import AdapterError, CodecError, ConfigError, StorageError
from interfero.store.tensors import load_tensors, save_tensors, state_hash

FORMAT = "interfero-adapter-1"
NEEDED = ("method", "adapter_size", "source_hash", "adapter_hash")
"""Metadata without which a file is no adapter."""
_BUILT_UNSEEN = 64
"""Adapters of this size take some 10 MB; a larger one is built once the file is known to be that large."""


def save_adapter(
    adapted: AdaptedCodec, path: Path, *, method: str, adapter_size: int, record: Mapping[str, Any],
    domain: str = "", also_for: Iterable[str] = (),
) -> None:  # fmt: skip
    """Write an adapter file.

    Args:
        adapted: Trained, its tables refreshed.
        path: Where to write.
        method: Its method's name.
        adapter_size: In the method's unit.
        record: How it was trained (steps, images, learning rate, ...); kept as metadata.
        domain: The target domain's name.
        also_for: Hashes of other source codecs that it was trained on, those of other lambdas.
    """
    state = adapted.adapter_state()
    metadata = {
        "format": FORMAT,
        "method": method,
        "adapter_size": adapter_size,
        "domain": domain,
        "rd_lambda": adapted.rd_lambda,
        "source_hash": adapted.source_hash,
        "source_table_hash": adapted.source_table_hash,
        "adapter_hash": state_hash(state.items()),
        "record": dict(record),
    }
    others = sorted({*also_for} - {adapted.source_hash})
    if others:
        metadata["also_for"] = others
    save_tensors(path, state, metadata)


def load_adapter(path: Path, source: Codec) -> tuple[AdaptedCodec, dict[str, Any]]:
    """Put an adapter on its source codec.

    Returns:
        The adapted codec in target mode, ready to code, and the file's metadata.

    Raises:
        AdapterError: the file is damaged, was trained on another source codec, or makes streams that
            would not decode on every machine.
    """
    try:
        state, metadata = load_tensors(path)
    except StorageError as error:
        raise AdapterError(str(error)) from error
    if metadata.get("format") != FORMAT:
        raise AdapterError(f"{path} is not an adapter file (format {metadata.get('format')!r})")
    missing = [name for name in NEEDED if name not in metadata]
    if missing:
        raise AdapterError(f"{path} does not say its {', '.join(missing)}: fetch or train it again")
    if source.weights_hash not in _sources(metadata):
        raise AdapterError(
            f"{path} was trained on source codec {metadata['source_hash']}, this is "
            f"{source.weights_hash} ({source.name}): load the codec it belongs to, and of channels that "
            "have grown on others, the adapters below them too"
        )
    if metadata["adapter_hash"] != state_hash(state.items()):
        raise AdapterError(f"{path} is damaged: its content does not match its hash")
    try:
        method = find_method(str(metadata["method"]))
    except ConfigError as error:
        raise AdapterError(f"{path}: {error}") from error
    size = _possible_size(path, method, metadata["adapter_size"], source, state)
    adapted = method.build(source, size, init_seed=0)
    adapted.load_adapter_state(state)
    adapted.name_adapter()
    try:
        check_exact(adapted)
    except CodecError as error:
        raise AdapterError(f"{path}: {error}") from error
    return adapted.eval().requires_grad_(False), metadata


def _sources(metadata: Mapping[str, Any]) -> list[Any]:
    """Hashes of the source codecs that a file from anywhere says it belongs to."""
    others = metadata.get("also_for", [])
    return [metadata["source_hash"], *(others if isinstance(others, list) else ())]


def _possible_size(
    path: Path, method: Method, size: Any, source: Codec, state: Mapping[str, Tensor]
) -> int:
    """The size that a file names, if its own tensors can be of that size.

    Metadata may say anything: what it would make is held against the file at half that size, and at half
    of that, before it is built. Adapters grow with their size.

    Raises:
        AdapterError: the method has no such size, or the file is too small for it.
    """
    if type(size) is not int or not method.accepts(size):
        raise AdapterError(
            f"{path} names size {size!r}, which {method.name} does not have: train it again"
        )
    held = sum(tensor.numel() for tensor in state.values())
    smaller = _BUILT_UNSEEN
    while smaller < size:
        built = method.build(source, smaller, init_seed=0)
        if sum(p.numel() for p in built.parameters()) > held:
            raise AdapterError(
                f"{path} names size {size}, but its {held} numbers are fewer than {method.name} has at size "
                f"{smaller}: fetch or train it again"
            )
        smaller *= 2
    return size
