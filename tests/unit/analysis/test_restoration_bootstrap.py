"""What an interval of a restoration sweep is drawn from: seeds that are independent, and whole pictures."""

import numpy as np
import pytest

from interfero.analysis.report.restoration import RestorationReport, restoration_html
from interfero.analysis.restoration.bootstrap import estimate
from interfero.analysis.restoration.losses import summarise
from interfero.errors import ConfigError
from tests.unit.analysis.test_restoration import LEVELS, differences, drawn, iou, record, sweep


def of_pictures(cells, picture):
    """The same cells, test image i cut from `picture(i)`."""
    return [
        c.model_copy(
            update={
                "segmented": tuple(
                    image.model_copy(update={"group": picture(i)})
                    for i, image in enumerate(c.segmented)
                )
            }
        )
        for c in cells
    ]


def sentence(records, name="covariate shift"):
    (found,) = [line for line in summarise(records).sentences if f": {name} " in line]
    return found


def test_crops_of_one_picture_are_not_drawn():
    """They say nothing of other pictures: what is left are the seeds, and all that is written says so."""
    cells = of_pictures(sweep(), lambda _: "one")
    alone, whole = differences(cells)["covariate shift"], differences(sweep())["covariate shift"]
    assert alone.value == whole.value
    assert (alone.drawn.images, alone.drawn.pictures) == (12, 1)
    by_seed = [
        a.metrics["segmentation/miou"] - b.metrics["segmentation/miou"]
        for a, b in zip(*([c for c in cells if c.params["configuration"] == w] for w in ("CC", "CO")),
                        strict=True)
    ]  # fmt: skip
    # Of three seeds alone: Student's t with 2 degrees of freedom, times the standard error.
    assert alone.half_width == pytest.approx(4.3027 * np.std(by_seed, ddof=1) / 3**0.5, rel=1e-3)
    assert alone.half_width < whole.half_width
    told = "n = 3 init seeds, 12 crops; seeds only: the test images are cut from the same pictures)"
    assert told in sentence(cells)
    page = restoration_html(RestorationReport("s", cells, summarise(cells)))
    assert "over init seeds only, because the test images are cut from the same pictures" in page
    assert "seeds only" not in restoration_html(RestorationReport("s", sweep(), summarise(sweep())))


def test_pictures_are_drawn_whole():
    """Three pictures, four crops each: images of a picture that is hard are hard together."""
    hard = np.repeat([-0.1, 0.0, 0.1], 4)
    shares = {"OO": 0.8 + 0 * hard, "CO": 0.7 + hard}
    cells = [drawn(c, s, share + 1e-3 * s) for c, share in shares.items() for s in range(3)]
    apart = differences(cells)["whole drop"]
    together = differences(of_pictures(cells, lambda i: f"picture {i // 4}"))["whole drop"]
    assert together.half_width > 2 * apart.half_width
    assert together.drawn.pictures == 3
    assert "n = 3 init seeds, 12 crops of 3 pictures)" in sentence(
        of_pictures(cells, lambda i: f"picture {i // 4}"), "whole drop"
    )


def test_models_of_one_data_seed_are_not_independent():
    """Three data seeds of three models each are three draws of a restorer, not nine."""
    cells = [
        record(c, s, v, data_seed=d)
        for c, v in LEVELS.items() for d in range(3) for s in range(3)
    ]  # fmt: skip
    found = differences(cells)["restoration gains"].drawn
    assert (found.seeds, found.by, found.models, found.data_seeds) == (3, "data", 9, 3)
    told = "n = 3 data seeds of 9 models and 3 restorers, 12 images)"
    assert told in sentence(cells, "restoration gains")
    assert "n = 3 data seeds of 9 models, 12 images)" in sentence(cells)
    (score,) = [s for s in summarise(cells).scores if s.line.configuration == "CC"]
    assert score.seeds_text == "3 (9 models)"


def test_intervals_hold_where_data_seeds_scatter():
    """What a data seed draws moves all of its models: nine of ten 95 % intervals hold the truth."""
    truth, held = iou(0.8) - iou(0.7), 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        hard, restorers = rng.normal(0, 0.02, 24), rng.normal(0, 0.03, 3)
        cells = [
            drawn(c, s, v + hard + rng.normal(0, 0.005) + (c == "RO") * restorers[d], data_seed=d)
            for c, v in (("CO", 0.7), ("RO", 0.8))
            for d in range(3)
            for s in range(3)
        ]
        gain = differences(cells)["restoration gains"]
        held += gain.low < truth < gain.high
    assert held >= 54


def with_restorers(rng, luck, restorers=3):
    """CO, and RO of three init seeds by several restorers, each with its own luck; OO above both."""
    hard = rng.normal(0, 0.02, 24)
    of_seed = rng.normal(0, 0.01, 3)
    cells = [drawn(c, s, v + hard + of_seed[s] + rng.normal(0, 0.003))
             for c, v in (("OO", 0.9), ("CO", 0.7)) for s in range(3)]  # fmt: skip
    for r, own in enumerate(rng.normal(0, luck, restorers)):
        cells += [
            drawn("RO", s, 0.8 + hard + of_seed[s] + own + rng.normal(0, 0.003), restorer_seed=r)
            for s in range(3)
        ]
    return cells


def test_the_luck_of_restorers_is_inside_the_interval():
    """Nine of ten 95 % intervals hold the truth, and not with one restorer, whose luck no interval has."""
    truth = (iou(0.8) - iou(0.7)) / (iou(0.9) - iou(0.7))
    held = {1: 0, 3: 0}
    for restorers in held:
        for trial in range(30):
            cells = with_restorers(np.random.default_rng(trial), 0.03, restorers)
            lines = [
                [c for c in cells if c.params["configuration"] == w] for w in ("RO", "OO", "CO")
            ]
            share = estimate(lines, lambda m: (m[0] - m[2]) / (m[1] - m[2]))
            held[restorers] += abs(share.value - truth) < share.half_width
    assert held[3] >= 27
    assert held[1] < 20


def test_intervals_say_that_restorers_were_drawn():
    cells = with_restorers(np.random.default_rng(0), 0.02)
    found = differences(cells, "RO")
    share = found["share recovered"]
    assert (share.drawn.seeds, share.drawn.restorers, share.drawn.models) == (3, 3, 3)
    assert "n = 3 init seeds x 3 restorers, 12 images)".replace("12", "24") in sentence(
        cells, "share recovered"
    )
    assert share.drawn.over == "init seeds, restorers and source images"
    # The mean of RO is over restorers and seeds, and what has no restorer is as it was.
    ro = [c.metrics["segmentation/miou"] for c in cells if c.params["configuration"] == "RO"]
    (score,) = [s for s in summarise(cells).scores if s.line.configuration == "RO"]
    assert len(score.values) == len(ro) == 9
    assert score.seeds_text == "3 (9 models)"
    assert differences(cells)["whole drop"].drawn.restorers == 0


def test_a_restorer_that_a_seed_lacks_is_left_out():
    cells = with_restorers(np.random.default_rng(0), 0.02)
    lost = [c for c in cells if (c.params.get("restorer_seed"), c.params["init_seed"]) != (2, 1)]
    assert differences(lost, "RO")["share recovered"].drawn.restorers == 2


def test_data_seeds_count_alike_whatever_models_they_have():
    cells = [record("CC", s, v, data_seed=d, spread=0.0)
             for d, v, models in ((0, 0.8, 3), (1, 0.6, 1)) for s in range(models)]  # fmt: skip
    each = [c.metrics["segmentation/miou"] for c in cells]
    found = estimate([cells], lambda means: means[0])
    assert found.value == pytest.approx((each[0] + each[-1]) / 2)
    assert summarise(cells).scores[0].mean == pytest.approx(found.value)


def test_records_that_tell_crops_of_one_picture_apart_are_read_as_the_others():
    """Of a sweep that was begun before pictures were told from blocks, and gone on with since."""
    old, new = sweep(seeds=2), of_pictures([r for r in sweep() if r.params["init_seed"] == 2],
                                           lambda _: "one")  # fmt: skip
    assert differences([*old, *new])["covariate shift"].drawn.pictures == 1


def test_cells_of_other_test_images_are_refused():
    cells = [record("CC", 0, 0.8), record("CO", 0, 0.7, images=8)]
    with pytest.raises(ConfigError, match=r"mosaics were tested on 2 different sets of images"):
        summarise(cells)
