"""The container: round trip, and no damaged byte gets past it."""

import struct
import zlib

import pytest

from interfero.codecs.bitstream import (
    MAX_PIXELS,
    Stream,
    parse_stream,
)
from interfero.errors import BitstreamError

SOURCE = Stream(b"\x01\x02\x03\x04", None, 129, 67, (b"latents", b"", b"h" * 300))
TARGET = Stream(b"\x01\x02\x03\x04", b"\xff\xfe\xfd\xfc", 1, 1, (b"x",))


def sealed(body: bytes) -> bytes:
    """A container whose checksum is right, whatever it says."""
    return body + struct.pack("<I", zlib.crc32(body))


def container(width: int = 8, height: int = 8, lengths: bytes = b"\x01", count: int = 1) -> bytes:
    head = b"if\x02ABCD" + struct.pack("<HHB", width, height, count)
    return sealed(head + lengths + b"x")


@pytest.mark.parametrize("stream", [SOURCE, TARGET, Stream(b"abcd", None, 65535, 2, ())])
def test_round_trip(stream):
    assert parse_stream(stream.pack()) == stream


def test_the_layout_is_the_documented_one():
    expected = b"if" + bytes([1 << 1 | 1]) + b"\x01\x02\x03\x04" + b"\xff\xfe\xfd\xfc"
    expected += b"\x01\x00\x01\x00" + b"\x01" + b"\x01" + b"x"
    assert TARGET.pack() == sealed(expected)


def test_long_strings_have_their_length_in_leb128():
    # 300 = 0b10_0101100: low seven bits 0x2c with the continuation bit, then 2.
    assert b"\x07\x00\xac\x02latents" in SOURCE.pack()


@pytest.mark.parametrize("stream", [SOURCE, TARGET])
def test_every_damaged_byte_is_refused(stream):
    data = stream.pack()
    for position in range(len(data)):
        for change in range(1, 256):
            damaged = bytearray(data)
            damaged[position] ^= change
            with pytest.raises(BitstreamError):
                parse_stream(bytes(damaged))


@pytest.mark.parametrize("stream", [SOURCE, TARGET])
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
    with pytest.raises(BitstreamError, match="version 2, this release reads version 1"):
        parse_stream(sealed(b"if" + bytes([2 << 1]) + SOURCE.pack()[3:-4]))


def test_the_helper_makes_a_valid_container():
    assert parse_stream(container()).strings == (b"x",)


@pytest.mark.parametrize(
    "data",
    [
        container(width=0),
        container(height=0),
        container(width=65535, height=65535),
        container(width=8192, height=8193),
        container(lengths=b"\x01" * 9, count=9),
        container(lengths=b"\x02"),
        container(lengths=b"\x00"),
        container(lengths=b"\xff\xff\xff\xff\xff\x7f"),
        container(lengths=b"\x01" * 3, count=8),
        sealed(b"if\x03ABCD" + b"\x08\x00\x08"),
        sealed(b"if\x02ABCD" + struct.pack("<HHB", 8, 8, 2) + b"\x80\x80"),
    ],
)
def test_a_valid_checksum_does_not_excuse_the_content(data):
    with pytest.raises(BitstreamError):
        parse_stream(data)


def test_the_largest_image_passes():
    assert MAX_PIXELS == 2**26
    assert parse_stream(container(width=8192, height=8192)).width == 8192


@pytest.mark.parametrize(("width", "height"), [(65536, 8), (0, 8), (8192, 8193)])
def test_what_cannot_be_read_back_is_not_written(width, height):
    with pytest.raises(BitstreamError, match=f"{width}x{height}"):
        Stream(b"abcd", None, width, height, (b"x",)).pack()
