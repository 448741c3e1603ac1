"""What a refusal says: which codec is needed, by name where the project ships it."""

import dataclasses

import pytest

from interfero.codecs.bitstream import Stream
from interfero.codecs.catalogue import available_lambdas, bundled_names, load_codec
from interfero.codecs.coding import codec_id
from interfero.codecs.identity import bundled_codecs, check_adapter, check_codec
from interfero.errors import BitstreamError

STREAM = Stream(b"ABCDtt", None, 8, 8, (b"x",))


def test_every_bundled_codec_is_known_by_the_id_of_its_streams():
    for name in bundled_names():
        for value in available_lambdas(name):
            codec = load_codec(name, value)
            assert bundled_codecs()[codec_id(codec)] == f"bundled: {name}, lambda {value:g}"
    assert len(bundled_codecs()) == sum(len(available_lambdas(n)) for n in bundled_names())


def test_a_bundled_codec_is_asked_for_by_name():
    needed = codec_id(load_codec("mbt2018-mean", 0.0045))
    stream = dataclasses.replace(STREAM, codec_id=needed)
    with pytest.raises(BitstreamError, match=r"needs.*bundled: mbt2018-mean, lambda 0.0045"):
        check_codec(stream, b"ABCDtt")
    check_codec(stream, needed)


def test_other_weights_with_the_same_tables_are_told_from_a_stranger():
    with pytest.raises(BitstreamError, match=r"41424344.*the same entropy tables, other weights"):
        check_codec(STREAM, b"abcdtt")
    with pytest.raises(BitstreamError) as refusal:
        check_codec(STREAM, b"abcdTT")
    assert "same entropy tables" not in str(refusal.value)


def test_other_tables_alone_are_refused():
    with pytest.raises(BitstreamError, match="needs source codec"):
        check_codec(STREAM, b"ABCDTT")


def test_a_target_stream_needs_its_adapter_and_a_source_stream_none():
    target = dataclasses.replace(STREAM, adapter_id=b"\1\2\3\4")
    check_adapter(STREAM, ())
    check_adapter(STREAM, (b"\1\2\3\4",))
    check_adapter(target, (b"\0\0\0\0", b"\1\2\3\4"))
    with pytest.raises(BitstreamError, match=r"needs adapter 01020304, loaded is none"):
        check_adapter(target, ())
    with pytest.raises(BitstreamError, match=r"needs adapter 01020304, loaded is 00000000"):
        check_adapter(target, (b"\0\0\0\0",))
