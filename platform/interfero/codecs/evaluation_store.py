"""Results kept by content: what was coded once is not coded again, in any sweep of one storage.

FOLDER/AB/ABCD....safetensors, one file an image and codec. The name hashes everything that decides
the numbers: the codec's weights and tables (or the classical codec, its settings and library), the
image's pixels, the settings, the versions of torch and CompressAI, this package's own coding modules,
and the processor, since the last bits of a float decide symbols. A file that does not match its own
hash counts as not there. The folder can be deleted at any time; `interfero store prune` removes old ones.
"""

from __future__ import annotations

import functools
import io
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from interfero.codecs.classical.codec import ClassicalPoint
from interfero.codecs.codec import Codec
from interfero.codecs.coding import Coder, SourceCoder
from interfero.domains.images import UInt8Array
from interfero.errors import StorageError
from interfero.store.keyed import KeyedStore
from interfero.store.keys import ENTRY_DIGITS, content_key, new_digest
from interfero.store.tensors import load_tensors, save_tensors, state_hash
from interfero.versions import library_version

_PACKAGES = ("codecs", "adaptation", "metrics")
"""Parts of this package whose code decides an entry; a changed one makes every entry new."""

Setting = str | int | float | bool | None
Symbols = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class EvaluationKey:
    """What one entry was measured on, with what and how."""

    codec: str
    """`codec_identity` of what coded."""
    image: str
    """`Sample.digest`."""
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the entry's file."""
        parts = [self.codec, self.image, dict(self.settings), environment()]
        return content_key(parts, ENTRY_DIGITS)


@dataclass(frozen=True)
class Entry:
    """What is kept of one image: numbers, and where wanted its streams, symbols and pixels."""

    numbers: Mapping[str, float | None]
    """Measurements by name."""
    streams: tuple[bytes, ...] = ()
    """One a tile."""
    symbols: Symbols = ()
    """Quantised latents in coding order."""
    decoded_symbols: Symbols = ()
    """Symbols as the decoder read them."""
    pixels_HWC: UInt8Array | None = None
    """Decoded."""

    def number(self, name: str) -> float:
        """A measurement that every such entry has.

        Raises:
            StorageError: it was not measured.
        """
        value = self.numbers.get(name)
        if value is None:
            raise StorageError(f"this entry was kept without its {name}: measure it again")
        return value

    def picture(self) -> UInt8Array:
        """The decoded pixels.

        Raises:
            StorageError: they were not kept.
        """
        if self.pixels_HWC is None:
            raise StorageError("this entry was kept without its picture: measure it again")
        return self.pixels_HWC


class EvaluationStore:
    """A folder of entries; many processes may read and write it at once."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is created by the first entry."""
        self.folder = folder
        self._entries = KeyedStore(folder, ".safetensors", spread=True)

    def fetch(self, key: EvaluationKey, compute: Callable[[], Entry]) -> Entry:
        """The entry of a key, computed and kept if it is not there or is damaged.

        Raises:
            StorageError: the folder cannot be written.
        """
        entry = self.read(key)
        if entry is None:
            entry = compute()
            self.write(key, entry)
        return entry

    def read(self, key: EvaluationKey) -> Entry | None:
        """The entry of a key; None where there is none, or a damaged one."""
        return self._entries.read(key.digest, read_entry)

    def write(self, key: EvaluationKey, entry: Entry) -> None:
        """Keep an entry, whole or not at all.

        Raises:
            StorageError: the folder cannot be written.
        """
        tensors, numbers = _packed(entry), dict(entry.numbers)
        described = {
            "numbers": numbers,
            "hash": _content_hash(tensors, numbers),
            "codec": key.codec,
            "settings": dict(key.settings),
        }
        save_tensors(self.path(key), tensors, described)

    def path(self, key: EvaluationKey) -> Path:
        """Path of the entry of a key."""
        return self._entries.path(key.digest)


def read_entry(path: Path) -> Entry:
    """The entry in a file.

    Raises:
        StorageError: it is no entry, or does not match its own hash.
    """
    tensors, described = load_tensors(path)
    try:
        if described["hash"] == _content_hash(tensors, described["numbers"]):
            return _unpacked(tensors, described["numbers"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise StorageError(f"{path} is no evaluation of an image ({error!r}): delete it") from error
    raise StorageError(f"{path} is damaged, it does not match its own hash: delete it")


def codec_identity(codec: Codec | Coder | ClassicalPoint) -> str:
    """Everything of a codec that decides what it codes; equal for a codec and its `SourceCoder`."""
    if isinstance(codec, ClassicalPoint):
        return codec.identity
    if isinstance(codec, SourceCoder):
        codec = codec.codec
    if isinstance(codec, Codec):
        return f"source {codec.weights_hash} {codec.shape}"
    adapter = codec.adapter_id.hex() if codec.adapter_id else "none"
    # The container's ids are four bytes, made to be told apart in one deployment: too few here.
    states = [state_hash(m.state_dict().items()) for m in (codec.model, *codec.roots)]
    kind = f"{type(codec.model).__module__}.{type(codec.model).__qualname__}"
    return f"adapted {codec.codec_id.hex()} {adapter} {kind} {' '.join(dict.fromkeys(states))}"


@functools.cache
def environment() -> str:
    """Libraries, code and processor, as far as they decide a symbol."""
    versions = [f"{name} {library_version(name)}" for name in ("torch", "compressai")]
    capability = torch.backends.cpu.get_cpu_capability()
    return ", ".join([*versions, _code_hash(), platform.machine(), _cpu_model(), capability])


def _code_hash() -> str:
    digest = new_digest()
    root = Path(__file__).parents[1]
    for package in _PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _cpu_model() -> str:
    """Kernels are chosen by it: one storage may serve nodes of several kinds."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _content_hash(tensors: Mapping[str, Tensor], numbers: Mapping[str, float | None]) -> str:
    return content_key([state_hash(tensors.items()), dict(numbers)], ENTRY_DIGITS)


def _packed(entry: Entry) -> dict[str, Tensor]:
    tensors = {f"stream{i}": _byte_tensor(data) for i, data in enumerate(entry.streams)}
    for prefix, symbols in (("symbols", entry.symbols), ("decoded", entry.decoded_symbols)):
        for index, values in enumerate(symbols):
            tensors[f"{prefix}{index}"] = torch.tensor(values, dtype=torch.int32)
    if entry.pixels_HWC is not None:
        buffer, pixels = io.BytesIO(), entry.pixels_HWC
        if (channels := pixels.shape[2]) != 3:
            # PNG has no such pictures: channels follow each other in a row of a grey one.
            pixels, tensors["channels"] = pixels.reshape(len(pixels), -1), torch.tensor(channels)
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        tensors["png"] = _byte_tensor(buffer.getvalue())
    return tensors


def _unpacked(tensors: Mapping[str, Tensor], numbers: Mapping[str, float | None]) -> Entry:
    def series(prefix: str) -> list[Tensor]:
        count = sum(name.startswith(prefix) for name in tensors)
        return [tensors[f"{prefix}{i}"] for i in range(count)]

    streams = tuple(t.numpy().tobytes() for t in series("stream"))
    symbols = tuple(tuple(t.tolist()) for t in series("symbols"))
    decoded = tuple(tuple(t.tolist()) for t in series("decoded"))
    pixels = None
    if "png" in tensors:
        with Image.open(io.BytesIO(tensors["png"].numpy().tobytes())) as image:
            pixels = np.asarray(image, dtype=np.uint8)
        pixels = pixels.reshape(len(pixels), -1, int(tensors.get("channels", torch.tensor(3))))
    return Entry(numbers, streams, symbols, decoded, pixels)


def _byte_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
