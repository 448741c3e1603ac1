"""The decomposition, with planted scores: what is found is what was put there."""

from collections import defaultdict

import numpy as np
import pytest

from interfero.analysis.about import About, read_about
from interfero.analysis.charts.files import write_pictures
from interfero.analysis.charts.restoration import part_name, restoration_figures
from interfero.analysis.report.restoration import RestorationReport, restoration_html
from interfero.analysis.restoration.headline import headline, surer
from interfero.analysis.restoration.losses import summarise, summary_markdown
from interfero.analysis.restoration.tables import (
    is_restoration_table,
    read_restoration_records,
    write_restoration_tables,
)
from interfero.cli.report.make import make_report
from interfero.cli.report.wanted import Wanted
from interfero.errors import StorageError
from interfero.records import CellRecord, SegmentedImage

LEVELS = {"OO": 0.9, "CC": 0.8, "CO": 0.6, "OC": 0.7, "RO": 0.75, "MO": 0.7}
"""Share of pixels predicted right."""


def record(configuration, seed, right, *, images=12, rate=0.3, spread=0.01, **params):
    """Two classes, half of the pixels each; wrong ones go to the other class."""
    rng = np.random.default_rng([seed, *configuration.encode()])
    lossy = configuration != "OO"
    found = []
    for i in range(images):
        share = np.clip(right + spread * rng.normal() + 0.02 * np.sin(i), 0, 1)
        hits = (round(500 * share),) * 2
        found.append(SegmentedImage(name=f"t{i}", group=f"t{i}", hits=hits, labelled=(500, 500),
                                    predicted=(500, 500)))  # fmt: skip
    sums = [
        np.sum([getattr(f, n) for f in found], axis=0) for n in ("hits", "labelled", "predicted")
    ]
    miou = float(np.mean(sums[0] / (sums[1] + sums[2] - sums[0])))
    restored = configuration.startswith("R")
    return CellRecord(
        key=f"{configuration}{seed}{rate}{params.get('restoration', '')}",
        params={"domain": "mosaics", "configuration": configuration,
                "codec": "jpeg" if lossy else "original", "rate_bpp": rate if lossy else "original",
                "restoration": "gan" if restored else "none",
                "restoration_split": "disjoint" if restored else "none",
                "data_seed": 0, "init_seed": seed, "num_steps": 5, **params},
        status="finished",
        metrics={"segmentation/miou": miou, **({"rate/train_bpp": rate + 0.01} if lossy else {})},
        segmented=tuple(found),
    )  # fmt: skip


def sweep(levels=LEVELS, seeds=3, **options):
    return [record(c, s, v, **options) for c, v in levels.items() for s in range(seeds)]


def iou(right):
    return right / (2 - right)


def differences(records, configuration=None):
    return {
        d.name: d
        for d in summarise(records).differences
        if configuration in (None, d.line.configuration)
    }


def test_planted_parts_are_found():
    found = differences(sweep())
    expected = {
        "lost information": iou(0.9) - iou(0.8),
        "covariate shift": iou(0.8) - iou(0.6),
        "whole drop": iou(0.9) - iou(0.6),
        "restoration gains": iou(0.75) - iou(0.6),
        "still left": iou(0.9) - iou(0.75),
        "mixing gains": iou(0.7) - iou(0.6),
    }
    for name, value in expected.items():
        d = found[name]
        assert d.value == pytest.approx(value, abs=0.02), name
        assert d.low < value < d.high
        assert (d.drawn.seeds, d.drawn.by, d.drawn.images, d.drawn.pictures) == (3, "init", 12, 12)
    for configuration, right in (("RO", 0.75), ("MO", 0.7)):
        share = (iou(right) - iou(0.6)) / (iou(0.9) - iou(0.6))
        one = differences(sweep(), configuration)["share recovered"]
        assert one.value == pytest.approx(share, abs=0.05)
        assert one.low > 0


def test_what_an_adversary_adds_is_told_against_regression():
    plain = [record("RO", s, 0.72, restoration="regression") for s in range(3)]
    found = {(d.name, d.line.restoration): d for d in summarise([*sweep(), *plain]).differences}
    added = found["adversary adds", "gan"]
    assert added.value == pytest.approx(iou(0.75) - iou(0.72), abs=0.02)
    assert ("adversary adds", "regression") not in found


def test_fine_tuning_is_a_share_of_what_the_deployed_model_loses():
    """OC is 0.7 and OO 0.9: a model at 0.8 won back half, and 0.85 on originals is 0.05 lost."""
    few = {"variant": "8 images"}
    tuned = [record(c, s, v, **few) for c, v in (("FC", 0.8), ("FO", 0.85)) for s in range(3)]
    summary = summarise([*sweep(), *tuned])
    found = {d.name: d for d in summary.differences if d.line.variant == "8 images"}
    assert found["fine-tuning gains"].value == pytest.approx(iou(0.8) - iou(0.7), abs=0.02)
    assert found["fine-tuning costs on originals"].value == pytest.approx(
        iou(0.9) - iou(0.85), abs=0.02
    )
    share = found["share recovered on compressed images"]
    assert share.value == pytest.approx((iou(0.8) - iou(0.7)) / (iou(0.9) - iou(0.7)), abs=0.05)
    assert 0 < share.low < share.value < share.high
    (told,) = [s for s in summary.sentences if "FC 8 images: share recovered on" in s]
    assert "(95 % +" in told
    # Trained anew on compressed images is the remedy next to it.
    (anew,) = [
        d for d in summary.differences if d.name == share.name and d.line.configuration == "CC"
    ]
    assert anew.value == pytest.approx((iou(0.8) - iou(0.7)) / (iou(0.9) - iou(0.7)), abs=0.05)
    page = restoration_html(RestorationReport("s", [*sweep(), *tuned], summary))
    assert "Remedies compared" in page
    assert "FC 8 images" in page


def coded(cells, bpp, psnr=30.0):
    """Cells whose test images were coded at a rate, and their training images not."""
    found = []
    for cell in cells:
        own = {n: v for n, v in cell.metrics.items() if n != "rate/train_bpp"}
        reached = {"rate/test_bpp": bpp, "rate/test_psnr_db": psnr}
        found.append(cell.model_copy(update={"metrics": own | reached}))
    return found


def of_adapted_codecs(rates=(0.2, 0.3, 0.5), task_bpp=0.35, **options):
    """OC 0.6 at 0.2 bpp, 0.7 at 0.3, 0.8 at 0.5; at asked rate 0.3 the adaptation alone makes it 0.75 at
    0.28 bpp, at 0.5 it makes it 0.82 at 0.45, and the task 0.85 at 0.35."""
    cells = [record("OO", s, 0.9, **options) for s in range(3)]
    source = {0.2: 0.6, 0.3: 0.7, 0.5: 0.8}
    adapted = [
        (0, 0.3, 0.75, 0.28, 30.0),
        (0, 0.5, 0.82, 0.45, 31.0),
        (3, 0.3, 0.85, task_bpp, 28.0),
    ]
    for seed in range(3):
        for rate in rates:
            cells += coded([record("OC", seed, source[rate], rate=rate, **options)], rate)
        for weight, rate, value, bpp, psnr in adapted:
            variant = f"lora 4 task {weight}"
            cell = record("OT", seed, value, rate=rate, variant=variant, **options)
            cells += coded([cell], bpp, psnr)
    return cells


def between(low, high, bpp):
    """(bpp, right) of two points, and what lies between them over the logarithm of the rate."""
    (b0, v0), (b1, v1) = low, high
    share = np.log(bpp / b0) / np.log(b1 / b0)
    return (1 - share) * iou(v0) + share * iou(v1)


def test_a_codec_adapted_for_the_task_is_compared_at_its_own_rate():
    """Not with the source codec at the same lambda, which needs fewer bits."""
    summary = summarise(of_adapted_codecs(spread=0.002))
    found = {(d.name, d.line.variant, d.line.rate_bpp): d for d in summary.differences}
    source = between((0.3, 0.7), (0.5, 0.8), 0.35)
    gain = found["adapted codec gains at equal rate", "lora 4 task 3", 0.3]
    assert gain.value == pytest.approx(iou(0.85) - source, abs=0.01)
    assert gain.low < gain.value < gain.high
    assert gain.bpp == pytest.approx(0.35)
    share = found["share recovered on compressed images", "lora 4 task 3", 0.3]
    assert share.value == pytest.approx((iou(0.85) - source) / (iou(0.9) - source), abs=0.03)
    without = between((0.28, 0.75), (0.45, 0.82), 0.35)
    added = found["the task adds to the codec's adaptation at equal rate", "lora 4 task 3", 0.3]
    assert added.value == pytest.approx(iou(0.85) - without, abs=0.01)
    assert (added.name, "lora 4 task 0", 0.3) not in found
    assert not any(d.name == "adapted codec gains" for d in summary.differences)


def test_an_adapted_codec_has_one_colour_in_all_figures():
    """A weight of the task's loss is told from another by it, wherever it is drawn."""
    cells = of_adapted_codecs(spread=0.002)
    seen = defaultdict(set)
    for figure in restoration_figures(cells, summarise(cells)):
        if figure.name in ("rates", "remedies", "pictures"):
            for series in figure.variants[0].panels[0].series:
                if series.label.startswith("OT"):
                    seen[series.label].add(series.colour)
    assert len(seen) == 2
    assert sorted(map(len, seen.values())) == [1, 1]
    assert len(set.union(*seen.values())) == 2


def test_the_best_remedy_says_at_which_rate_it_is_the_best():
    cells = of_adapted_codecs(spread=0.002)
    remedy = headline(summarise(cells))[-1]
    # The loss is the largest at 0.2 bpp, where no codec was adapted: nothing to say there.
    assert "OT" not in remedy
    fewer = [c for c in cells if c.params["rate_bpp"] != 0.2]
    remedy = headline(summarise(fewer))[-1]
    assert remedy.startswith("OT lora 4 task 3, the best of ")
    assert " of what the source codec loses at the same rate (0.350 bpp) (95 % interval +" in remedy


def test_an_adapted_codec_beyond_the_rates_of_its_source_is_refused_with_a_rate_to_add():
    cells = of_adapted_codecs(rates=(0.3,), task_bpp=0.35)
    summary = summarise(cells)
    (told,) = [s for s in summary.sentences if "task 3: adapted codec gains" in s]
    assert told.endswith(
        "refused, it reached 0.350 bpp, and the source codec was coded at 0.300 bpp: add 0.44 to --rates"
    )
    step = surer(cells, summary, "python x.py --rates 0.3 0.5 --init-seeds 0 1 2")
    assert "--rates 0.22 0.3 0.44 0.5 0.56" in step.command
    # One comparison is enough: the highest rate always lies beyond the source codec's.
    enough = of_adapted_codecs()
    step = surer(enough, summarise(enough), "python x.py --rates 0.2 0.3 0.5")
    assert "0.56" not in step.command


def test_what_people_are_shown_is_drawn_with_and_without_the_task():
    summary = summarise(of_adapted_codecs())
    (score,) = [s for s in summary.scores if s.line.variant == "lora 4 task 3"]
    assert (score.bpp, score.test_psnr_db) == pytest.approx((0.35, 28.0))
    (figure,) = [f for f in restoration_figures([], summary) if f.name == "pictures"]
    (panel,) = figure.variants[0].panels
    lines = {s.label: (s.dashed, [(p.x, p.y) for p in s.points]) for s in panel.series}
    assert lines["OT lora 4 task 3"] == (False, [pytest.approx((0.35, 28.0))])
    assert lines["OT lora 4 task 0"] == (
        True,
        [pytest.approx((0.28, 30.0)), pytest.approx((0.45, 31.0))],
    )
    looks = [(s.colour, s.marker, s.hollow) for s in panel.series]
    assert len(set(looks)) == len(looks) == 3


def test_two_numbers_of_images_are_two_lines():
    cells = [record("FC", s, v, variant=f"{n} images") for n, v in ((4, 0.75), (8, 0.8))
             for s in range(3)]  # fmt: skip
    shares = {
        d.line.variant: d.value
        for d in summarise([*sweep(), *cells]).differences
        if d.name == "fine-tuning gains"
    }
    assert shares["8 images"] - shares["4 images"] == pytest.approx(iou(0.8) - iou(0.75), abs=0.02)


def test_one_model_of_all_rates_is_compared_at_each():
    one = [record("AO", s, 0.7, variant="0.3 0.8") for s in range(3)]
    one = [c.model_copy(update={"params": {**c.params, "rate_bpp": "several"}}) for c in one]
    at = [record("AC", s, v, rate=r, variant="0.3 0.8") for r, v in ((0.3, 0.75), (0.8, 0.85))
          for s in range(3)]  # fmt: skip
    at = [c.model_copy(update={"metrics": {**c.metrics, "rate/test_bpp": c.params["rate_bpp"]}})
          for c in at]  # fmt: skip
    higher = {"CC": 0.85, "CO": 0.65, "OC": 0.75}
    records = [*sweep(), *sweep(higher, rate=0.8), *one, *at]
    summary = summarise(records)
    found = {(d.name, d.line.rate_bpp): d for d in summary.differences}
    for rate, co, oc, ac in ((0.3, 0.6, 0.7, 0.75), (0.8, 0.65, 0.75, 0.85)):
        gain = found["several rates gain", rate]
        assert gain.value == pytest.approx(iou(0.7) - iou(co), abs=0.02)
        assert gain.bpp == pytest.approx(rate + 0.01)  # that of CO
        compressed = found["several rates gain on compressed images", rate]
        assert compressed.value == pytest.approx(iou(ac) - iou(oc), abs=0.02)
    assert found["restored over several rates", 0.3].value == pytest.approx(
        iou(0.75) - iou(0.7), abs=0.02
    )
    # It is one line of the table, without a rate of its own.
    (score,) = [s for s in summary.scores if s.line.configuration == "AO"]
    assert (score.line.rate_text, score.bpp) == ("all", None)
    assert "| mosaics | jpeg | all |  | AO 0.3 0.8 |" in summary_markdown(summary)
    page = restoration_html(RestorationReport("s", records, summary))
    assert "AO 0.3 0.8" in page
    rates = next(f for f in restoration_figures(records, summary) if f.name == "rates")
    (panel,) = rates.variants[0].panels
    (level,) = [s for s in panel.series if s.label.startswith("AO")]
    assert len({point.y for point in level.points}) == 1


def test_restorers_are_compared():
    """The stronger network with plain regression, the own codec's restorer with another's."""
    kinds = {"regression": 0.72, "nafnet": 0.78}
    cells = [record("RO", s, v, restoration=k) for k, v in kinds.items() for s in range(3)]
    cells += [record("RO", s, 0.65, restoration="nafnet", variant="restorer of webp")
              for s in range(3)]  # fmt: skip
    found = {(d.name, d.line.variant): d.value for d in summarise([*sweep(), *cells]).differences}
    assert found["stronger network adds", "none"] == pytest.approx(iou(0.78) - iou(0.72), abs=0.02)
    name = "own codec's restorer over another's"
    assert found[name, "restorer of webp"] == pytest.approx(iou(0.78) - iou(0.65), abs=0.02)
    assert (name, "none") not in found
    told = {part_name(d) for d in summarise([*sweep(), *cells]).differences}
    assert "stronger network adds\nnafnet - regression" in told
    assert "restoration gains\nRO - CO nafnet, restorer of webp" in told


def test_what_restorers_do_to_held_out_images_is_drawn():
    curve = [
        (4, {"restorer_val_gain_db": 0.2}),
        (8, {"restorer_val_gain_db": 0.5}),
        (8, {"loss": 1}),
    ]
    told = [c.model_copy(update={"curve": curve}) if c.params["configuration"] == "RO" else c
            for c in sweep()]  # fmt: skip
    figures = {f.name: f for f in restoration_figures(told, summarise(told))}
    (series,) = figures["restorers"].variants[0].panels[0].series
    assert [(p.x, p.y) for p in series.points] == [(4, pytest.approx(0.2)), (8, 0.5)]
    assert "restorers" not in {f.name for f in restoration_figures(sweep(), summarise(sweep()))}


def test_tables_keep_the_word_for_all_rates(tmp_path):
    cell = record("AO", 0, 0.7, variant="0.3 0.8")
    cell = cell.model_copy(update={"params": {**cell.params, "rate_bpp": "several"}})
    write_restoration_tables([cell], summarise([cell]), tmp_path)
    assert read_restoration_records(tmp_path / "cells.parquet") == [cell]


def test_a_share_of_no_drop_on_compressed_images_is_refused():
    records = sweep({"OO": 0.7, "OC": 0.7, "FC": 0.72})
    (share,) = [d for d in summarise(records).differences if "share" in d.name]
    assert share.value is None
    assert share.refusal.startswith("OO - OC is ")


def test_the_answer_is_the_largest_loss_its_parts_and_what_is_recovered():
    mild = {c: v for c, v in {**LEVELS, "CO": 0.75, "CC": 0.85}.items() if c != "OO"}
    summary = summarise([*sweep(), *sweep(mild, rate=0.8)])
    loss, parts, remedy = headline(summary)
    drop = next(d for d in summary.differences if d.name == "whole drop" and d.line.rate_bpp == 0.3)
    assert loss == (
        f"A model that is trained on compressed images and tested on originals loses {drop.value:.3f} of "
        "mean IoU against originals on both sides, on mosaics with jpeg at 0.3 bpp (reached 0.310), the "
        f"largest loss of 2 combinations of domain, codec and rate (95 % interval {drop.ends}; n = 3 init "
        "seeds, 12 images; 3 models on each side)."
    )
    assert parts.startswith("Its parts: lost information +0.1")
    assert " and covariate shift +0.2" in parts
    assert parts.count("95 % interval") == 2
    assert remedy.startswith("RO gan disjoint, the best of 2 remedies, recovers +")
    assert "3 init seeds of 1 restorer, 12 images" in remedy


def test_the_first_figure_is_of_the_place_that_the_answer_names():
    mild = {c: v for c, v in {**LEVELS, "CO": 0.75}.items() if c != "OO"}
    records = [*sweep(rate=0.8), *sweep(mild, rate=0.3)]
    figures = {f.name: f for f in restoration_figures(records, summarise(records))}
    parts = figures["parts"]
    assert parts.variants[parts.start].choice == ("mosaics", "0.8 bpp")


def test_the_answer_of_a_sweep_without_co_is_of_the_deployed_model():
    records = sweep({"OO": 0.9, "OC": 0.7, "FC": 0.8})
    first, second = headline(summarise(records))
    assert "trained on originals and tested on compressed images loses 0.2" in first
    assert second.startswith("FC recovers +")


def test_one_seed_is_called_an_illustration():
    loss, parts, remedy = headline(summarise(sweep(seeds=1)))
    assert "one seed, no interval; n = 1 init seed, 12 images; 1 model on each side" in loss
    assert loss.endswith("; an illustration).")
    assert "one seed, no interval" in parts
    assert remedy.startswith("What a remedy recovers of it cannot be told: OO - CO is +")


def test_what_would_make_a_learning_sweep_surer_is_a_command():
    command = "python sweeps/covariate_shift.py --init-seeds 0 1 2 --name study"
    records = sweep({c: LEVELS[c] for c in ("OO", "CC", "CO", "OC")})
    step = surer(records, summarise(records), command)
    assert step.command == (
        "python sweeps/covariate_shift.py --init-seeds 0 1 2 3 4 --name study-surer "
        "--configurations CC CO OC OO MO RO"
    )
    assert step.reasons == (
        "3 init seeds have run: 5 make the intervals narrower",
        "no remedy was tried: MO and RO say what it recovers",
    )
    page = restoration_html(
        RestorationReport(
            "study", records, summarise(records), About(name="a", kind="k", command=command)
        )
    )
    assert "What would make this surer" in page
    assert "--init-seeds 0 1 2 3 4" in page
    unknown = surer(records, summarise(records))
    assert unknown.command == ""
    assert "repeat theirs with --init-seeds 0 1 2 3 4" in unknown.reasons[-1]
    whole = sweep(seeds=5)
    assert surer(whole, summarise(whole), command) is None
    lost = whole[0].model_copy(update={"status": "failed", "metrics": {}})
    assert surer([lost, *whole[1:]], summarise(whole), command).command.endswith(" --resume")


def test_intervals_say_of_how_many_restorers_they_are():
    """Three seeds of models share one restorer: its own luck is in no interval."""
    lines = summarise(sweep()).sentences
    (gain,) = [line for line in lines if "restoration gains" in line]
    assert "jpeg at 0.3 bpp (reached 0.310), RO gan disjoint: restoration gains +" in gain
    assert "n = 3 init seeds of 1 restorer, 12 images)" in gain
    assert all("restorer" not in line for line in lines if "covariate shift" in line)


def test_the_interval_of_the_drop_covers_it():
    """Seeds and images drawn anew: at least nine of ten 95 % intervals hold the truth."""
    truth, held = iou(0.8) - iou(0.7), 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        hard = rng.normal(0, 0.04, 24)
        cells = [
            drawn(c, s, v + rng.normal(0, 0.01) + hard + rng.normal(0, 0.02, 24))
            for c, v in (("OO", 0.8), ("CO", 0.7))
            for s in range(3)
        ]
        drop = differences(cells)["whole drop"]
        held += drop.low < truth < drop.high
    assert held >= 54


def drawn(configuration, seed, shares, **params):
    made = record(configuration, seed, 0.5, images=len(shares), **params)
    images = tuple(
        image.model_copy(update={"hits": (round(500 * x),) * 2})
        for image, x in zip(made.segmented, shares.clip(0, 1), strict=True)
    )
    return made.model_copy(update={"segmented": images})


def test_parts_add_up():
    found = differences(sweep())
    parts = found["lost information"].value + found["covariate shift"].value
    assert parts == pytest.approx(found["whole drop"].value)


def test_a_share_of_no_drop_is_refused():
    found = differences(sweep({"OO": 0.7, "CO": 0.7, "RO": 0.72}))
    share = found["share recovered"]
    assert share.line.configuration == "RO"
    assert share.value is None
    assert "its 95 % interval" in share.refusal
    assert "includes zero" in share.refusal
    assert any(
        "share recovered refused" in line
        for line in summarise(sweep({"OO": 0.7, "CO": 0.7, "RO": 0.72})).sentences
    )


def test_one_seed_has_no_interval_and_no_share():
    found = differences(sweep(seeds=1))
    assert found["whole drop"].low is None
    assert found["share recovered"].value is None
    said = summarise(sweep(seeds=1)).sentences
    assert any("no interval, n = 1 seed" in line for line in said)


def test_pairing_by_image_narrows_the_interval():
    """Images differ much, configurations little: paired, the difference is still sure."""
    hard = {"OO": 0.8, "CO": 0.78}
    found = differences(sweep(hard, spread=0.001))
    drop = found["whole drop"]
    assert drop.low > 0
    assert drop.half_width < 0.01


def test_seeds_that_one_side_lacks_are_left_out():
    records = [
        r for r in sweep() if not (r.params["configuration"] == "OO" and r.params["init_seed"] == 2)
    ]
    assert differences(records)["whole drop"].drawn.seeds == 2
    assert differences(records)["covariate shift"].drawn.seeds == 3


def test_everything_is_written(tmp_path):
    records = [*sweep(), *(record(c, s, v, rate=0.8) for c, v in LEVELS.items() if c != "OO"
                           for s in range(3))]  # fmt: skip
    summary = summarise(records)
    paths = [*write_restoration_tables(records, summary, tmp_path),
             *write_pictures(restoration_figures(records, summary), tmp_path)]  # fmt: skip
    assert {p.name for p in paths} == {
        "cells.parquet", "images.parquet", "curves.parquet", "decomposition.parquet",
        "miou_mosaics.png", "miou_mosaics.svg", "decomposition_mosaics.png",
        "decomposition_mosaics.svg", "remedies_OO-CO_mosaics.png", "remedies_OO-CO_mosaics.svg",
        "remedies_OO-OC_mosaics.png", "remedies_OO-OC_mosaics.svg",
    }  # fmt: skip
    assert all(p.stat().st_size > 0 for p in paths)
    text = summary_markdown(summary)
    assert "| mosaics | jpeg | 0.3 | 0.310 | CC |" in text


def test_tables_give_the_records_back(tmp_path):
    records = sweep()
    broken = record("CC", 7, 0.1).model_copy(
        update={"status": "failed", "error": "no disk", "metrics": {}, "segmented": ()}
    )
    about = About(name="s", kind="covariate-shift", question="Why?", command="python x.py")
    write_restoration_tables([*records, broken], summarise(records), tmp_path, about)
    again = read_restoration_records(tmp_path / "cells.parquet")
    assert again == [*records, broken]
    assert summarise(again) == summarise(records)
    assert read_about(tmp_path / "cells.parquet") == about
    assert is_restoration_table(tmp_path / "cells.parquet")
    (tmp_path / "images.parquet").unlink()
    with pytest.raises(StorageError, match=r"images\.parquet cannot be read"):
        read_restoration_records(tmp_path / "cells.parquet")


def test_a_report_is_made_from_tables_days_later(tmp_path):
    records = sweep()
    about = About(name="s", kind="covariate-shift", question="Why <not>?", command="python x.py")
    folder = tmp_path / "report"
    write_restoration_tables(records, summarise(records), folder, about)
    (tmp_path / "samples").mkdir()
    out = tmp_path / "out"
    said = make_report(Wanted(cells=(folder,), out=out))
    assert "on mosaics with jpeg at 0.3 bpp (reached 0.310)" in said
    page = (out / "report.html").read_text()
    for text in ("Why &lt;not&gt;?", "python x.py", "share recovered", "whole drop", "seed 0/2: "):
        assert text in page, text
    assert (out / "decomposition_mosaics.svg").exists()


def test_asked_rates_that_are_one_setting_are_named():
    """A learned codec's nearest lambda may be the same for two rates."""
    both = [*sweep(), *(c.model_copy(update={"metrics": {**c.metrics, "rate/train_bpp": 0.31}})
                        for c in sweep(rate=0.32) if c.params["configuration"] != "OO")]  # fmt: skip
    said = summarise(both).sentences
    assert said[0].startswith("mosaics, jpeg: 0.3 and 0.32 bpp asked are one setting of the codec")
    assert not any("one setting" in line for line in summarise(sweep()).sentences)


def test_failed_cells_are_in_no_mean():
    failed = record("CC", 7, 0.1).model_copy(update={"status": "failed"})
    with_failed = summarise([*sweep(), failed])
    assert with_failed.scores == summarise(sweep()).scores
