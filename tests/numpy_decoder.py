"""A second decoder, written from docs/bitstream.md in NumPy alone: no torch, no CompressAI, not our code.

    python tests/numpy_decoder.py CODEC.safetensors STREAM OUT.npz

It decodes source-mode streams of version 3 by the factorized prior (bmshj2018-factorized) and the
mean-scale hyperprior (mbt2018-mean). OUT holds `pixels` (height, width, 3) and `symbols_0`, `symbols_1`
in coding order. It is slow, and meant to be read beside the document.
"""

import binascii
import json
import struct
import sys
from pathlib import Path

import numpy as np

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}
LIMIT = 1 << 24


class StreamError(Exception):
    """The stream cannot be decoded."""


def read_codec(path):
    """Tensors of a codec file by name, and what its metadata says."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    metadata = json.loads(header.pop("__metadata__")["interfero"])
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + start : 8 + size + end], DTYPES[entry["dtype"]])
        values = values.reshape(entry["shape"])
        tensors[name] = values.astype(np.float32) if values.dtype == np.float16 else values
    return tensors, metadata


def parse(data):
    """Width, height, strings and symbol checksum of a container."""
    if data[:2] != b"if" or data[2] >> 5 != 3 or data[2] & 1:
        raise StreamError("no source-mode stream of version 3")
    if binascii.crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "little"):
        raise StreamError("damaged")
    count, position = data[2] >> 1 & 15, 9
    width, height = struct.unpack_from("<HH", data, position)
    position += 4
    lengths = []
    for _ in range(count - 1):
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(value)
    lengths.insert(0, len(data) - 4 - position - sum(lengths))
    strings = []
    for length in lengths:
        strings.append(data[position : position + length])
        position += length
    return width, height, strings, int.from_bytes(data[-4:-2], "little")


class Rans:
    """The rANS decoder: a state of 64 bits, words of 32."""

    def __init__(self, string):
        self.words = np.frombuffer(string, "<u4").tolist()
        self.state = self.words[0] | self.words[1] << 32
        self.position = 2

    def _renew(self):
        if self.state < 1 << 31:
            self.state = self.state << 32 | self.words[self.position]
            self.position += 1

    def _four_bits(self):
        value = self.state & 15
        self.state >>= 4
        self._renew()
        return value

    def symbol(self, cdf, offset):
        """The next symbol, by a row of cumulative frequencies and the symbol it starts at."""
        target = self.state & 0xFFFF
        index = int(np.searchsorted(cdf, target, side="right")) - 1
        start, width = int(cdf[index]), int(cdf[index + 1]) - int(cdf[index])
        self.state = width * (self.state >> 16) + target - start
        self._renew()
        escape = len(cdf) - 2
        if index < escape:
            return index + offset
        count = part = self._four_bits()
        while part == 15:
            part = self._four_bits()
            count += part
        raw = 0
        for place in range(count):
            raw |= self._four_bits() << 4 * place
        return (-(raw >> 1) - 1 if raw & 1 else (raw >> 1) + escape) + offset


class Tables:
    """The rows of an entropy model."""

    def __init__(self, tensors, name):
        lengths = tensors[f"{name}._cdf_length"].tolist()
        packed = tensors[f"{name}._quantized_cdf"]
        self.rows = np.split(packed, np.cumsum(lengths)[:-1])
        self.offsets = tensors[f"{name}._offset"].tolist()

    def decode(self, string, rows):
        """One symbol for each row number, in their order (channel, row, column)."""
        coder = Rans(string)
        flat = rows.ravel().tolist()
        symbols = [coder.symbol(self.rows[r], self.offsets[r]) for r in flat]
        return np.array(symbols, np.int64).reshape(rows.shape)


def channels_latent(tensors, string, height, width):
    """Symbols and values of a latent that the factorized prior codes: a row a channel."""
    medians = tensors["entropy_bottleneck.quantiles"][:, 0, 1].astype(np.float32)
    shape = (len(medians), height, width)
    rows = np.broadcast_to(np.arange(len(medians))[:, None, None], shape)
    symbols = Tables(tensors, "entropy_bottleneck").decode(string, rows)
    return symbols, symbols.astype(np.float32) + medians[:, None, None]


def to_integers(values):
    return np.clip(np.floor(values.astype(np.float64) * 4096), -LIMIT, LIMIT).astype(np.int64)


def rescaled(sums):
    """Sums of values times weights back to values: rounded down, clipped."""
    return np.clip(sums >> 16, -LIMIT, LIMIT)


def parameters(tensors, name):
    """Weights and bias of a layer as integers."""
    weight = np.rint(tensors[f"{name}.weight"].astype(np.float64) * 2.0**16).astype(np.int64)
    bias = np.rint(tensors[f"{name}.bias"].astype(np.float64) * 2.0**28).astype(np.int64)
    return weight, bias


def transposed(x, weight, bias):
    """A transposed convolution of 5x5 that doubles height and width; integers or floats."""
    height, width = 2 * x.shape[1], 2 * x.shape[2]
    sums = np.zeros((weight.shape[1], height + 3, width + 3), x.dtype)
    for a in range(5):
        for b in range(5):
            sums[:, a : a + height - 1 : 2, b : b + width - 1 : 2] += np.tensordot(
                weight[:, :, a, b].T, x, axes=1
            )
    return sums[:, 2 : 2 + height, 2 : 2 + width] + bias[:, None, None]


def convolved(x, weight, bias):
    """A convolution of 3x3 with a border of zeros."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    sums = np.zeros((len(weight), height, width), x.dtype)
    for a in range(3):
        for b in range(3):
            part = padded[:, a : a + height, b : b + width]
            sums += np.tensordot(weight[:, :, a, b], part, axes=1)
    return sums + bias[:, None, None]


def leaky_relu(x):
    """Slope 0.01, as the integer 655 of 2^16."""
    return np.maximum(x, 0) + rescaled(655 * np.minimum(x, 0))


def hyper_latent(tensors, strings, height, width):
    """Symbols of both latents in coding order, and the values of the second."""
    z, z_hat = channels_latent(tensors, strings[1], height, width)
    x = to_integers(z_hat)
    x = leaky_relu(rescaled(transposed(x, *parameters(tensors, "h_s.0"))))
    x = leaky_relu(rescaled(transposed(x, *parameters(tensors, "h_s.2"))))
    x = rescaled(convolved(x, *parameters(tensors, "h_s.4")))
    scales, means = np.split((x / 4096).astype(np.float32), 2)
    table = tensors["gaussian_conditional.scale_table"]
    bound = tensors["gaussian_conditional.lower_bound_scale.bound"]
    rows = np.searchsorted(table[:-1], np.maximum(scales, bound), side="left")
    y = Tables(tensors, "gaussian_conditional").decode(strings[0], rows)
    return [z, y], y.astype(np.float32) + means


def picture(tensors, x):
    """The synthesis transform: four transposed convolutions, an inverse GDN behind all but the last."""
    x = x.astype(np.float64)
    for layer in (0, 2, 4, 6):
        weight, bias = tensors[f"g_s.{layer}.weight"], tensors[f"g_s.{layer}.bias"]
        x = transposed(x, weight.astype(np.float64), bias.astype(np.float64))
        if layer < 6:
            beta = squared(tensors[f"g_s.{layer + 1}.beta"], 1e-6)
            gamma = squared(tensors[f"g_s.{layer + 1}.gamma"], 0.0)
            norm = np.tensordot(gamma, x**2, axes=1) + beta[:, None, None]
            x = x * np.sqrt(norm)
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def squared(parameter, minimum):
    """A GDN parameter as it is used: its stored form is a square root."""
    pedestal = 2.0**-36
    bounded = np.maximum(parameter.astype(np.float64), np.sqrt(minimum + pedestal))
    return bounded**2 - pedestal


def decode(codec_path, data):
    """Pixels (height, width, 3), and the symbols of each latent in coding order."""
    tensors, metadata = read_codec(codec_path)
    width, height, strings, checksum = parse(data)
    if metadata["architecture"] == "bmshj2018-factorized":
        symbols, latent = channels_latent(tensors, strings[0], -(-height // 16), -(-width // 16))
        symbols = [symbols]
    else:
        symbols, latent = hyper_latent(tensors, strings, -(-height // 64), -(-width // 64))
    found = 0
    for values in symbols:
        found = binascii.crc_hqx(values.astype("<i4").tobytes(), found)
    if found != checksum:
        raise StreamError("other symbols than were coded")
    return picture(tensors, latent)[:height, :width], symbols


def main():
    codec_path, stream_path, out = sys.argv[1:]
    pixels, symbols = decode(codec_path, Path(stream_path).read_bytes())
    named = {f"symbols_{i}": values.ravel() for i, values in enumerate(symbols)}
    np.savez(out, pixels=pixels, modules=sorted(m.partition(".")[0] for m in sys.modules), **named)


if __name__ == "__main__":
    main()
