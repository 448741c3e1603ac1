"""Networks that decide symbols: found by name, evaluated in integers, or refused."""

import pytest
import torch
from torch import nn

from interfero.codecs.codec import Shape, build_model, lies_in
from interfero.codecs.entropy_coding import coding_setting, recorded_symbols
from interfero.codecs.exact import DECIDING, check_exact, deciding_layers, exact_networks
from interfero.codecs.integers import is_on_grid
from interfero.errors import CodecError


def model_of(architecture="mbt2018-mean"):
    torch.manual_seed(0)
    width = 8 if architecture.startswith("elic") else 4
    return build_model(Shape(architecture, 4, width)).eval()


@pytest.mark.parametrize(
    ("architecture", "networks"),
    [
        ("bmshj2018-factorized", set()),
        ("bmshj2018-hyperprior", {"h_s"}),
        ("mbt2018-mean", {"h_s"}),
        ("mbt2018", {"h_s", "context_prediction", "entropy_parameters"}),
        ("cheng2020-attn", {"h_s", "context_prediction", "entropy_parameters"}),
        ("cheng2020-anchor-checkerboard", {"h_s", "context_prediction", "entropy_parameters"}),
        (
            "elic2022-official",
            {"h_s", "context_prediction", "entropy_parameters", "channel_context"},
        ),
    ],
)
def test_what_decides_symbols_is_found_and_nothing_else(architecture, networks):
    names = deciding_layers([model_of(architecture)]).values()
    assert {part for name in names for part in name.split(".") if part in DECIDING} == networks
    assert not any(lies_in(name, "g_a", "h_a", "g_s") for name in names)


def test_networks_are_exact_meanwhile_and_floats_again_afterwards():
    model = model_of()
    z_hat = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0)) * 9
    with torch.inference_mode():
        floats = model.h_s(z_hat)
        with exact_networks([model]):
            integers = model.h_s(z_hat)
            with exact_networks([model]):
                pass
            assert torch.equal(model.h_s(z_hat), integers)
        assert torch.equal(model.h_s(z_hat), floats)
    assert is_on_grid(integers)
    assert not is_on_grid(floats)
    assert torch.allclose(integers, floats, atol=2e-3)
    with pytest.raises(RuntimeError, match="stop"), exact_networks([model]):
        raise RuntimeError("stop")
    assert "forward" not in vars(model.h_s[0])


def test_float64_and_float32_have_one_answer():
    """What a device would change at most, the inputs' last bits, is rounded away first."""
    model = model_of()
    z_hat = torch.randint(-9, 9, (1, 4, 2, 3)).float()
    with torch.inference_mode(), exact_networks([model]):
        assert torch.equal(model.h_s(z_hat), model.h_s(z_hat.double()))


def test_a_layer_of_another_kind_is_refused_by_name():
    model = model_of()
    model.h_s[1] = nn.Sigmoid()
    with pytest.raises(CodecError, match=r"'h_s.1' \(Sigmoid\) decides symbols"):
        check_exact(model)
    with pytest.raises(CodecError, match="Sigmoid"), exact_networks([model]):
        pass


def test_weights_without_a_bound_are_refused_by_name():
    model = model_of()
    with torch.no_grad():
        model.h_s[2].weight.fill_(1e4)
    with pytest.raises(CodecError, match=r"'h_s.2' decides symbols, and its sums may reach"):
        check_exact(model)


def test_a_network_under_another_name_is_noticed():
    """Scales or means that are no multiples of 2^-12 never code a symbol."""

    class Renamed(type(model_of())):
        def __getattr__(self, name):
            return super().__getattr__("synthesis" if name == "h_s" else name)

    model = model_of()
    model.update(force=True)
    model.synthesis = model.h_s
    del model.h_s
    model.__class__ = Renamed
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with (
        coding_setting(),
        recorded_symbols([model], exact=True),
        pytest.raises(CodecError, match="not evaluated in integers"),
    ):
        model.compress(image)
