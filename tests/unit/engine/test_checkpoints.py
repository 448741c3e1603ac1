import pytest
import torch
from pytorch_optimizer.optimizer.soap import SOAP
from torch import nn

from interfero.engine.checkpoints import load_state, save_state
from interfero.errors import StorageError

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
