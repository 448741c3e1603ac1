"""The container: round trip, and no damaged byte gets past it."""

import binascii
import struct
import zlib
from dataclasses import replace

import pytest

from interfero.codecs.bitstream import (
    MAX_PIXELS,
    MAX_STRINGS,
    Stream,
    parse_stream,
    symbol_checksum,
)
from interfero.errors import BitstreamError

CODEC = b"\x01\x02\x03\x04TT"
"""Weights and tables, then tables alone."""
SOURCE = Stream(CODEC, None, 129, 67, (b"latents", b"", b"h" * 300), 0x1234)
TARGET = Stream(CODEC, b"\xff\xfe\xfd\xfc", 1, 1, (b"x",), 0xBEEF)
OLD = replace(SOURCE, symbol_checksum=0, version=2)


def sealed(body: bytes) -> bytes:
    """A container whose checksum is right, whatever it says."""
    body += struct.pack("<H", 0xBEEF)
    return body + struct.pack("<H", binascii.crc_hqx(body, 0))


def kind(strings: int, *, target: bool = False, version: int = 3) -> bytes:
    return bytes([version << 5 | strings << 1 | target])


def container(width: int = 8, height: int = 8, lengths: bytes = b"\x01", count: int = 2) -> bytes:
    head = b"if" + kind(count) + b"ABCDTT" + struct.pack("<HH", width, height)
    return sealed(head + lengths + b"xy")


@pytest.mark.parametrize("stream", [SOURCE, TARGET, OLD, Stream(b"abcdef", None, 65535, 2, (b"",))])
def test_round_trip(stream):
    assert parse_stream(stream.pack()) == stream


def test_the_layout_is_the_documented_one():
    expected = b"if" + kind(1, target=True) + b"\x01\x02\x03\x04" + b"TT" + b"\xff\xfe\xfd\xfc"
    expected += b"\x01\x00\x01\x00" + b"x"
    assert TARGET.pack() == sealed(expected)


def test_version_2_ends_in_one_checksum_of_32_bits():
    head = b"if" + kind(1, version=2) + CODEC + b"\x01\x00\x01\x00" + b"x"
    stream = parse_stream(head + struct.pack("<I", zlib.crc32(head)))
    assert (stream.version, stream.strings, stream.symbol_checksum) == (2, (b"x",), 0)
    assert len(OLD.pack()) == len(SOURCE.pack())


def test_the_checksum_of_symbols_is_of_their_bytes_in_order():
    # CRC-16/XMODEM of "123456789" is 0x31C3 (its published check value).
    first = struct.unpack("<2i", b"12345678")
    assert binascii.crc_hqx(b"9", symbol_checksum([first])) == 0x31C3
    assert symbol_checksum([first[:1], first[1:]]) == symbol_checksum([first])
    assert symbol_checksum([first[1:], first[:1]]) != symbol_checksum([first])
    assert symbol_checksum([[-1]]) == binascii.crc_hqx(b"\xff" * 4, 0)


def test_all_strings_but_the_first_have_their_length_in_leb128():
    # 300 = 0b10_0101100: low seven bits 0x2c with the continuation bit, then 2.
    assert b"\x00\xac\x02latents" in SOURCE.pack()


def test_the_header_of_a_hyperprior_stream_has_18_bytes():
    assert len(Stream(CODEC, None, 240, 160, (b"y" * 700, b"z" * 100)).pack()) == 700 + 100 + 18
    assert len(Stream(CODEC, bytes(4), 240, 160, (b"y" * 700, b"z" * 100)).pack()) == 800 + 22


@pytest.mark.parametrize("stream", [SOURCE, TARGET, OLD])
def test_every_damaged_byte_is_refused(stream):
    data = stream.pack()
    for position in range(len(data)):
        for change in range(1, 256):
            damaged = bytearray(data)
            damaged[position] ^= change
            with pytest.raises(BitstreamError):
                parse_stream(bytes(damaged))


@pytest.mark.parametrize("stream", [SOURCE, TARGET, OLD])
def test_every_truncation_is_refused(stream):
    data = stream.pack()
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            parse_stream(data[:length])


def test_a_byte_too_many_is_refused():
    with pytest.raises(BitstreamError, match="checksum"):
        parse_stream(SOURCE.pack() + b"\0")


def test_the_message_says_what_is_wrong():
    with pytest.raises(BitstreamError, match="does not start with 'if'"):
        parse_stream(b"\x89PNG" + bytes(40))
    with pytest.raises(BitstreamError, match="version 4, this release reads versions 2 and 3"):
        parse_stream(sealed(b"if" + kind(3, version=4) + SOURCE.pack()[3:-4]))
    with pytest.raises(BitstreamError, match="cut off: 16 bytes, at least 17"):
        parse_stream(SOURCE.pack()[:16])
    with pytest.raises(BitstreamError, match="300x0 pixels"):
        parse_stream(container(width=300, height=0))


def test_the_helper_makes_a_valid_container():
    assert parse_stream(container()).strings == (b"x", b"y")


@pytest.mark.parametrize(
    "data",
    [
        container(width=0),
        container(height=0),
        container(width=65535, height=65535),
        container(width=4096, height=4097),
        container(count=0),
        container(lengths=b"\x03"),
        container(lengths=b"\xff\xff\xff\xff\xff\x7f"),
        container(lengths=b"\x01" * 7, count=8),
        container(lengths=b"", count=15),
        sealed(b"if" + kind(1, target=True) + b"ABCDTT" + b"\x08\x00\x08"),
        sealed(b"if" + kind(2) + b"ABCDTT" + struct.pack("<HH", 8, 8) + b"\x80\x80"),
    ],
)
def test_a_valid_checksum_does_not_excuse_the_content(data):
    with pytest.raises(BitstreamError):
        parse_stream(data)


def test_the_largest_image_passes():
    assert MAX_PIXELS == 2**24
    assert parse_stream(container(width=4096, height=4096)).width == 4096


@pytest.mark.parametrize(("width", "height"), [(65536, 8), (0, 8), (4096, 4097)])
def test_what_cannot_be_read_back_is_not_written(width, height):
    with pytest.raises(BitstreamError, match=f"{width}x{height}"):
        Stream(CODEC, None, width, height, (b"x",)).pack()


@pytest.mark.parametrize("count", [0, MAX_STRINGS + 1])
def test_a_number_of_strings_that_four_bits_cannot_hold_is_not_written(count):
    with pytest.raises(BitstreamError, match=f"of {count} strings"):
        Stream(CODEC, None, 8, 8, (b"x",) * count).pack()


@pytest.mark.parametrize(("codec", "adapter"), [(b"abcd", None), (CODEC, b""), (CODEC, b"12345")])
def test_ids_of_another_length_are_not_written(codec, adapter):
    with pytest.raises(BitstreamError, match="do not fit a header"):
        Stream(codec, adapter, 8, 8, (b"x",)).pack()
