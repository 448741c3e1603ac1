"""Lines along an axis and over domains: what is joined, what is chosen, and what is said."""

import pytest

from interfero.analysis.answers import BITRATE, DOMAIN_SHIFT, IMAGE_COUNT, Findings
from interfero.analysis.charts.trends import domain_figure, trend_figure
from interfero.analysis.report.page import Report, report_figures
from interfero.analysis.shared_block import answer_lambda
from interfero.analysis.trend_sentences import (
    domain_lines,
    enough_lines,
    rank_correlation,
    trend_lines,
)
from interfero.analysis.trends import domain_shifts, trends

GAINS = {1: 1.0, 5: 3.8, 20: 4.0}


@pytest.fixture
def cell(record, measured):
    def build(gain, lost, method="finetune", size=0, distance=None, **params):
        more = {} if distance is None else {
            "distance/feature_sd": distance,
            "distance/latent_bits": 1 / distance,
            "distance/rd_excess_percent": 10.0,
        }  # fmt: skip
        return record(method, size, metrics=measured(gain, lost, **more), **params)

    return build


@pytest.fixture
def counted(cell):
    """Two domains, three image counts, two seeds; on the second, forgetting falls in one seed."""
    return [
        cell(gain + seed, (10.0 if domain == "text" or seed else -10.0) * count,
             domain=domain, num_images=count, data_seed=seed)
        for domain in ("text", "charts")
        for count, gain in GAINS.items()
        for seed in (0, 1)
    ]  # fmt: skip


def test_a_budget_is_an_axis_with_its_sentences_and_figure(cell):
    found = trends(
        [
            cell(gain, lost, domain="text", num_steps=steps, data_seed=seed)
            for seed in (0, 1)
            for steps, gain, lost in ((60, 4.0, 2.0), (250, 9.5, 7.0), (1000, 10.0, 40.0))
        ],
        "num_steps",
    )
    (line,) = trend_lines(found)
    assert line.startswith("From 60 to 1000 steps, finetune's gain on the target changes from +4")
    assert "unrouted forgetting changes from +2" in line
    (enough,) = enough_lines(found)
    assert enough.startswith("Optimiser steps needed for 90 % of finetune's best validation gain:")
    assert enough.endswith(": 250 on text.")
    figure = trend_figure(found, "training_budget")
    assert figure.variants[0].panels[0].x.label == "optimiser steps"
    assert [p.x for p in figure.variants[0].panels[0].series[0].points] == [60, 250, 1000]


def test_a_line_joins_means_over_seeds_and_nothing_that_differs_otherwise(counted, cell):
    lone = cell(9.0, 9.0, domain="text", num_images=1, rd_lambda=0.1)
    found = trends([*counted, lone], "num_images")
    assert [(t.setting.domain, [p.x for p in t.points]) for t in found] == [
        ("charts", [1, 5, 20]),
        ("text", [1, 5, 20]),
    ]
    assert [p.gain for p in found[1].points] == [1.5, 4.3, 4.5]
    assert [p.forgetting for p in found[0].points] == [0, 0, 0]
    assert found[0].points[2].losses == {(0, 0): -200, (1, 0): 200}


def test_of_several_sizes_the_best_on_validation_is_drawn(cell):
    records = [
        cell(gain, 1.0, "lora", size, num_images=count)
        for size, gain in ((2, 1.0), (4, 3.0), (8, 2.0))
        for count in (1, 5)
    ]
    (found,) = trends(records, "num_images")
    assert found.setting.adapter_size == 4


def test_an_axis_that_is_no_param_is_refused():
    with pytest.raises(
        ValueError, match="num_images, rd_lambda, num_steps, adapter_size, got 'domain'"
    ):
        trends([], "domain")


def test_sentences_give_both_ends_and_how_many_seeds_agree(counted):
    found = trends(counted, "num_images")
    (line,) = trend_lines(found)
    assert line == (
        "From 1 to 20 training images, finetune's gain on the target changes from +1.50 % to +4.50 % (higher "
        "in 2 of 2 comparisons; all 2 seeds agree in 2); unrouted forgetting changes from 0 to +10.00 % to 0 "
        "to +200.00 % (higher in 1 of 2 comparisons; all 2 seeds agree in 1)."
    )
    (line,) = enough_lines(found)
    assert line.endswith("best validation gain: 5 on charts, text.")


def test_a_seed_that_is_missing_at_one_end_shifts_no_other(cell):
    """By position, seed 1 at one image would meet seed 0 at five: the gain would fall, forgetting rise."""
    results = {
        1: {1: (10.0, 10.0), 2: (1.0, 1.0)},
        5: {0: (5.0, 20.0), 1: (12.0, 5.0), 2: (3.0, 3.0)},
    }
    records = [
        cell(*result, num_images=count, data_seed=seed)
        for count, seeds in results.items()
        for seed, result in seeds.items()
    ]
    (found,) = trends(records, "num_images")
    assert [set(p.gains) for p in found.points] == [{(1, 0), (2, 0)}] * 2
    assert [p.gain for p in found.points] == [5.5, 7.5]
    gain, lost = trend_lines([found])[0].split("; unrouted")
    assert gain.endswith("(higher in 1 of 1 comparisons; all 2 seeds agree in 1)")
    assert lost.endswith("(higher in 0 of 1 comparisons; all 2 seeds agree in 0).")
    few = [r for r in records if r.params["data_seed"] < 2]
    assert [list(p.gains) for p in trends(few, "num_images")[0].points] == [[(1, 0)]] * 2
    lone = [
        r for r in records if (r.params["num_images"], r.params["data_seed"]) in ((1, 1), (5, 0))
    ]
    assert trends(lone, "num_images") == [], "no seed in common: nothing is joined"


def test_enough_images_says_where_nothing_was_gained_and_where_the_most_were_needed(cell):
    records = [cell(-1.0, 0.0, num_images=n) for n in (1, 5)]
    records += [cell(float(n), 0.0, num_images=n, domain="text") for n in (1, 5)]
    (line,) = enough_lines(trends(records, "num_images"))
    assert line.endswith("none (no gain) on histology; 5 (the largest number tried) on text.")


def test_the_control_has_no_sentence_but_a_line(counted, cell):
    control = [cell(0.0, 0.1, "continue_source", domain="text", num_images=n) for n in (1, 5)]
    found = trends([*counted, *control], "num_images")
    assert "continue_source" not in "".join([*trend_lines(found), *enough_lines(found)])
    labels = {s.label for v in trend_figure(found, "t").variants for s in v.panels[0].series}
    assert "continue_source (control)" in labels


def test_rank_correlation_and_chance_by_hand():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == (1.0, 2 / 24)
    # Of the six orders of three, two have rho 1 or -1 and four have 0.5 or -0.5.
    assert rank_correlation([1, 2, 3], [1, 3, 2]) == (pytest.approx(0.5), 1.0)
    rho, chance = rank_correlation(range(12), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 10])
    assert rho == pytest.approx(1 - 6 * 2 / (12 * 143))
    assert chance < 1e-6


@pytest.fixture
def shifted(cell):
    """Five domains: what is further is forgotten more; one has fewer images as well."""
    names = ("maps", "scans", "text", "charts", "skies")
    cells = [cell(5.0 - i, 10.0**i, domain=d, distance=i + 1.0) for i, d in enumerate(names)]
    return [*cells, cell(0.5, 0.1, domain="text", num_images=5, distance=3.0)]


def test_domains_are_compared_at_one_image_count(shifted, cell):
    """Domain `skies` has its other result at 51 images: a point there would compare image counts."""
    (found,) = domain_shifts(
        [*shifted, cell(9.0, 9.0, domain="skies", num_images=51, distance=5.0)]
    )
    assert found.setting.num_images == 20
    assert len(found.points) == 5
    assert found.distances == ("feature_sd", "latent_bits", "rd_ratio")
    apart = [cell(1.0, 1.0, domain=d, num_images=n) for d, n in (("text", 6), ("charts", 51))]
    assert domain_shifts(apart) == []
    (found,) = domain_shifts([*shifted, cell(9.0, 9.0, domain="far", num_images=51, distance=9.0)])
    assert found.left_out == ("far",)
    assert "left out are far of finetune." in domain_figure([found]).variants[0].caption


def test_domain_sentences_name_the_ends_and_what_chance_would_do(shifted):
    first, second = domain_lines(domain_shifts(shifted))
    assert "forgets most, unrouted, on skies (+10000.00 % of the source loss)" in first
    assert "gains most on maps (+5.00 %) and least on skies (+1.00 %)" in first
    # 2 of 120 orders; the third measure is the same everywhere and ranks nothing.
    assert "over 5 domains" in second
    assert "feature distance +1.00 (2%), latent divergence -1.00 (2%)." in second


def test_the_sentences_of_a_question_are_of_one_budget(shifted, counted, cell):
    """Planted: after 50 steps text is forgotten most, and gains fall with images."""
    few = [cell(-9.0, 1e6, domain=d, distance=1.0, num_steps=50) for d in ("maps", "text", "skies")]
    once, both = Findings(shifted), Findings([*shifted, *few])
    after = DOMAIN_SHIFT.sentences(both)
    assert len(after) == len(DOMAIN_SHIFT.sentences(once)) == 2
    assert after[0] == DOMAIN_SHIFT.sentences(once)[0][:-1] + ", after 300 steps."
    assert after[1] == DOMAIN_SHIFT.sentences(once)[1]
    short = [cell(-float(n), 1.0, domain="text", num_images=n, num_steps=50) for n in (1, 5)]
    lines = IMAGE_COUNT.sentences(Findings([*counted, *short]))
    alone = IMAGE_COUNT.sentences(Findings(counted))
    assert lines[0] == alone[0].replace("images, finetune", "images, after 300 steps, finetune")
    assert lines[1] == alone[1].replace("gain:", "gain, after 300 steps:")
    figure = domain_figure(domain_shifts([*shifted, *few]))
    assert {v.choice[1] for v in figure.variants} == {
        "lambda 0.0067, 300 steps", "lambda 0.0067, 50 steps",
    }  # fmt: skip
    assert figure.variants[0].choice[1].endswith("300 steps")
    assert len({v.file for v in figure.variants}) == 2


def test_figures_open_at_the_lambda_of_the_answer(shifted, cell, with_grey):
    """They opened at the second of four, or at that of grey domains, beside an answer at the third."""
    values = (0.0016, 0.0045, 0.013, 0.045)
    cells = [
        r.model_copy(update={"params": {**r.params, "rd_lambda": value}, "key": f"{r.key}-{value}"})
        for r in shifted
        for value in values
    ]
    # Of the third lambda domains have most image counts, but for the grey one.
    cells = [r for r in cells if r.params["num_images"] == 20 or r.params["rd_lambda"] == 0.013]
    counts = (1, 2, 5, 10, 51)
    cells += [
        cell(1.0, 1.0, domain="skies", distance=5.0, num_images=n, rd_lambda=0.0016) for n in counts
    ]
    cells = with_grey(cells, "skies")
    assert answer_lambda(cells) == 0.013
    figures = {f.name: f for f in report_figures(Report("a", cells, ()))}
    for name in ("overview", "domain_shift", "distance", "capacity"):
        opened = figures[name].variants[figures[name].start]
        assert "lambda 0.013" in opened.caption.lower().replace("lambda is", "lambda"), name
    text = [r for r in cells if r.params["domain"] == "text"]
    more = [
        r.model_copy(update={"params": {**r.params, "num_images": 5}, "key": f"{r.key}-5"})
        for r in text
        if r.params["num_images"] == 20
    ]
    lines = trend_figure(trends([*text, *more], "num_images"), "image_count", 0.013)
    assert "lambda 0.013" in lines.variants[lines.start].caption


def test_three_domains_rank_nothing(shifted):
    few = [r for r in shifted if r.params["domain"] in ("maps", "scans", "text")]
    assert "cannot be told from 3 domains" in domain_lines(domain_shifts(few))[1]


def test_domains_are_named_and_distances_have_units(shifted):
    (variant, *_) = domain_figure(domain_shifts(shifted)).variants
    gain, lost = variant.panels
    assert gain.y.names[0] == "skies 5"
    assert "feature distance (source s.d.)" in variant.caption
    assert "with 20 training images each." in variant.caption
    assert lost.x.label == "Forgetting, unrouted (%)"


def test_every_line_of_a_figure_is_drawn_with_its_seeds(counted):
    charts, text = trend_figure(trends(counted, "num_images"), "image_count").variants
    assert "2 seeds" in text.caption
    (line,) = text.panels[0].series
    assert [p.y for p in line.points] == [1.5, 4.3, 4.5]
    assert line.points[0].y_range == (1.0, 2.0)
    assert charts.file == text.file == "image_count"


def test_answers_hold_where_nothing_finished(counted, fail):
    found = Findings([fail(r) for r in counted])
    for answer in (IMAGE_COUNT, DOMAIN_SHIFT, BITRATE):
        assert answer.sentences(found) == []
    assert trend_figure(found.by_images, "t") is domain_figure(found.by_domain) is None
