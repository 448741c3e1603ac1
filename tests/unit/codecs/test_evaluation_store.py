"""What was coded once is not coded again; what is damaged is."""

import dataclasses

import numpy as np
import pytest

from interfero.adaptation import find_method
from interfero.codecs import evaluation_store
from interfero.codecs.catalogue import load_codec
from interfero.codecs.classical import ClassicalPoint, Jpeg
from interfero.codecs.coding import SourceCoder
from interfero.codecs.evaluation import EvaluationOptions, evaluate
from interfero.codecs.evaluation_store import Entry, EvaluationKey, EvaluationStore, codec_identity
from interfero.domains.domain import Domain
from interfero.domains.images import Sample
from interfero.errors import StorageError
from trainables.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class CountingCoder(SourceCoder):
    """The source codec; counts how often its model is asked to code, decode or estimate."""

    calls: list = dataclasses.field(default_factory=list)

    @property
    def model(self):
        self.calls.append(1)
        return self.codec.model


@dataclasses.dataclass(frozen=True)
class CountingJpeg(Jpeg):
    """JPEG that notes the qualities it is asked for."""

    def encode(self, pixels_HWC, quality):
        COUNTED.append(quality)
        return super().encode(pixels_HWC, quality)


COUNTED: list = []


def sample(name, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (66, 70, 3), dtype=np.uint8)
    return Sample(name, name, pixels)


@pytest.fixture
def codec(tiny_codec_file):
    return load_codec(str(tiny_codec_file), 0.013)


@pytest.fixture
def store(tmp_path):
    return EvaluationStore(tmp_path / "evaluations")


def test_the_second_evaluation_codes_nothing_and_says_the_same(codec, store):
    images = [sample("a", 1), sample("b", 2)]
    first, second = CountingCoder(codec), CountingCoder(codec)
    once = evaluate(first, images, store=store)
    again = evaluate(second, images, store=EvaluationStore(store.folder))
    assert first.calls
    assert not second.calls
    assert once == again == evaluate(codec, images)


def test_the_same_pixels_under_another_name_are_known(codec, store):
    evaluate(codec, [sample("a")], store=store)
    coder = CountingCoder(codec)
    renamed = evaluate(coder, [sample("z")], store=store)
    assert not coder.calls
    assert (renamed.images[0].name, renamed.images[0].group) == ("z", "z")


def test_a_new_image_codes_only_itself(codec, store):
    evaluate(codec, [sample("a", 1)], store=store)
    alone, with_known = CountingCoder(codec), CountingCoder(codec)
    evaluate(alone, [sample("b", 2)])
    evaluate(with_known, [sample("a", 1), sample("b", 2)], store=store)
    assert len(with_known.calls) == len(alone.calls)


@pytest.mark.parametrize("options", [{"max_tile": 64}, {"estimate": False}])
def test_other_settings_are_another_measurement(codec, store, options):
    evaluate(codec, [sample("a")], store=store)
    coder = CountingCoder(codec)
    evaluate(coder, [sample("a")], EvaluationOptions(**options), store)
    assert coder.calls


def test_classical_codecs_are_kept_by_quality(store):
    COUNTED.clear()
    for quality in (40, 40, 60, 40, 60):
        evaluate(ClassicalPoint(CountingJpeg(), quality), [sample("a")], store=store)
    assert COUNTED == [40, 60]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "replaced"])
def test_a_damaged_entry_is_computed_again(codec, store, damage):
    once = evaluate(codec, [sample("a")], store=store)
    evaluate(codec, [sample("b", 3)], store=store)
    files = sorted(store.folder.rglob("*.safetensors"))
    for file in files:
        data = bytearray(file.read_bytes())
        if damage == "cut":
            data = data[: len(data) // 2]
        elif damage == "flipped":
            place = data.index(b"num_bytes") + 14
            data[place] ^= 1
        elif damage == "emptied":
            data = b""
        else:
            data = b"not a safetensors file at all"
        file.write_bytes(data)
    coder = CountingCoder(codec)
    assert evaluate(coder, [sample("a")], store=store) == once
    assert coder.calls
    repaired = CountingCoder(codec)
    evaluate(repaired, [sample("a")], store=store)
    assert not repaired.calls


@pytest.mark.parametrize("channels", [3, 1, 12])
def test_an_entry_comes_back_whole(store, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, channels), dtype=np.uint8)
    entry = Entry(
        {"mse": 1.5, "lpips": None}, (b"ab", b"", b"\x00"), ((1, -70000), ()), ((2,),), pixels
    )
    key = EvaluationKey("codec", "image", {"kind": "test"})
    store.write(key, entry)
    back = store.read(key)
    assert (back.numbers, back.streams) == (entry.numbers, entry.streams)
    assert (back.symbols, back.decoded_symbols) == (entry.symbols, entry.decoded_symbols)
    assert np.array_equal(back.picture(), pixels)
    assert store.read(EvaluationKey("codec", "other image", {"kind": "test"})) is None


def test_a_flipped_byte_of_a_stream_or_picture_is_seen(store):
    key = EvaluationKey("codec", "image")
    pixels = np.full((16, 16, 3), 77, np.uint8)
    store.write(key, Entry({}, (b"stream",), pixels_HWC=pixels))
    path = store.path(key)
    whole = path.read_bytes()
    head = int.from_bytes(whole[:8], "little") + 8
    for place in range(head, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert store.read(key) is None
    path.write_bytes(whole)
    assert store.read(key) is not None


def test_what_was_not_kept_is_an_error():
    with pytest.raises(StorageError, match="without its picture"):
        Entry({}).picture()
    with pytest.raises(StorageError, match="without its mse"):
        Entry({"mse": None}).number("mse")


def test_the_key_depends_on_everything_that_decides_the_numbers(monkeypatch):
    key = EvaluationKey("codec", "image", {"max_tile": 64})
    others = [
        EvaluationKey("codec 2", "image", {"max_tile": 64}),
        EvaluationKey("codec", "image 2", {"max_tile": 64}),
        EvaluationKey("codec", "image", {"max_tile": 128}),
    ]
    digests = {k.digest for k in (key, *others)}
    assert len(digests) == 4
    assert EvaluationKey("codec", "image", {"max_tile": 64}).digest == key.digest
    monkeypatch.setattr(evaluation_store, "environment", lambda: "another torch")
    assert key.digest not in digests


def test_codecs_are_told_apart_by_content(codec, tiny_codec_file):
    other = load_codec(str(tiny_codec_file), 0.013)
    assert codec_identity(codec) == codec_identity(other) == codec_identity(SourceCoder(other))
    other.model.g_s[0].weight.data += 1e-3
    assert codec_identity(codec) != codec_identity(other)


def test_adapted_codecs_are_told_apart_by_mode_and_parameters(codec):
    adapted = find_method("finetune").build(codec, 0, 0)
    identity = codec_identity(adapted)
    assert identity != codec_identity(codec)
    next(p for n, p in adapted.named_parameters() if n.endswith("weight")).data += 1e-3
    adapted.name_adapter()
    assert codec_identity(adapted) != identity
    adapted.mode = "source"
    assert codec_identity(adapted) != identity


def test_references_are_coded_once_for_every_target(codec, store):
    """Two workbenches, as of two targets and two processes, share the source domain's references."""
    source = Domain("source", (sample("s", 1), sample("v", 2)), (sample("t", 3), sample("u", 4)))
    target = Domain("target", (sample("x", 5), sample("w", 6)), (sample("y", 7),))

    def bench(kept):
        return Workbench(codec, lambda: codec, target, source, kept)

    first = bench(store).references(source, 8)
    bench(store).validated(source, 0)
    files = {p: p.stat().st_mtime_ns for p in store.folder.rglob("*.safetensors")}
    assert len(files) == len(source.test) + len(source.split(1, 0).validation)
    calls = [codec.model.register_forward_hook(lambda *_: pytest.fail("coded again"))]
    calls += [codec.model.g_a.register_forward_hook(lambda *_: pytest.fail("coded again"))]
    calls += [codec.model.g_s.register_forward_hook(lambda *_: pytest.fail("decoded again"))]
    second = bench(EvaluationStore(store.folder)).references(source, 8)
    scores = bench(store).validated(source, 0)
    for call in calls:
        call.remove()
    assert {p: p.stat().st_mtime_ns for p in store.folder.rglob("*.safetensors")} == files
    plain = bench(None)
    assert scores == plain.validated(source, 0)
    for one, two, three in zip(first, second, plain.references(source, 8), strict=True):
        assert one.coded == two.coded == three.coded
        assert one.score == two.score == three.score
        assert one.decoded.symbols == two.decoded.symbols == three.decoded.symbols
        pictures = [r.decoded.pixels_HWC for r in (one, two, three)]
        assert np.array_equal(pictures[0], pictures[1])
        assert np.array_equal(pictures[0], pictures[2])
