"""The table of what refinement gains, and the figures that docs/methods.md gives of it."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.refinement import Row, against_plain, changes, means

ROOT = Path(__file__).parents[3]


def row(steps: int, strength: float, *measured: float) -> Row:
    """Image `a` of `d` at lambda 0.01; bytes in all, of latents, of hyper-latents, PSNR, loss."""
    size, latents, hyper, psnr_db, rd_loss = measured
    rate = 0.03 if steps else 0.0
    return Row(
        "d",
        "a",
        0.01,
        steps,
        rate,
        strength,
        int(size),
        int(latents),
        int(hyper),
        0.0,
        psnr_db,
        rd_loss,
    )


def test_changes_are_against_the_source_codecs_stream_of_the_same_image() -> None:
    rows = [
        row(0, 0.0, 100, 70, 20, 30.0, 0.5),
        row(60, 0.0, 120, 88, 22, 31.5, 0.4),
        row(60, 1.0, 100, 70, 20, 30.0, 0.5),
    ]
    changed = changes(pd.DataFrame(rows))
    table = means(changed).reset_index()
    plain, nothing = (table[table.strength == s].iloc[0] for s in (0.0, 1.0))
    assert (plain["gain %"], plain["rate %"], plain["dB"]) == pytest.approx((20, 20, 1.5))
    assert (plain["latent_bytes"], plain["hyper_latent_bytes"]) == (18, 2)
    assert (plain["refined %"], nothing["refined %"], nothing["gain %"]) == (100, 0, 0)
    against = against_plain(changed).reset_index()
    assert list(against["minus plain"]) == [-20]
    assert (list(against.images), list(against["better on"])) == ([1], [0])


def test_the_methods_page_has_the_figures_that_are_kept() -> None:
    changed = changes(pd.read_csv(ROOT / "docs" / "latent_refinement.csv"))
    text = (ROOT / "docs" / "methods.md").read_text()
    columns = ["gain %", "rate %", "dB", "latent_bytes", "hyper_latent_bytes"]
    short = changed[changed.num_steps == 60]
    for (rd_lambda, strength), part in short.groupby(["rd_lambda", "strength"]):
        gain, rate, psnr, latents, hyper = (part[column].mean() for column in columns)
        shown = f"{gain:.2f} | {rate:+.1f} | {psnr:+.2f} | {latents:+.1f} | {hyper:+.1f} |"
        assert f"| {rd_lambda:g} | {f'{strength:g}' if strength else 'plain'} | {shown}" in text
    for _, row in against_plain(short).iterrows():
        assert f"{row['minus plain']:.2f} ± {row['error']:.2f}" in text
