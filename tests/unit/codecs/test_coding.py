"""Images to bitstreams and back, with a tiny untrained codec."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from interfero.codecs.bitstream import Stream, parse_stream
from interfero.codecs.checkpoint import freeze_codec
from interfero.codecs.codec import Codec, Shape, build_model
from interfero.codecs.coding import (
    ImageScore,
    SourceCoder,
    codec_id,
    decode,
    decode_unchecked,
    encode,
    mean_score,
    pixel_mse,
    score_coded,
    score_estimated,
    to_pixels,
)
from interfero.domains.images import Sample
from interfero.errors import BitstreamError

SIZES = [(64, 64), (67, 129), (1, 1), (65, 63), (130, 64)]


def tiny_codec(seed: int, *, calibrated: bool = False) -> Codec:
    shape = Shape("mbt2018-mean", 8, 12)
    torch.manual_seed(seed)
    model = build_model(shape)
    with torch.no_grad():
        # Untrained latents round to zero; these have something to code in both latents.
        model.g_a[-1].weight.mul_(300)
        model.h_a[-1].weight.mul_(3)
        model.g_s[-1].weight.mul_(3)
        if calibrated:
            # Means 0 and the scale that these latents have: what a trained hyperprior would say.
            model.h_s[-1].weight.zero_()
            model.h_s[-1].bias[:12] = 22.0
            model.h_s[-1].bias[12:] = 0.0
    return freeze_codec(model, shape, 0.01, f"tiny-{seed}", {})


@pytest.fixture(scope="module")
def codec():
    return tiny_codec(0)


@pytest.fixture(scope="module")
def coder(codec):
    return SourceCoder(codec)


def test_pictures_are_those_of_the_plain_memory_format_to_a_level(codec):
    """Strings are the same, and sums of the synthesis are in another order."""
    plain = dataclasses.replace(codec, model=copy.deepcopy(codec.model))
    plain.model.to(memory_format=torch.contiguous_format)
    strides = [next(c.model.g_s.parameters()).stride() for c in (codec, plain)]
    assert strides[0] != strides[1]
    image = picture(130, 64)
    coded = [encode(SourceCoder(c), image).data for c in (codec, plain)]
    assert coded[0] == coded[1]
    ours, theirs = (decode(SourceCoder(c), coded[0]).pixels_HWC.astype(int) for c in (codec, plain))
    assert np.abs(ours - theirs).max() <= 1


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = np.add.outer(np.sin(np.arange(height) / 7), np.cos(np.arange(width) / 5))
    pixels = 128 + 50 * smooth[..., None] + random.normal(0, 20, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def test_the_tiny_codec_has_something_to_code(coder):
    hyper, latents = encode(coder, picture(128, 128)).symbols
    assert len(hyper) == 8 * 2 * 2
    assert len(latents) == 12 * 8 * 8
    assert len(set(latents)) > 20
    assert len(set(hyper)) > 1


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(coder, size):
    pixels = picture(*size)
    coded = encode(coder, pixels)
    first, second = decode(coder, coded.data), decode(coder, coded.data)
    assert first.symbols == coded.symbols
    assert first.pixels_HWC.shape == pixels.shape
    assert first.pixels_HWC.dtype == np.uint8
    assert np.array_equal(first.pixels_HWC, second.pixels_HWC)


def test_the_decoder_shows_what_the_encoder_meant(coder):
    # The transforms' own rounding path, without any coding, gives the same picture.
    sample = Sample("p", "p", picture(67, 129))
    coded, estimated = score_coded(coder, sample), score_estimated(coder, sample)
    assert coded.mse == pytest.approx(estimated.mse, rel=1e-6)


def test_the_header_names_codec_and_size(coder, codec):
    stream = parse_stream(encode(coder, picture(67, 129)).data)
    assert (stream.height, stream.width) == (67, 129)
    assert stream.adapter_id is None
    assert stream.codec_id == codec_id(codec)
    assert stream.codec_id[:4] == bytes.fromhex(codec.weights_hash)[:4]
    assert stream.codec_id[4:] == stream.table_id == bytes.fromhex(codec.table_hash)[:2]


@pytest.mark.parametrize("size", [(64, 64), (192, 256)])
def test_the_estimated_rate_is_close_to_the_coded_one(size):
    coder = SourceCoder(tiny_codec(0, calibrated=True))
    sample = Sample("p", "p", picture(*size))
    pixels = size[0] * size[1]
    estimated = score_estimated(coder, sample).bpp * pixels
    coded = 8 * len(encode(coder, sample.pixels_HWC).data)
    # The container takes 19 bytes, and each of two rANS coders ends with 4 to 8 bytes of state.
    # Scales rounded up to a table of 64 and frequencies of 16 bits cost up to 3 %.
    assert -0.03 * estimated < coded - estimated < 8 * (19 + 2 * 8) + 0.03 * estimated


def test_coding_does_not_depend_on_threads(coder):
    before = torch.get_num_threads()
    coded = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            coded[threads] = encode(coder, picture(192, 256))
            decoded = decode(coder, coded[threads].data)
            assert torch.get_num_threads() == threads
            assert decoded.symbols == coded[1].symbols
    finally:
        torch.set_num_threads(before)
    assert coded[1] == coded[2]


def test_coding_does_not_depend_on_autocast_or_gradients(coder):
    plain = encode(coder, picture(67, 129))
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        assert encode(coder, picture(67, 129)) == plain


def test_another_codec_is_refused(coder):
    data = encode(coder, picture(64, 64)).data
    other = SourceCoder(tiny_codec(1))
    with pytest.raises(BitstreamError, match=f"needs source codec {coder.codec_id.hex()}"):
        decode(other, data)


def test_another_mode_is_refused(coder):
    stream = parse_stream(encode(coder, picture(64, 64)).data)
    target = dataclasses.replace(stream, adapter_id=b"\1\2\3\4")
    with pytest.raises(BitstreamError, match=r"needs adapter 01020304.*none \(source mode\)"):
        decode(coder, target.pack())


def test_every_damaged_byte_is_refused(coder):
    data = encode(coder, picture(64, 64)).data
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(BitstreamError):
            decode(coder, bytes(damaged))


def test_one_changed_weight_makes_another_codec(codec):
    other = Codec(codec.shape, codec.rd_lambda, codec.name, build_model(codec.shape).eval())
    other.model.load_state_dict(codec.model.state_dict())
    assert codec_id(other) == codec_id(codec)
    with torch.no_grad():
        other.model.g_s[0].bias[0] += 1e-6
    assert codec_id(other) != codec_id(codec)


def outcome(coder, stream: Stream) -> np.ndarray | None:
    """Pixels, or None where the stream was refused; anything else is a failure."""
    try:
        return decode_unchecked(coder, stream).pixels_HWC
    except BitstreamError:
        return None


def test_random_strings_never_crash_the_decoder(coder):
    random = np.random.default_rng(0)
    pictures = 0
    for _ in range(30):
        strings = tuple(random.bytes(int(random.integers(0, 400))) for _ in range(2))
        pixels = outcome(coder, Stream(coder.codec_id, None, 67, 129, strings))
        if pixels is not None:
            assert pixels.shape == (129, 67, 3)
            pictures += 1
    assert pictures > 0


def test_streams_of_another_codec_never_crash_the_decoder(coder):
    other = SourceCoder(tiny_codec(1))
    for seed in range(10):
        coded = encode(other, picture(67, 129, seed))
        pixels = outcome(coder, parse_stream(coded.data))
        assert pixels is None or pixels.shape == (67, 129, 3)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_strings_is_refused(coder, count):
    strings = parse_stream(encode(coder, picture(64, 64)).data).strings
    stream = Stream(coder.codec_id, None, 64, 64, (strings * 2)[:count])
    with pytest.raises(BitstreamError, match="does not decode"):
        decode(coder, stream.pack())


@pytest.mark.parametrize("strings", [(b"", b""), (b"\0" * 8, b"\0" * 8), (b"\xff" * 99,) * 2])
def test_degenerate_strings_are_refused(coder, strings):
    with pytest.raises(BitstreamError):
        decode_unchecked(coder, Stream(coder.codec_id, None, 64, 64, strings))


def test_a_decoder_is_sound_after_a_bad_stream(coder):
    coded = encode(coder, picture(64, 64))
    outcome(coder, Stream(coder.codec_id, None, 64, 64, (b"\xff" * 99,) * 2))
    assert decode(coder, coded.data).symbols == coded.symbols


def test_scores_count_every_byte_over_the_original_pixels(coder):
    sample = Sample("p.png", "p", picture(67, 129))
    score = score_coded(coder, sample)
    coded = encode(coder, sample.pixels_HWC)
    assert score.bpp == 8 * len(coded.data) / (67 * 129)
    decoded = decode(coder, coded.data).pixels_HWC
    assert score.mse == pixel_mse(decoded, sample.pixels_HWC)
    assert (score.name, score.group) == ("p.png", "p")


def test_pixel_mse_does_not_wrap():
    assert pixel_mse(np.full((2, 2, 3), 250, np.uint8), np.full((2, 2, 3), 255, np.uint8)) == 25
    assert pixel_mse(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)) == 65025


def test_a_loss_of_one_image():
    assert ImageScore("p", "p", bpp=0.5, mse=100).rd_loss(0.013) == pytest.approx(1.8)


def test_the_mean_psnr_is_the_mean_of_psnrs():
    # 20 dB and 40 dB are 30 dB; the PSNR of the mean error would be 23 dB.
    scores = [ImageScore("a", "a", 1.0, 650.25), ImageScore("b", "b", 2.0, 6.5025)]
    mean = mean_score(scores, 0.01)
    assert mean["psnr_db"] == pytest.approx(30)
    assert mean["bpp"] == pytest.approx(1.5)
    assert mean["rd_loss"] == pytest.approx(1.5 + 0.01 * (650.25 + 6.5025) / 2)


def test_pixels_are_rounded_clamped_and_never_nan():
    row = [
        0.0,
        1.0,
        -3.0,
        7.0,
        0.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        1.4 / 255,
        1.6 / 255,
    ]
    pixels = to_pixels(torch.tensor(row).expand(3, 1, -1))
    assert pixels.shape == (1, 10, 3)
    assert pixels[0, :, 0].tolist() == [0, 255, 0, 255, 128, 128, 255, 0, 1, 2]
