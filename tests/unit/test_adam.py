"""Adam without the compiler is torch's, to the bit."""

import pytest
import torch

from interfero.adam import Adam


@pytest.mark.parametrize("fused", [True, False])
def test_it_is_torchs_to_the_bit(fused):
    found = []
    for kind in (Adam, torch.optim.Adam):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = torch.nn.Linear(40, 30)
            optimizer = kind([{"params": list(layer.parameters())}], lr=1e-2, fused=fused)
            for _ in range(3):
                optimizer.zero_grad()
                layer(torch.randn(8, 40)).square().mean().backward()
                optimizer.step()
                optimizer.load_state_dict(optimizer.state_dict())
        found.append([layer.weight.detach(), *optimizer.state_dict()["state"][0].values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_no_step_is_part_of_a_gradient():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Adam([weight])
    weight.sum().backward()
    optimizer.step()
    assert weight.grad_fn is None
