"""A known shift: what is planted is found, and where nothing is planted nothing is claimed."""

import numpy as np
import pytest

from interfero.analysis.answers import GRADED_SHIFT, Findings
from interfero.analysis.charts.graded import graded_figure
from interfero.analysis.graded import foretelling, graded_families, graded_lines
from interfero.analysis.trends import domain_shifts
from interfero.domains.graded_names import CORRUPTIONS

SEVERITIES = (1, 3, 5)


@pytest.fixture
def shift(record, measured):
    """One method on corruptions of photos, from what each does at each severity."""

    def build(effect, names=CORRUPTIONS, more=(), seeds=(0,)):
        cells = []
        for name in names:
            for severity in SEVERITIES:
                for seed in seeds:
                    gain, lost, distances = effect(name, severity)
                    domain = f"photos.{name}-{severity}"
                    found = {f"distance/{n}": v for n, v in distances.items()}
                    metrics = measured(gain + seed, lost + seed, **found)
                    cells.append(record(metrics=metrics, domain=domain, data_seed=seed))
        return domain_shifts([*cells, *more])

    return build


def planted(rng, *, told):
    """Forgetting follows a hidden size of each corruption, which `feature_sd` knows if it is told."""
    sizes = {name: float(rng.uniform(0.5, 3)) for name in CORRUPTIONS}

    def effect(name, severity):
        size = sizes[name] * severity
        unknown = {n: float(rng.uniform(1, 9)) for n in ("latent_bits", "feature_sd")}
        distances = unknown | ({"feature_sd": size} if told else {})
        noise = rng.normal(0, 0.3, 2)
        return (
            3 + noise[0],
            2 * size + noise[1],
            distances | {"rd_excess_percent": float(rng.uniform(0, 200))},
        )

    return effect


def test_a_distance_that_knows_the_shift_foretells_it(shift):
    (found,) = shift(planted(np.random.default_rng(1), told=True))
    by_name = {f.distance: f for f in foretelling(found, "forgetting_unrouted")}
    assert by_name["feature_sd"].skill > 0.8
    assert by_name["feature_sd"].low > 0
    assert by_name["latent_bits"].low < 0 > by_name["rd_ratio"].low
    lines = graded_lines([found])
    line = next(text for text in lines if "better than a constant" in text)
    assert line.startswith(
        "Feature distance, measured before adapting, foretold finetune's unrouted"
    )


def test_where_nothing_is_planted_none_foretells(shift):
    """Of 25 studies without any relation, each with three distances."""
    claims = 0
    for seed in range(25):
        (found,) = shift(planted(np.random.default_rng(seed), told=False))
        claims += any(f.low > 0 for f in foretelling(found, "forgetting_unrouted"))
    assert claims <= 1
    lines = [text for text in graded_lines([found]) if "better than a constant" in text]
    assert len(lines) == 2
    assert all(t.startswith("No distance measured before adapting foretold") for t in lines)


def test_a_level_of_each_corruption_is_not_taken_for_severity(shift):
    """A distance that follows severity within a corruption, while corruptions differ in forgetting alone."""
    rng = np.random.default_rng(0)
    own = {name: float(rng.uniform(0, 20)) for name in CORRUPTIONS}
    (found,) = shift(lambda name, s: (1.0 + s, own[name], {"feature_sd": float(s)}))
    (only,) = foretelling(found, "forgetting_unrouted")
    assert only.low < 0


def test_forgetting_that_grows_with_severity_is_told_with_its_interval(shift):
    names = CORRUPTIONS[:8]
    (found,) = shift(lambda name, s: (5.0, s * (1 + names.index(name)), {}), names)
    line, gain, *_ = graded_lines([found])
    assert (
        line
        == (
            "finetune's unrouted forgetting grows with severity. It rises in 8 of 8 corruptions (sign test: "
            "chance gives as uneven a count 1% of the time); mean rank correlation +1.00. From the lowest "
            "severity to the highest it changes by +18.00 percentage points on average (95% interval, "
            "corruptions as draws: +9.81 to +26.19), most under snow (+32.00), least under gaussian_noise "
            "(+4.00)."
        )
    )  # 4 to 32 by 4: mean 18, standard error 9.798 / sqrt 8 = 3.464, Student's t of 7 degrees 2.365.
    assert "gain on the target neither clearly grows nor clearly falls" in gain


def test_few_corruptions_decide_nothing(shift):
    (found,) = shift(lambda _, s: (5.0, float(s), {"feature_sd": float(s)}), CORRUPTIONS[:3])
    line, _, *rest = graded_lines([found])
    assert "cannot be decided to follow severity by 3 corruptions: 6 are needed" in line
    assert "cannot be told from 3 corruptions: 6 are needed" in rest[0]


def test_mixtures_have_a_sentence_and_no_interval(shift, record, measured):
    more = [
        record(metrics=measured(share / 10, share / 50), domain=f"photos.mix-text-{share}")
        for share in (0, 50, 100)
    ]
    (found,) = shift(lambda _, s: (5.0, float(s), {}), more=more)
    assert [f.name for f in graded_families(found)] == [*CORRUPTIONS, "mix-text"]
    line = next(text for text in graded_lines([found]) if text.startswith("As the share"))
    assert line == (
        "As the share of text in photos rises from 0 to 100 %, finetune's gain on the target goes from 0 "
        "% to +10.00 % and its unrouted forgetting goes from 0 % to +2.00 % (rank correlations +1.00 and "
        "+1.00 over 3 shares; one mixture has no interval)."
    )


def test_a_picture_has_a_line_for_each_corruption(shift, record, measured):
    more = [
        record(metrics=measured(1.0, 1.0), domain=f"photos.mix-text-{s}", data_seed=seed)
        for s in (0, 100)
        for seed in (0, 1)
    ]
    found = shift(lambda _, s: (5.0, float(s), {}), more=more, seeds=(0, 1))
    corruptions, mixture = graded_figure(found).variants
    assert corruptions.choice == ("finetune", "severity", "lambda 0.0067, 300 steps")
    _, lost = corruptions.panels
    assert [s.label for s in lost.series] == list(CORRUPTIONS)
    assert len({(s.colour, s.marker) for s in lost.series}) == 15
    assert [p.x for p in lost.series[0].points] == list(SEVERITIES)
    assert lost.series[0].points[0].y_range == (1.0, 2.0)
    assert (corruptions.file, mixture.file) == ("graded_shift", "graded_shift_mixtures")
    assert "means over 2 seeds" in corruptions.caption
    (line,) = mixture.panels[0].series
    assert [p.x for p in line.points] == [0, 100]
    assert line.colour not in {s.colour for s in lost.series}


def test_other_domains_are_not_answered(record, measured):
    cells = [record(metrics=measured(1.0, 1.0), domain=d) for d in ("text", "charts")]
    assert GRADED_SHIFT.sentences(Findings(cells)) == []
    assert graded_figure(domain_shifts(cells)) is None
