"""Codecs whose strings CompressAI nests: a flat list, and sizes that follow from the picture's."""

import numpy as np
import pytest
import torch
from compressai.models.sensetime import Cheng2020AnchorCheckerboard, Elic2022Official

from interfero.codecs.bitstream import parse_stream
from interfero.codecs.checkpoint import freeze_codec
from interfero.codecs.codec import Shape, build_model, lies_in, part_owners
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.codecs.nested import ElicCodec
from interfero.errors import BitstreamError, CodecError

PICTURE = np.random.default_rng(0).integers(0, 255, (70, 130, 3)).astype(np.uint8)


def codec_of(architecture, num_latents):
    shape = Shape(architecture, 8, num_latents)
    torch.manual_seed(1)
    model = build_model(shape)
    with torch.no_grad():
        [m for m in model.g_a.modules() if isinstance(m, torch.nn.Conv2d)][-1].weight.mul_(100)
    return freeze_codec(model, shape, 0.013, architecture, {})


@pytest.mark.parametrize(
    ("architecture", "num_latents", "strings"),
    [("cheng2020-anchor-checkerboard", 8, 3), ("elic2022-official", 12, 11)],
)
def test_a_container_holds_their_strings(architecture, num_latents, strings):
    coder = SourceCoder(codec_of(architecture, num_latents))
    coded = encode(coder, PICTURE)
    stream = parse_stream(coded.data)
    assert len(stream.strings) == len(coded.symbols) == strings
    # The hyper-latent, then the latent: 2 by 3 and 8 by 12 positions of 128 by 192 pixels.
    assert len(coded.symbols[0]) == 8 * 2 * 3
    assert sum(map(len, coded.symbols[1:])) == num_latents * 8 * 12
    decoded = decode(coder, coded.data)
    assert decoded.symbols == coded.symbols
    assert decoded.pixels_HWC.shape == PICTURE.shape
    few = stream.strings[:-1]
    with pytest.raises(BitstreamError, match=f"{strings - 1} strings: {strings} are needed"):
        decode(coder, type(stream)(stream.codec_id, None, 130, 70, few).pack())


def test_they_are_compressais_models():
    """The same parameters under the same names give the same pictures and likelihoods."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours = build_model(Shape("cheng2020-anchor-checkerboard", 8, 8)).eval()
    elic = build_model(Shape("elic2022-official", 8, 12)).eval()
    for model, theirs in (
        (ours, Cheng2020AnchorCheckerboard(N=8)),
        (elic, Elic2022Official(N=8, M=12, groups=[1, 1, 1, 2, 7])),
    ):
        theirs.load_state_dict(model.state_dict())
        # Sums in the same order as ours, to compare pictures to the bit.
        theirs.g_s.to(memory_format=torch.channels_last)
        with torch.no_grad():
            expected, found = theirs.eval()(image), model(image)
        assert torch.equal(found["x_hat"], expected["x_hat"])
        for name, values in expected["likelihoods"].items():
            assert torch.equal(found["likelihoods"][name], values)


def test_the_papers_groups_are_those_of_320_channels():
    assert ElicCodec(8, 320).groups == [16, 16, 32, 64, 192]
    assert ElicCodec(8, 8).groups == [1, 1, 1, 1, 4]


def test_widths_that_do_not_exist_are_refused():
    with pytest.raises(CodecError, match="M must be 8 or more, got 7"):
        build_model(Shape("elic2022-official", 8, 7))
    with pytest.raises(CodecError, match="N must equal M, got 8 and 12"):
        build_model(Shape("cheng2020-anchor-checkerboard", 8, 12))


def test_their_parts_are_found_at_any_depth():
    model = build_model(Shape("elic2022-official", 8, 12))
    assert [owner.h_a for owner in part_owners(model, "h_a")] == [model.latent_codec.hyper.h_a]
    assert len(part_owners(model, "gaussian_conditional")) == 5
    assert lies_in("latent_codec.hyper.h_a.0.weight", "g_a", "h_a")
    assert not lies_in("latent_codec.hyper.h_s.0.weight", "g_a", "h_a")
