import pytest
import torch
from pytorch_optimizer.optimizer.soap import SOAP
from torch import nn

from interfero.engine.checkpoints import Checkpoints, load_state, save_state
from interfero.errors import StorageError
from interfero.store.tensors import load_tensors, save_tensors

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "soap": lambda p: SOAP(p, lr=1e-2, weight_decay=0.0, precondition_frequency=2),
}


def make_model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(),
                             nn.Linear(2 * 4 * 4, 5))  # fmt: skip


def train(model, optimizer, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        image = torch.rand(2, 3, 8, 8, generator=generator)
        optimizer.zero_grad()
        (model(image) - 1).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_stopped_in_the_middle_is_as_never_stopped(tmp_path, make):
    whole = make_model()
    train(whole, make(whole.parameters()), range(6))

    first = make_model()
    optimizer = make(first.parameters())
    train(first, optimizer, range(3))
    path = tmp_path / "state.safetensors"
    save_state(path, dict(first.named_parameters()), [optimizer], {"step": 3})

    second = make_model()
    with torch.no_grad():
        for value in second.parameters():
            value.zero_()
    optimizer = make(second.parameters())
    info = load_state(path, dict(second.named_parameters()), [optimizer])
    assert info == {"step": 3}
    train(second, optimizer, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_strides_that_a_state_states_take_no_more_than_its_tensors(tmp_path):
    """A stride of a thousand million is four gigabytes for two numbers."""
    model = make_model()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer, range(1))
    path = tmp_path / "state.safetensors"
    save_state(path, dict(model.named_parameters()), [optimizer], {"step": 1})
    tensors, metadata = load_tensors(path)
    del metadata["content_hash"]  # Whoever forges a stride makes it anew; older states have none.
    metadata["optimizers"][0]["state"]["0"]["exp_avg"]["stride"] = [10**9, 9, 3, 1]
    save_tensors(path, tensors, metadata)
    other = make_model()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(StorageError, match=r"strides \[1000000000, 9, 3, 1\] would take"):
        load_state(path, dict(other.named_parameters()), [OPTIMIZERS["adam"](other.parameters())])
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_without_its_moments_an_optimiser_would_end_elsewhere(tmp_path):
    """The test above can fail."""
    whole = make_model()
    train(whole, OPTIMIZERS["adam"](whole.parameters()), range(6))
    model = make_model()
    train(model, OPTIMIZERS["adam"](model.parameters()), range(3))
    train(model, OPTIMIZERS["adam"](model.parameters()), range(3, 6))
    assert not torch.equal(whole[0].weight, model[0].weight)


def test_the_learning_rate_comes_back(tmp_path):
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
    save_state(tmp_path / "s", dict(model.named_parameters()), [optimizer], {})
    other = torch.optim.Adam(model.parameters(), lr=0.1)
    load_state(tmp_path / "s", dict(model.named_parameters()), [other])
    assert other.param_groups[0]["lr"] == 0.5


def test_another_model_is_refused(tmp_path):
    model = make_model()
    save_state(tmp_path / "s", dict(model.named_parameters()), [], {})
    other = dict(nn.Linear(2, 2).named_parameters())
    with pytest.raises(StorageError, match="belongs to other parameters"):
        load_state(tmp_path / "s", other, [])


def test_a_damaged_state_is_refused(tmp_path):
    model = make_model()
    path = tmp_path / "s"
    save_state(path, dict(model.named_parameters()), [], {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StorageError, match="not a whole"):
        load_state(path, dict(model.named_parameters()), [])


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_one_changed_bit_is_noticed(tmp_path, place):
    """The format alone has no checksum: a changed weight would pass for a weight."""
    model = make_model()
    path = tmp_path / "s"
    save_state(path, dict(model.named_parameters()), [], {"curve": [[1, {"loss": 0.1}]]})
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=r"damaged|not a whole"):
        load_state(path, dict(model.named_parameters()), [])


def test_other_shapes_are_refused_before_anything_changes(tmp_path):
    model = make_model()
    save_state(tmp_path / "s", dict(model.named_parameters()), [], {})
    other = make_model()
    other[4] = nn.Linear(2 * 4 * 4, 6)
    with torch.no_grad():
        other[0].weight.zero_()
    with pytest.raises(StorageError, match=r"'4\.bias'"):
        load_state(tmp_path / "s", dict(other.named_parameters()), [])
    assert not other[0].weight.any()


def write(checkpoints, key, step):
    checkpoints.write(key, {"w": torch.full((2,), float(step))}, [], {"step": step})


def test_the_newest_state_and_the_one_before_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest("a") is None
    for step in (1, 2, 3):
        write(checkpoints, "a", step)
    write(checkpoints, "b", 9)
    found = []
    while path := checkpoints.newest("a"):
        found.append(load_state(path, {"w": torch.zeros(2)}, [])["step"])
        path.write_bytes(path.read_bytes()[:-1])
    assert found == [3, 2]
    assert load_state(checkpoints.newest("b"), {"w": torch.zeros(2)}, [])["step"] == 9


def test_a_damaged_state_never_pushes_out_a_whole_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, "a", 1)
    write(checkpoints, "a", 2)
    path = checkpoints.newest("a")
    path.write_bytes(b"")
    assert checkpoints.newest("a") != path
    write(checkpoints, "a", 3)
    checkpoints.newest("a").unlink()
    assert load_state(checkpoints.newest("a"), {"w": torch.zeros(2)}, [])["step"] == 1


def test_deleting_leaves_nothing_of_a_key_and_all_of_others(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for key in ("a", "a", "b"):
        write(checkpoints, key, 1)
    (checkpoints.folder / ".a.safetensors.killed").write_bytes(b"half")
    checkpoints.delete("a")
    checkpoints.delete("never written")
    assert [p.name for p in checkpoints.folder.iterdir()] == ["b.safetensors"]
