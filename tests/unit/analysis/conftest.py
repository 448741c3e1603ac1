"""Simulated records: shaped like a sweep, drawn by a seeded generator, never measured."""

import math
from itertools import product

import numpy as np
import pytest

from interfero.records import CellRecord, ImageRow

NUM_PARAMS = 1_200_000
RATES = (1e-4, 3e-4, 1e-3)
SIZES = (2, 4, 8, 16)
DIFFICULTY = {"histology": 12.0, "text": 9.0, "charts": 16.0, "fundus": 5.0}
"""Target gain in percent that fine-tuning could reach."""


def make_record(method="finetune", adapter_size=0, learning_rate=1e-3, **given):
    """One record; `given` are other params, `metrics`, or `failed=True`."""
    params = {
        "codec": "simulated",
        "domain": "histology",
        "rd_lambda": 0.0067,
        "num_images": 20,
        "data_seed": 0,
        "method": method,
        "adapter_size": adapter_size,
        "learning_rate": learning_rate,
        "init_seed": 0,
        "num_steps": 300,
    }
    metrics = given.pop("metrics", {})
    failed = given.pop("failed", False)
    params |= given
    key = "-".join(str(v) for v in params.values())
    if failed:
        return CellRecord(key=key, params=params, status="failed", error="CellFailure: loss nan")
    return CellRecord(key=key, params=params, status="finished", metrics=metrics)


def simulate(rng, domain, method, size, rate, **params):
    """A plausible finished cell, with images and a curve."""
    ideal = {"finetune": 1e-3, "cawf": 3e-4, "continue_source": 3e-4}.get(method, 3e-4)
    off = abs(math.log10(rate / ideal))
    gain, lost, routed = _effect(domain, method, size, rate, off)
    gain, lost = gain + rng.normal(0, 0.3), lost * math.exp(rng.normal(0, 0.1))
    routed = lost if routed else 0.0
    before, source_before = 1.0 + 0.1 * len(domain), 1.3
    fraction = 0.004 * size**1.15 if size else 1.0
    exact = float(method == "cawf")
    metrics = {
        "val/rd_gain_percent": gain + rng.normal(0, 0.2),
        "val/forgetting_percent": routed + rng.normal(0, 0.2) * (1 - exact),
        "val/forgetting_unrouted_percent": lost,
        "target/bpp": 0.5 - 0.002 * gain,
        "target/psnr_db": 29.0 + 0.02 * gain,
        "target/rd_loss": before * (1 - gain / 100),
        "target/bpp_before": 0.5,
        "target/psnr_db_before": 29.0,
        "target/rd_loss_before": before,
        "target/rd_gain": before * gain / 100,
        "target/rd_gain_percent": gain,
        "target/rd_gain_switched_percent": max(gain, 0.1),
        "source/rd_loss_before": source_before,
        "source/forgetting": source_before * routed / 100,
        "source/forgetting_percent": routed,
        "source/forgetting_unrouted": source_before * lost / 100,
        "source/forgetting_unrouted_percent": lost,
        "bitstream/old_symbols_exact": exact,
        "bitstream/old_pixels_exact": exact,
        "bitstream/old_psnr_drop_db": 0.0 if exact else 6 + abs(rng.normal()),
        "bitstream/rate_error_percent": rng.normal(0.8, 0.1),
        "adapter/num_params": fraction * NUM_PARAMS,
        "adapter_fraction": fraction,
        "train/steps_per_second": 12.0,
    }
    if exact:
        metrics |= {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}
    base = make_record(method, size, rate, domain=domain, metrics=metrics, **params)
    scores = {"bpp_before": 0.5, "psnr_db_before": 29.0, "rd_loss_before": before}
    after = {"bpp": 0.49, "psnr_db": 29.1, "rd_loss": before * (1 - gain / 100)}
    images = [
        ImageRow(role=role, name=f"s{i}", group="s", **scores, **after)
        for role, i in product(("target", "source", "source_unrouted"), range(2))
    ]
    point = {"train/bpp": 0.5, "train/mse_255": 80.0, "train/rd_loss": 1.0}
    return base.model_copy(
        update={
            "images": tuple(images),
            "curve": ((100, point), (300, point)),
            "adapter_file": f"adapters/{base.key}.safetensors",
            "seconds": 30.0,
        }
    )


def _effect(domain, method, size, rate, off):
    """Target gain, unrouted forgetting, and whether routing leaves the latter as it is."""
    ceiling = DIFFICULTY.get(domain, 8.0)
    if method == "continue_source":
        return -0.3 - 0.2 * off, 0.4 - 0.3 * off, True
    if method == "cawf":
        share = 0.75 * size / (size + 3)
        return ceiling * share * (1 - 0.4 * off), 25 * size**0.6 * (rate / 1e-3) ** 0.5, False
    return ceiling * (1 - 0.5 * off), 75 * rate / 1e-3, True


def make_sweep(domains=tuple(DIFFICULTY), seeds=(0,), lambdas=(0.0067,), seed=0, rates=RATES):
    """The default sweep, simulated."""
    rng = np.random.default_rng(seed)
    plan = [("finetune", 0), *(("cawf", s) for s in SIZES), ("continue_source", 0)]
    return [
        simulate(rng, domain, method, size, rate, data_seed=data_seed, rd_lambda=rd_lambda)
        for domain, rd_lambda, data_seed in product(domains, lambdas, seeds)
        for method, size in plan
        for rate in rates
    ]


def fail(record):
    """The same cell, failed."""
    error = "CellFailure: loss nan, gradient norm nan at step 17"
    return CellRecord(key=record.key, params=record.params, status="failed", error=error)


OLD = {"bitstream/old_pixels_exact": 0.9999, "bitstream/old_psnr_drop_db": 6.25}
EXACT = {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}


def make_metrics(gain, routed, unrouted=None, val=None, **more):
    return {
        "val/rd_gain_percent": gain if val is None else val,
        "target/rd_gain_percent": gain,
        "source/forgetting_percent": routed,
        "source/forgetting_unrouted_percent": routed if unrouted is None else unrouted,
        **more,
    }


def make_small_sweep():
    """Two domains by hand; fine-tuning forgets on one of them, measured against the control."""
    records = []
    for domain, tuned, control in (("charts", 30.0, -0.5), ("text", 0.4, 0.5)):
        place = {"domain": domain}
        kept = make_metrics(4.0, 0.0, 50.0, adapter_fraction=0.03, **EXACT)
        records += [
            make_record(metrics=make_metrics(8.0, tuned, adapter_fraction=1.0, **OLD), **place),
            make_record(metrics=make_metrics(-1.0, 0.1), learning_rate=1e-4, **place),
            make_record("cawf", 4, metrics=kept, **place),
            make_record("cawf", 8, metrics={**kept, "val/rd_gain_percent": 4.2}, **place),
            make_record("continue_source", metrics=make_metrics(0.1, control), **place),
        ]
    return records


@pytest.fixture(name="record")
def record_builder():
    return make_record


@pytest.fixture(name="sweep")
def sweep_builder():
    return make_sweep


@pytest.fixture(name="fail")
def fail_builder():
    return fail


@pytest.fixture
def measured():
    return make_metrics


@pytest.fixture
def small_sweep():
    return make_small_sweep()


def mark_grey(records, name):
    """A domain told as grey by its images."""

    def seen(record):
        row = ImageRow(
            role="target", name="a", group="a", bpp_before=0.5, psnr_db_before=30.0, rd_loss_before=1.0,
            bpp=0.5, psnr_db=30.0, rd_loss=0.9,
            chroma_power=0.2 if record.params["domain"] == name else 90.0,
        )  # fmt: skip
        return record.model_copy(update={"images": (row,)})

    return [seen(record) for record in records]


@pytest.fixture(name="with_grey")
def grey_marker():
    return mark_grey
