"""Feed the decoder mutated bitstreams: only a `BitstreamError` or a picture may come out.

    python tools/fuzz_bitstreams.py --count 20000

Streams of untrained codecs and of a bundled one, in source and in target mode, are damaged at random and
with intent: flipped, cut and extended; with lengths, sizes and strings forged under a valid checksum;
of another codec, under its own name and under a false one. Each codec is fuzzed in a child process,
which a crash ends, a watchdog ends after `--patience` seconds on one stream, and whose memory may grow
by `--memory` MB. Exits with 1 if anything else than a refusal or a picture of the header's size came
out. Stream I of a codec is a function of (seed, I): `--first I --count 1` repeats it.
"""

from __future__ import annotations

import argparse
import binascii
import faulthandler
import functools
import itertools
import json
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from interfero.adaptation import METHODS
from interfero.adaptation.deployment import Deployment
from interfero.codecs.bitstream import CODEC_ID_BYTES, MAX_PIXELS, MAX_STRINGS, parse_stream
from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import freeze_codec
from interfero.codecs.codec import Codec, Shape, build_model
from interfero.domains.images import UInt8Array
from interfero.errors import BitstreamError

UNTRAINED = {"tiny": "mbt2018-mean", "factorized": "bmshj2018-factorized", "context": "mbt2018"}
"""One, two and pixel-by-pixel strings: name here to architecture."""
CODECS = (*UNTRAINED, "bundled")
PICTURE = "picture"


@dataclass(frozen=True)
class Corpus:
    """Valid streams that mutations start from."""

    own: tuple[bytes, ...]
    """Of the codec that decodes, in both modes."""
    foreign: tuple[bytes, ...]
    """Of a codec with other weights and tables."""


Mutation = Callable[[np.random.Generator, Corpus], bytes]


def _pick(random: np.random.Generator, streams: tuple[bytes, ...]) -> bytes:
    return streams[int(random.integers(len(streams)))]


def _flipped(random: np.random.Generator, data: bytes) -> bytes:
    bits = bytearray(data)
    count = int(random.integers(1, 9))
    for position in random.choice(8 * len(data), count, replace=False):
        bits[position // 8] ^= 1 << position % 8
    return bytes(bits)


def flip(random: np.random.Generator, corpus: Corpus) -> bytes:
    """One to eight bits, anywhere."""
    return _flipped(random, _pick(random, corpus.own))


def cut(random: np.random.Generator, corpus: Corpus) -> bytes:
    """Only the start is left."""
    data = _pick(random, corpus.own)
    return data[: int(random.integers(len(data)))]


def extend(random: np.random.Generator, corpus: Corpus) -> bytes:
    """Random bytes behind the end."""
    return _pick(random, corpus.own) + random.bytes(int(random.integers(1, 65)))


def noise(random: np.random.Generator, corpus: Corpus) -> bytes:
    """Random bytes behind the magic."""
    return b"if" + random.bytes(int(random.integers(200)))


def foreign(random: np.random.Generator, corpus: Corpus) -> bytes:
    """A whole stream of another codec."""
    return _pick(random, corpus.foreign)


def _sealed(data: bytes) -> bytes:
    """Any bytes, their last two replaced by the checksum of those before."""
    return data[:-2] + binascii.crc_hqx(data[:-2], 0).to_bytes(2, "little")


def forged_header(random: np.random.Generator, corpus: Corpus) -> bytes:
    """A few bits of the first 24 bytes, sealed: kind, ids, size, lengths."""
    data = _pick(random, corpus.own)
    return _sealed(_flipped(random, data[:24]) + data[24:])


def forged_lengths(random: np.random.Generator, corpus: Corpus) -> bytes:
    """The same bytes divided into strings at other places, or into another number of them."""
    stream = parse_stream(_pick(random, corpus.own))
    whole = b"".join(stream.strings)
    count = int(random.integers(1, 6))
    ends = [0, *sorted(random.integers(0, len(whole) + 1, count - 1).tolist()), len(whole)]
    strings = tuple(whole[a:b] for a, b in itertools.pairwise(ends))
    return replace(stream, strings=strings).pack()


def forged_size(random: np.random.Generator, corpus: Corpus) -> bytes:
    """Another picture size, up to four times as wide and high."""
    stream = parse_stream(_pick(random, corpus.own))
    width = int(random.integers(1, 4 * stream.width + 1))
    return replace(
        stream, width=width, height=int(random.integers(1, 4 * stream.height + 1))
    ).pack()


def huge_size(random: np.random.Generator, corpus: Corpus) -> bytes:
    """The largest pictures that a header can claim, and larger ones."""
    data = _pick(random, corpus.own)
    width = int(2 ** random.uniform(8, 16)) - 1
    height = min(65535, int(random.uniform(0.5, 1.1) * MAX_PIXELS / width))
    stream = parse_stream(data)
    position = 3 + CODEC_ID_BYTES + len(stream.adapter_id or b"")
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return _sealed(data[:position] + size + data[position + 4 :])


def forged_strings(random: np.random.Generator, corpus: Corpus) -> bytes:
    """One string flipped, cut, extended, emptied or made up, sealed: what rANS decoders must bear."""
    stream = parse_stream(_pick(random, corpus.own))
    strings = list(stream.strings)
    chosen = int(random.integers(len(strings)))
    strings[chosen] = _forged(random, strings[chosen])
    return replace(stream, strings=tuple(strings)).pack()


def _forged(random: np.random.Generator, string: bytes) -> bytes:
    length = int(random.integers(len(string) + 1))
    # A rANS decoder reads its state from the first 8 bytes, then words of 4: these get past that.
    state, words = string[:8], len(string[8:]) // 4
    ways = (
        lambda: state + random.bytes(4 * words),
        lambda: state + b"\xff" * (4 * words),
        lambda: string[: 8 + 4 * int(random.integers(words + 1))],
        lambda: _flipped(random, string),
        lambda: string[:length],
        lambda: string + random.bytes(64),
        lambda: random.bytes(len(string)),
        lambda: b"\xff" * len(string),
        lambda: bytes(len(string)),
        lambda: b"",
    )
    return ways[int(random.integers(len(ways)))]()


def spliced(random: np.random.Generator, corpus: Corpus) -> bytes:
    """Each string from another stream, of this codec or of a foreign one."""
    stream = parse_stream(_pick(random, corpus.own))
    others = [parse_stream(_pick(random, corpus.own + corpus.foreign)) for _ in stream.strings]
    strings = (o.strings[i % len(o.strings)] for i, o in enumerate(others))
    return replace(stream, strings=tuple(strings)).pack()


def renamed(random: np.random.Generator, corpus: Corpus) -> bytes:
    """A stream of another codec under this codec's name, or in the other mode."""
    own = parse_stream(_pick(random, corpus.own))
    other = parse_stream(_pick(random, corpus.foreign + corpus.own))
    return replace(other, codec_id=own.codec_id, adapter_id=own.adapter_id).pack()


def many_strings(random: np.random.Generator, corpus: Corpus) -> bytes:
    """As many strings as a header can have."""
    stream = parse_stream(_pick(random, corpus.own))
    return replace(stream, strings=(stream.strings * MAX_STRINGS)[:MAX_STRINGS]).pack()


UNSEALED: tuple[Mutation, ...] = (flip, cut, extend, noise, foreign)
"""The checksum or the codec's name stops every one of these."""
SEALED: tuple[Mutation, ...] = (
    forged_header,
    forged_lengths,
    forged_size,
    huge_size,
    forged_strings,
    spliced,
    renamed,
    many_strings,
)
MUTATIONS = UNSEALED + SEALED


def outcome(decode: Callable[[bytes], UInt8Array], mutation: Mutation, data: bytes) -> str:
    """What came out: `picture`, why it was refused in a few words, or `FAILED` and what is wrong."""
    try:
        pixels = decode(data)
    except BitstreamError as error:
        return _reason(str(error))
    except Exception as error:  # the finding: anything but a BitstreamError is one
        return f"FAILED: {type(error).__name__}: {error}"
    stream = parse_stream(data)
    if mutation in UNSEALED:
        return "FAILED: a damaged stream was decoded"
    if pixels.shape != (stream.height, stream.width, 3) or pixels.dtype != np.uint8:
        return f"FAILED: {pixels.dtype} {pixels.shape} for {stream.width}x{stream.height}"
    return PICTURE


REASONS = {
    "not an interfero": "no container",
    "cut off": "no container",
    "version": "no container",
    "checksum": "checksum",
    "needs source codec": "codec or adapter",
    "needs adapter": "codec or adapter",
    "cannot be coded": "size",
    "cannot hold": "too short",
    "not from this coder": "no rANS string",
    "does not decode": "does not decode",
}
"""Part of a message to column of the summary."""


def _reason(message: str) -> str:
    return next((r for part, r in REASONS.items() if part in message), "header")


def pictures(sides: tuple[int, ...]) -> list[UInt8Array]:
    """A few small pictures, from flat to noisy."""
    random = np.random.default_rng(0)
    images = []
    for strength, side in enumerate(sides):
        smooth = np.add.outer(np.sin(np.arange(side) / 7), np.cos(np.arange(side + 3) / 5))
        grain = random.normal(0, 15 * strength, (*smooth.shape, 3))
        images.append((128 + 50 * smooth[..., None] + grain).clip(0, 255).astype(np.uint8))
    return images


def untrained(architecture: str, seed: int) -> Codec:
    """A few thousand random weights whose latents do not all round to zero."""
    shape = Shape(architecture, 8, 12)
    torch.manual_seed(seed)
    model = build_model(shape)
    with torch.no_grad():
        model.g_a[-1].weight.mul_(300)
        if hasattr(model, "h_a"):
            model.h_a[-1].weight.mul_(3)
    return freeze_codec(model, shape, 0.013, f"tiny-{seed}", {})


def prepare(codec: str) -> tuple[Deployment, Corpus]:
    """A deployment with one adapter, and the streams to mutate."""
    if codec in UNTRAINED:
        source, other = (untrained(UNTRAINED[codec], seed) for seed in (0, 1))
    else:
        source, other = (load_codec("mbt2018-mean", value) for value in (0.013, 0.0045))
    # cawf adds strings of its own; it does not adapt a codec with a context model.
    adapted = METHODS["lora" if codec == "context" else "cawf"].build(source, 2, init_seed=0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    adapted.refresh_tables()
    deployment = Deployment(source, [adapted.eval().requires_grad_(False)])
    images = pictures((24, 40, 61, 64))
    own = [c.data for image in images for c in deployment.candidates(image, "auto")]
    alien = Deployment(other)
    return deployment, Corpus(tuple(own), tuple(alien.encode(image) for image in images))


def fuzz(
    codec: str, seed: int, first: int, count: int, patience: float, note: Path
) -> dict[str, object]:
    """Mutate and decode `count` streams; runs in the child process.

    Returns:
        `outcomes`, a count for each `mutation|outcome`, `failures` with their numbers, and
        `memory_mb`, what the process's peak grew by after valid streams had been decoded.
    """
    deployment, corpus = prepare(codec)
    # Without the guard's process around the native decoder: it has to be sound by itself.
    decode = functools.partial(deployment.decode, guarded=False)
    for data in corpus.own:
        decode(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    failures = []
    for index in range(first, first + count):
        note.write_text(str(index))
        faulthandler.dump_traceback_later(patience, exit=True)
        random = np.random.default_rng((seed, index))
        mutation = MUTATIONS[index % len(MUTATIONS)]
        result = outcome(decode, mutation, mutation(random, corpus))
        outcomes[f"{mutation.__name__}|{result}"] += 1
        if result.startswith("FAILED"):
            failures.append(f"stream {index} ({mutation.__name__}): {result}")
    faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"outcomes": outcomes, "failures": failures, "memory_mb": grown / 1024}


def supervise(command: list[str], note: Path) -> str | None:
    """Run a child process; None if it ended well, else how it ended and on which stream."""
    child = subprocess.run(command, check=False, capture_output=True, text=True)
    if child.returncode == 0:
        return None
    stream = note.read_text() if note.exists() else "none yet"
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit {child.returncode}"
    return f"FAILED: crash or hang ({how}) on stream {stream}\n{child.stderr[-2000:]}"


def run_codec(codec: str, arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Fuzz one codec in a child process; its result, with a crash or a hang among the failures."""
    note, result = folder / f"{codec}.at", folder / f"{codec}.json"
    command = [sys.executable, "-W", "ignore", __file__, "--worker", str(result), "--codecs", codec]
    for name in ("seed", "first", "count", "patience"):
        command += [f"--{name}", str(getattr(arguments, name))]
    ended = supervise(command, note)
    if ended is not None:
        return {"outcomes": {}, "failures": [ended], "memory_mb": 0.0}
    found: dict[str, object] = json.loads(result.read_text())
    return found


def summary(codec: str, outcomes: dict[str, int]) -> Table:
    """Mutations by rows, outcomes by columns."""
    columns = [*dict.fromkeys(REASONS.values()), "header", PICTURE, "FAILED"]
    table = Table("mutation", *columns, title=f"{codec}: {sum(outcomes.values())} streams")
    for mutation in MUTATIONS:
        counts: Counter[str] = Counter()
        for key, number in outcomes.items():
            name, result = key.split("|", 1)
            if name == mutation.__name__:
                counts[result.partition(":")[0]] += number
        table.add_row(mutation.__name__, *(str(counts[c] or "") for c in columns))
    return table


def main() -> int:
    """Fuzz every codec, print a summary; 0 if nothing but refusals and pictures came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20000, help="streams, over all codecs")
    parser.add_argument("--first", type=int, default=0, help="number of the first stream")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--patience", type=float, default=60, help="seconds one stream may take")
    parser.add_argument("--memory", type=float, default=256, help="MB the peak may grow by")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        note = arguments.worker.with_suffix(".at")
        a = arguments
        found = fuzz(a.codecs[0], a.seed, a.first, a.count, a.patience, note)
        arguments.worker.write_text(json.dumps(found))
        return 0
    arguments.count = -(-arguments.count // len(arguments.codecs))
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for codec in arguments.codecs:
            found = run_codec(codec, arguments, Path(folder))
            failures += report(codec, found, arguments.memory)
    return 1 if failures else 0


def report(codec: str, found: dict[str, object], memory_mb: float) -> list[str]:
    """Print what came out of one codec, and return what should not have."""
    failures, grown = found["failures"], found["memory_mb"]
    outcomes = found["outcomes"]
    assert isinstance(failures, list)
    assert isinstance(outcomes, dict)
    assert isinstance(grown, float)
    if grown > memory_mb:
        failures.append(f"FAILED: memory grew by {grown:.0f} MB, allowed are {memory_mb:.0f}")
    console = Console(width=140)
    console.print(summary(codec, outcomes))
    console.print(f"{codec}: peak memory grew by {grown:.0f} MB; {len(failures)} failures")
    for failure in failures[:20]:
        console.print(failure, markup=False)
    return failures


if __name__ == "__main__":
    sys.exit(main())
