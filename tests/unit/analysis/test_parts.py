"""What a change of loss is made of, by hand; and chroma from pixels to records and back."""

import numpy as np
import pytest

from interfero.analysis.parts import grey_domains, loss_parts
from interfero.analysis.rd_curves import chosen_curves, rd_curves
from interfero.analysis.records import read_records, write_tables
from interfero.cli.predict.answer import MAP_FILE
from interfero.codecs.coding import chroma_mse, pixel_mse
from interfero.metrics.bd_rate import BjontegaardDelta, db_at_equal_rate
from interfero.records import CellRecord, ImageRow

LAMBDA = 0.01


def row(rates, errors, chroma=None, role="source_unrouted", power=None):
    before, after = (r + LAMBDA * e for r, e in zip(rates, errors, strict=True))
    more = {} if chroma is None else {"chroma_mse_before": chroma[0], "chroma_mse": chroma[1]}
    more |= {} if power is None else {"chroma_power": power}
    return ImageRow(
        role=role, name="a", group="a", bpp_before=rates[0], psnr_db_before=30.0, rd_loss_before=before,
        bpp=rates[1], psnr_db=29.0, rd_loss=after, **more,
    )  # fmt: skip


def cell(record, rows, **params):
    return record(rd_lambda=LAMBDA, **params).model_copy(update={"images": tuple(rows)})


def test_parts_add_up_to_what_was_lost(record):
    """Loss 0.5 + 0.5 before: rate +0.1, luma +0.1, chroma +0.2."""
    one = cell(record, [row((0.5, 0.6), (50, 80), (10, 30))])
    (parts,) = loss_parts([one], "source_unrouted").values()
    assert (parts.rate, parts.luma, parts.chroma) == pytest.approx((10, 10, 20))
    assert parts.distortion == pytest.approx(30)
    # PSNR 30 and 29, and 0.1 bpp at 10 / ln 10 / (0.01 * 50) dB each.
    assert parts.db == pytest.approx(-1 - 0.8686, abs=1e-3)
    (old,) = loss_parts([cell(record, [row((0.5, 0.6), (50, 80))])], "source_unrouted").values()
    assert (old.luma, old.chroma, old.distortion) == (None, None, pytest.approx(30))
    assert loss_parts([one], "target") == {}


def psnr(mse):
    return 10 * np.log10(255**2 / mse)


def test_db_orders_domains_that_percent_reverses():
    """The same 10 % of a loss: of distortion only where rate is 14 % of it, and where it is 62 %."""
    few, many = (
        db_at_equal_rate((rate, psnr(error)), (rate, psnr(error - 0.1 / LAMBDA)), error, LAMBDA)
        for rate, error in ((0.14, 86.0), (0.62, 38.0))
    )
    assert (few, many) == (pytest.approx(0.5364, abs=1e-3), pytest.approx(1.3263, abs=1e-3))
    with pytest.raises(ValueError, match="must be positive"):
        db_at_equal_rate((0.1, 100.0), (0.1, 90.0), 0.0, LAMBDA)


def test_db_at_equal_rate_is_that_of_the_curve_it_is_the_tangent_of():
    """A codec moved along the curve D = 100 exp(-4 R), at its slope of -1 / lambda, gains nothing."""
    rate = 0.5
    error = 100 * np.exp(-4 * rate)
    value = 1 / (4 * error)
    moved = rate + 0.01
    after = moved, psnr(100 * np.exp(-4 * moved))
    assert db_at_equal_rate((rate, psnr(error)), after, error, value) == pytest.approx(0, abs=1e-9)


def test_db_at_equal_rate_is_near_the_bd_psnr_of_the_map_that_comes_along():
    """Curves over four lambdas: the mean of their cells against what the curves say."""
    records = read_records(MAP_FILE)
    for side in ("target", "source_unrouted"):
        parts = loss_parts(records, side)
        by_curve = {c.key: c for c in chosen_curves(rd_curves(records)) if c.side == side}
        pairs = []
        for key, curve in by_curve.items():
            if isinstance(curve.bd_psnr, BjontegaardDelta):
                names = ("domain", "num_images", "method", "learning_rate", "data_seed")
                place = (
                    *(getattr(key.setting, n) for n in names[:3]),
                    key.learning_rate,
                    key.seed[0],
                )
                own = [
                    parts[r.key].db for r in records if tuple(r.params[n] for n in names) == place
                ]
                pairs.append((np.mean(own), curve.bd_psnr.value))
        assert len(pairs) == 54
        # Fine-tuning moves furthest, and a slope is of one place: 0.06 dB in the median of its curves.
        assert np.median([abs(a - b) for a, b in pairs]) < 0.05
        assert np.corrcoef(np.transpose(pairs))[0, 1] > 0.95


def test_luma_and_chroma_add_up_to_the_error_and_grey_has_none():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (8, 8, 3)).astype(np.uint8) for _ in range(2))
    luma = np.mean((a.astype(float) - b).mean(axis=2) ** 2)
    assert chroma_mse(a, b) + luma == pytest.approx(pixel_mse(a, b))
    grey = np.repeat(a[..., :1], 3, axis=2)
    assert chroma_mse(grey) == 0
    assert chroma_mse(grey, np.repeat(b[..., :1], 3, axis=2)) == 0
    assert chroma_mse(a) > 1


def test_grey_domains_are_told_by_their_images_and_old_records_tell_nothing(record):
    same = {"rates": (0.5, 0.5), "errors": (50, 50), "role": "target"}
    cells = [
        cell(record, [row(**same, power=p) for p in power], domain=domain)
        for domain, power in (
            ("textures", (0.0, 0.3)),
            ("text", (0.0, 40.0, 60.0)),
            ("old", (None,)),
        )
    ]
    assert grey_domains(cells) == {"textures"}


def test_records_with_and_without_chroma_are_kept_as_they_are(record, tmp_path):
    new = cell(record, [row((0.5, 0.6), (50, 80), (10, 30), power=7.0)])
    old = cell(record, [row((0.5, 0.6), (50, 80))], domain="text")
    for one in (new, old):
        text = one.model_dump_json()
        again = CellRecord.model_validate_json(text)
        assert again == one
        assert again.model_dump_json() == text
    assert '"chroma' not in old.model_dump_json()
    assert '"chroma_mse":30.0' in new.model_dump_json()
    write_tables([new, old], tmp_path)
    read = {r.key: r for r in read_records(tmp_path)}
    assert [read[one.key].images for one in (new, old)] == [new.images, old.images]
