"""What a pack needs in memory, and what there is."""

import copy

import psutil
import pytest

from interfero.adaptation import METHODS
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import rd_parameters
from interfero.engine.adaptation import memory
from interfero.engine.adaptation.memory import Footprint, available_bytes, footprint
from interfero.engine.adaptation.nodes import LoopConfig

SMALL = LoopConfig(num_steps=1, batch_size=4, crop_size=64)


@pytest.fixture(scope="module")
def codec(tiny_codec_file):
    return read_codec(tiny_codec_file, "tiny")


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch):
    monkeypatch.setattr(memory, "_PROBED", {})


def test_members_fit_as_often_as_their_bytes_do():
    needed = Footprint(state=10, step=50, shared=20)
    assert needed.of_pack(3) == 30 + 50 + 20
    assert needed.of_pack(3, fused=True) == 30 + 150 + 20
    for fused in (False, True):
        for room in (60, 80, 100, 215):
            fits = needed.members_in(room, fused=fused)
            assert fits == 0 or needed.of_pack(fits, fused=fused) <= room
            assert needed.of_pack(fits + 1, fused=fused) > room


def test_a_finetuned_copy_is_its_weights_four_times(codec):
    learning = sum(4 * p.numel() for p in codec.model.parameters())
    tables = sum(b.numel() * b.element_size() for b in codec.model.buffers())
    found = footprint(METHODS["finetune"], codec, 0, SMALL)
    assert 4 * learning <= found.state <= 4 * learning + tables


def test_importances_of_ewc_are_counted(codec):
    plain, ewc = (footprint(METHODS[n], codec, 0, SMALL) for n in ("finetune", "ewc"))
    assert ewc.state - plain.state == sum(4 * p.numel() for p in rd_parameters(codec.model))


def test_activations_grow_with_the_pixels_and_weights_do_not(codec):
    loops = [SMALL, SMALL.model_copy(update={"batch_size": 16, "crop_size": 128})]
    for name in ("finetune", "ewc", "replay"):
        small, large = (footprint(METHODS[name], codec, 0, loop) for loop in loops)
        assert small.state == large.state
        assert 12 < large.step / small.step <= 16.1
        assert large.shared == 16 * small.shared


def test_what_a_process_has_counted_it_does_not_count_again(codec, monkeypatch):
    loops = [SMALL, SMALL.model_copy(update={"batch_size": 16})]
    first = footprint(METHODS["lora"], codec, 2, loops[0])
    large = footprint(METHODS["lora"], codec, 2, loops[1])
    assert large.step > first.step
    monkeypatch.setattr(memory, "_PROBED", {})
    assert footprint(METHODS["lora"], codec, 2, loops[1]) == large

    def counts(*given):
        raise AssertionError("counted")

    monkeypatch.setattr(memory, "_probe", counts)
    assert footprint(METHODS["lora"], codec, 2, loops[0]) == first
    other = copy.deepcopy(codec)
    next(iter(other.model.parameters())).data.view(-1)[0] += 1
    for method, one, size in (("lora", codec, 3), ("dora", codec, 2), ("lora", other, 2)):
        with pytest.raises(AssertionError, match="counted"):
            footprint(METHODS[method], one, size, loops[0])


def test_activations_are_those_of_a_step_of_that_size(codec):
    """Extrapolated from smaller steps, and looked at."""
    method = METHODS["finetune"]
    loop = LoopConfig(num_steps=1, batch_size=8, crop_size=64)
    adapted = method.build(codec, 0, 0).train()
    adapted.train_parameters()
    state = memory._Bytes([*adapted.parameters(), *adapted.buffers()])
    seen, _ = memory._step_bytes(method, adapted, codec, 8, state.seen)
    assert footprint(method, codec, 0, loop).step == pytest.approx(
        memory.TRANSIENT * seen, rel=0.05
    )


def test_the_shared_pass_is_counted_once(codec):
    cawf, plain = (footprint(METHODS[n], codec, s, SMALL) for n, s in (("cawf", 2), ("lora", 2)))
    batch = 2 * 4 * 3 * 64 * 64 * 4
    assert plain.shared == batch
    assert cawf.shared > 3 * batch


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_looked_at_and_nothing_changes(codec, name):
    before = codec.weights_hash
    found = footprint(METHODS[name], codec, 3 if METHODS[name].size_unit else 0, SMALL)
    # What trains nothing has no step, and its two settings are its state.
    assert min(found.state, found.shared) > 0
    assert (found.step > 0) == METHODS[name].trains
    assert codec.weights_hash == before


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "inactive_file 200"}, 500),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": ""}, None),
        ({"memory.max": "600", "memory.current": "700", "memory.stat": ""}, 0),
        (
            {
                "memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "900",
                "memory/memory.stat": "total_inactive_file 100",
            },
            200,
        ),
        ({}, None),
    ],
)  # fmt: skip
def test_a_container_has_what_its_limit_leaves(tmp_path, files, free):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = available_bytes(tmp_path)
    if free is None:
        assert found > 1000
    else:
        assert found == free


def test_memory_that_cannot_be_read_bounds_nothing(monkeypatch):
    def unreadable():
        raise OSError("no /proc here")

    monkeypatch.setattr(psutil, "virtual_memory", unreadable)
    assert available_bytes() is None
    assert memory.room_for_pack(2, "cpu", 0.0) is None


def test_packs_at_once_share_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**12)
    one, two = (memory.room_for_pack(n, "cpu", 0.0) for n in (1, 2))
    assert one - two == pytest.approx(memory.SAFETY * 10**12 / 2, rel=0.01)
    assert one < memory.SAFETY * 10**12, "an actor's own needs are not counted"
