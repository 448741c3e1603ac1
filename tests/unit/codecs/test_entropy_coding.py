"""Entropy coding: the setting it runs in, and strings that are CompressAI's own, bit for bit."""

import math

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.layers import AttentionBlock
from torch import nn

from interfero.codecs import rans, rans_guard
from interfero.codecs.codec import ARCHITECTURES, Shape, build_model, part_owners
from interfero.codecs.entropy_coding import coding_setting, pad_to_stride, recorded_symbols
from interfero.codecs.exact import deciding_layers, exact_networks
from interfero.codecs.recording import RecordingCoder
from interfero.errors import BitstreamError

AUTOREGRESSIVE = ("mbt2018", "cheng2020-anchor", "cheng2020-attn")


def convolutions(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def lists(symbols):
    return [latent.tolist() for latent in symbols]


def tiny_model(architecture):
    torch.manual_seed(3)
    model = build_model(Shape(architecture, 8, 8 if architecture.startswith("cheng") else 12))
    with torch.no_grad():
        # Untrained latents round to zero; these have something to code, and some of it is escaped.
        last = model.g_a[-2] if isinstance(model.g_a[-1], AttentionBlock) else model.g_a[-1]
        last.weight.mul_(300)
        for owner in part_owners(model, "h_a"):
            convolutions(owner.h_a)[-1].weight.mul_(30)
            # Scales from one end of the table to the other.
            convolutions(owner.h_s)[-1].weight.mul_(30)
    model.update(force=True)
    model.eval()
    with coding_setting():
        # The first pass masks the weights of the context's convolution.
        model(torch.rand(1, 3, 64, 64))
    return model


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def batch():
    return torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))


def test_strings_and_pictures_are_those_of_compressai(model, batch):
    with coding_setting():
        plain = model.compress(batch)
        picture = model.decompress(plain["strings"], plain["shape"])["x_hat"]
        with recorded_symbols([model]) as recorded:
            ours = model.compress(batch)
            decoded = model.decompress(plain["strings"], plain["shape"])["x_hat"]
    assert ours["strings"] == plain["strings"]
    assert torch.equal(decoded, picture)
    assert max(len(set(s.tolist())) for s in recorded.coded) > 5


def test_exact_strings_and_pictures_are_those_of_compressai_over_exact_networks(model, batch):
    if hasattr(model, "context_prediction"):
        pytest.skip("CompressAI reads the context's weights past the module: see the next test")
    with coding_setting():
        with exact_networks([model]):
            plain = model.compress(batch)
            picture = model.decompress(plain["strings"], plain["shape"])["x_hat"]
        floats = model.compress(batch)
        shown = model.decompress(floats["strings"], floats["shape"])["x_hat"]
        with recorded_symbols([model], exact=True):
            ours = model.compress(batch)
            decoded = model.decompress(plain["strings"], plain["shape"])["x_hat"]
    assert ours["strings"] == plain["strings"]
    assert torch.equal(decoded, picture)
    # Where a network decides symbols, integers show: in strings, or in the means of a latent.
    same = plain["strings"] == floats["strings"] and torch.equal(shown, picture)
    assert same != bool(deciding_layers([model]))


@pytest.mark.parametrize("architecture", AUTOREGRESSIVE)
def test_exact_means_of_pixels_are_those_of_the_whole_latent(architecture, batch):
    model = tiny_model(architecture)
    with coding_setting(), recorded_symbols([model], exact=True) as recorded:
        output = model.compress(batch[:1])
        picture = model.decompress(output["strings"], output["shape"])["x_hat"]
        _, z_hat, y_hat = recorded.latents
        both = torch.cat((model.h_s(z_hat), model.context_prediction(y_hat)), dim=1)
        scales, means = model.entropy_parameters(both).chunk(2, 1)
        rows, columns = y_hat.shape[2:]
        symbols = torch.tensor(recorded.decoded[-1]).reshape(rows, columns, -1)
        symbols = symbols.permute(2, 0, 1)[None]
        assert torch.equal(symbols + means, y_hat)
        assert torch.equal(model.g_s(y_hat).clamp(0, 1), picture)
    assert lists(recorded.coded) == lists(recorded.decoded[1:])
    assert len(scales.unique()) > 50


def test_the_child_decodes_the_same(model, batch):
    with coding_setting():
        strings, shape = (model.compress(batch)[k] for k in ("strings", "shape"))
        with recorded_symbols([model]) as here:
            picture = model.decompress(strings, shape)["x_hat"]
        with recorded_symbols([model], rans_guard.open_decoder) as there:
            assert torch.equal(model.decompress(strings, shape)["x_hat"], picture)
    assert lists(here.decoded) == lists(there.decoded)


def test_every_latent_is_recorded_once_a_pass_in_coding_order(model, batch):
    image = batch[:1]
    with coding_setting():
        with recorded_symbols([model]) as coded:
            output = model.compress(image)
        with recorded_symbols([model]) as decoded:
            model.decompress(output["strings"], output["shape"])
    assert lists(decoded.decoded) == lists(coded.coded)
    assert decoded.coded == []
    assert len(coded.coded) == len(output["strings"])
    assert [len(latent.flatten()) for latent in decoded.latents] == [len(s) for s in coded.coded]


@pytest.mark.parametrize("architecture", AUTOREGRESSIVE)
def test_symbols_of_an_autoregressive_codec_are_its_latents(architecture, batch):
    model = tiny_model(architecture)
    with coding_setting(), recorded_symbols([model]) as recorded:
        model.compress(batch[:1])
        hyper, latents = model.h_a(model.g_a(batch[:1])), model.g_a(batch[:1])
    assert len(recorded.coded[0]) == hyper.numel()
    assert len(recorded.coded[-1]) == latents.numel()


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_diverged_codec_is_refused_not_coded_for_ever(architecture, batch):
    model = tiny_model(architecture)
    with torch.no_grad():
        last = [m for m in model.g_a.modules() if isinstance(m, nn.Conv2d)][-1]
        last.bias.fill_(float("nan"))
    with (
        coding_setting(),
        recorded_symbols([model]),
        pytest.raises(BitstreamError, match="diverged, lower the learning rate"),
    ):
        model.compress(batch)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_strings_of_no_coder_are_refused(architecture, batch):
    model = tiny_model(architecture)
    with coding_setting(), recorded_symbols([model]):
        output = model.compress(batch[:1])
        for position in range(len(output["strings"])):
            strings = [list(s) for s in output["strings"]]
            strings[position] = [b"\0" * 64]
            with pytest.raises(BitstreamError, match="not from this coder"):
                model.decompress(strings, output["shape"])


def test_a_replaced_or_changed_table_is_noticed():
    module = EntropyBottleneck(3)
    module.update(force=True)
    latent = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 20
    with recorded_symbols([module]):
        before = module.compress(latent)
    with torch.no_grad():
        # In place: the same tensor, other numbers.
        module._offset -= 1
    with recorded_symbols([module]):
        changed = module.compress(latent)
    assert changed == module.compress(latent) != before
    with torch.no_grad():
        module.quantiles[..., 0] -= 9
        module.quantiles[..., 2] += 9
    module.update(force=True)
    with recorded_symbols([module]):
        replaced = module.compress(latent)
    assert replaced == module.compress(latent)
    assert replaced not in (before, changed)


def boundary_scales(module):
    table = module.scale_table
    above = torch.nextafter(table, torch.full_like(table, math.inf))
    below = torch.nextafter(table, torch.full_like(table, -math.inf))
    special = torch.tensor([0.0, -0.0, -1.0, 1e-30, 1e30, math.inf, -math.inf, math.nan])
    return torch.cat((table, above, below, special, torch.rand(2000 - 3 * len(table)) * 300))


@pytest.mark.parametrize(
    "table", [[0.11, 0.5, 0.5, 9.0], [0.2, 300.0], [1.0], [0.11 * 1.13**i for i in range(64)]]
)
def test_rows_are_chosen_as_compressai_chooses_them(table):
    module = GaussianConditional(table)
    scales = boundary_scales(module).reshape(1, 2, -1, 1)
    expected = module.build_indexes(scales)
    with recorded_symbols([module]):
        chosen = module.build_indexes(scales)
        transposed = module.build_indexes(scales.transpose(1, 2))
    assert torch.equal(chosen, expected)
    assert chosen.dtype == expected.dtype
    assert torch.equal(transposed, expected.transpose(1, 2))


def test_rows_of_a_table_out_of_order_are_chosen_as_compressai_chooses_them():
    module = GaussianConditional([0.11, 0.5, 2.0, 9.0])
    module.scale_table = torch.tensor([0.5, 9.0, 0.11, 2.0])
    scales = boundary_scales(module)
    expected = module.build_indexes(scales)
    with recorded_symbols([module]):
        assert torch.equal(module.build_indexes(scales), expected)


def test_a_table_that_is_not_there_is_an_error_as_in_compressai():
    module = GaussianConditional(None)
    with recorded_symbols([module]), pytest.raises(ValueError, match="Run update"):
        module.compress(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int32))


def test_everything_is_restored_even_after_an_error(model):
    before = {m: dict(vars(m)) for m in model.modules()}
    with recorded_symbols([model, model], exact=True):
        [owner] = part_owners(model, "entropy_bottleneck")
        bottleneck = owner.entropy_bottleneck
        assert isinstance(bottleneck.entropy_coder, RecordingCoder)
        with recorded_symbols([model]):
            pass
        assert isinstance(bottleneck.entropy_coder, RecordingCoder)
        assert "compress" in vars(bottleneck)
    assert {m: dict(vars(m)) for m in model.modules()} == before
    with pytest.raises(RuntimeError, match="stop"), recorded_symbols([model], exact=True):
        raise RuntimeError("stop")
    assert {m: dict(vars(m)) for m in model.modules()} == before


class Shifted(GaussianConditional):
    """Codes in a way of its own, through CompressAI's interface."""

    def compress(self, inputs, indexes, means=None):
        return super().compress(inputs + 1, indexes, means)


def test_an_entropy_model_of_another_kind_keeps_its_own_way_and_is_recorded():
    module = Shifted([0.11, 1.0, 30.0])
    module.update()
    latent = torch.tensor([[[-3.0, 0.0, 2.0, 400.0]]])
    indexes = torch.tensor([[[0, 1, 2, 2]]])
    plain = module.compress(latent, indexes)
    with recorded_symbols([module]) as recorded:
        assert module.compress(latent, indexes) == plain
        assert module.decompress(plain, indexes).tolist() == (latent + 1).tolist()
    assert lists(recorded.coded) == lists(recorded.decoded) == [[-2, 1, 3, 401]]


def test_a_symbol_beyond_32_bits_is_refused_too():
    coder = RecordingCoder(rans.open_decoder)
    with pytest.raises(BitstreamError, match="cannot be coded"):
        coder.encode_with_indexes([1 << 40], [0], [[0, 1, 65536]], [3], [0])


def test_coding_runs_on_one_thread_and_leaves_the_count():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with coding_setting():
            assert torch.get_num_threads() == 1
            assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError, match="stop"), coding_setting():
            raise RuntimeError("stop")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_coding_is_in_single_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16), coding_setting():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_padding_repeats_the_edges():
    image = torch.arange(2.0 * 3).reshape(1, 2, 3).expand(3, 2, 3)
    padded = pad_to_stride(image, 4)
    assert padded.shape == (1, 3, 4, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


def test_whole_strides_are_not_padded():
    assert pad_to_stride(torch.zeros(3, 64, 128), 64).shape == (1, 3, 64, 128)
