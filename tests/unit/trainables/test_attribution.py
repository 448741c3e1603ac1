"""Shares of forgetting: worked by hand, and on codecs that changed in known places."""

import pytest
import torch

from interfero.adaptation import METHODS
from interfero.codecs.checkpoint import read_codec
from interfero.domains.ingest import load_folder
from interfero.errors import CodecError
from trainables.attribution import attribution, shapley_values


def test_shares_of_a_game_worked_by_hand():
    """Two gloves make a pair: left, and two rights. Shapley's own kind of example."""

    def value(names):
        return 6.0 if "left" in names and names & {"right", "other"} else 0.0

    shares = shapley_values(("left", "right", "other"), value)
    assert shares == {"left": 4.0, "right": 1.0, "other": 1.0}


@pytest.fixture
def codec(tiny_codec_file):
    return read_codec(tiny_codec_file, "tiny")


@pytest.fixture(scope="module")
def samples(image_folder):
    return load_folder("pictures", image_folder).test[:2]


def changed(codec, name):
    """A method whose trained parameters have been moved at random."""
    method = METHODS[name]
    adapted = method.build(codec, 1 if method.size_unit else 0, 0)
    adapted.train_parameters()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=random) * 0.02)
    adapted.refresh_tables()
    return adapted.eval()


@pytest.mark.parametrize(
    ("name", "guilty"),
    [
        ("finetune", {"encoder", "decoder", "hyper", "entropy"}),
        ("finetune_encoder", {"encoder", "hyper"}),
        ("freeze_entropy", {"encoder", "decoder"}),
        ("lora", {"encoder", "decoder", "hyper"}),
        ("cawf_two_way", {"encoder", "decoder", "hyper"}),
        ("gated_adapters", {"decoder"}),
    ],
)
def test_only_what_changed_has_a_share_and_shares_add_up(codec, samples, name, guilty):
    shares = attribution(changed(codec, name), samples, 0.013)
    total = shares.pop("attribution/total_percent")
    assert sum(shares.values()) == pytest.approx(total)
    moved = {k.split("/")[1].removesuffix("_percent") for k, v in shares.items() if abs(v) > 1e-9}
    assert moved == guilty


def test_a_method_with_latents_of_its_own_is_refused(codec, samples):
    with pytest.raises(CodecError, match="cannot be attributed"):
        attribution(changed(codec, "cawf"), samples, 0.013)
