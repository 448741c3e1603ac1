"""Per-picture refinement of latents: the source's own streams, at a lower loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interfero.adaptation import METHODS
from interfero.adaptation.latent_refinement import (
    RefinedCodec,
    _upward_share,
    latents_given,
    own_latents,
)
from interfero.codecs.codec import Codec
from interfero.codecs.coding import SourceCoder, decode, encode, pixel_mse, score_estimated
from interfero.domains.images import Sample
from interfero.errors import AdapterError


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth picture with an edge, 96 x 80."""
    rows, columns = np.mgrid[:80, :96]
    picture = np.stack([rows * 3, columns * 2, (rows + columns) % 64 * 3], axis=-1)
    picture[20:40, 30:70] = 240
    return picture.astype(np.uint8)


def refined(codec: Codec, learning_rate: float = 0.1, num_steps: int = 60) -> RefinedCodec:
    adapted = METHODS["latent_refinement"].build(codec, 0, 0)
    assert isinstance(adapted, RefinedCodec)
    adapted.settle(learning_rate, num_steps)
    return adapted.eval()


def test_refined_streams_are_the_source_codecs_own_at_a_lower_loss(
    tiny_codec: Codec, pixels: np.ndarray
) -> None:
    source, adapted = SourceCoder(tiny_codec), refined(tiny_codec)
    plain, coded = encode(source, pixels), encode(adapted, pixels)
    assert coded.data != plain.data
    decoded = decode(source, coded.data)
    assert decoded.symbols == coded.symbols
    assert (decoded.pixels_HWC == decode(adapted, coded.data).pixels_HWC).all()

    def loss(data: bytes) -> float:
        shown = decode(source, data).pixels_HWC
        return 8 * len(data) / (80 * 96) + tiny_codec.rd_lambda * pixel_mse(shown, pixels)

    assert loss(coded.data) < loss(plain.data)
    assert encode(refined(tiny_codec), pixels) == coded, "a search is a function of the picture"


def test_source_mode_and_old_streams_stay_the_source_codecs(
    tiny_codec: Codec, pixels: np.ndarray
) -> None:
    adapted, plain = refined(tiny_codec), encode(SourceCoder(tiny_codec), pixels)
    encode(adapted, pixels)
    assert decode(adapted, plain.data).symbols == plain.symbols
    adapted.mode = "source"
    assert encode(adapted, pixels) == plain


def test_a_search_that_harms_is_thrown_away(tiny_codec: Codec, pixels: np.ndarray) -> None:
    wild = refined(tiny_codec, learning_rate=1e30, num_steps=1)
    assert encode(wild, pixels).data == encode(SourceCoder(tiny_codec), pixels).data


def test_more_steps_find_more(tiny_codec: Codec, pixels: np.ndarray) -> None:
    sample = Sample("a", "a", pixels)
    losses = [
        score_estimated(coder, sample).rd_loss(tiny_codec.rd_lambda)
        for coder in (
            SourceCoder(tiny_codec),
            refined(tiny_codec, num_steps=10),
            refined(tiny_codec),
        )
    ]
    assert losses[0] > losses[1] > losses[2]


def test_latents_are_those_of_the_encoder_until_others_are_given(
    tiny_codec: Codec, pixels: np.ndarray
) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = tiny_codec.model(image)["x_hat"]
        found = own_latents(tiny_codec.model, image)
        with latents_given(tiny_codec.model, found):
            assert torch.equal(tiny_codec.model(torch.zeros_like(image))["x_hat"], expected)
        assert torch.equal(tiny_codec.model(image)["x_hat"], expected)


def test_a_cold_draw_is_rounding_and_a_hot_one_follows_the_distance() -> None:
    fraction = torch.tensor([0.1, 0.4, 0.5, 0.6, 0.9])
    even = torch.full_like(fraction, 0.5)
    assert torch.allclose(
        _upward_share(fraction, even, 0.01), fraction.gt(0.5) + fraction.eq(0.5) / 2
    )
    hot = _upward_share(fraction, even, 0.5)
    assert (hot.diff() > 0).all()
    assert torch.allclose(hot + hot.flip(0), torch.ones(5))


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"learning_rate": 0.1}, "it holds learning_rate"),
        ({"learning_rate": 0.1, "num_steps": 10**9}, "asks for 1000000000 steps"),
        ({"learning_rate": float("nan"), "num_steps": 5}, "rate of nan"),
        ({"learning_rate": 0.1, "num_steps": 0}, "asks for 0 steps"),
    ],
)
def test_files_that_ask_for_the_impossible_are_refused(
    tiny_codec: Codec, state: dict[str, float], named: str
) -> None:
    adapted = refined(tiny_codec)
    with pytest.raises(AdapterError, match=named):
        adapted.load_adapter_state({n: torch.tensor(v) for n, v in state.items()})


def test_only_so_many_pictures_are_kept(
    tiny_codec: Codec, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfero.adaptation.latent_refinement.MOST_KEPT", 2)
    adapted = refined(tiny_codec, num_steps=1)
    first = [encode(adapted, pixels + np.uint8(step)) for step in range(3)]
    assert len(adapted._found) == 2
    assert encode(adapted, pixels) == first[0]
