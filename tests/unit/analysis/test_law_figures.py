"""Figures of laws and curves: read back from the artists."""

import matplotlib
import numpy as np
import pytest

from interfero.analysis.laws.figures import curve_figure, law_figure, main_axis, write_law_figures
from interfero.analysis.laws.observations import RESPONSES, observations
from interfero.analysis.laws.scaling import fit_observations, refused
from interfero.analysis.rd_curves import CurveKey, CurvePoint, NoDelta, RdCurve
from tools.planted import PlantedSweep


@pytest.fixture(scope="module")
def scaling():
    sweep = PlantedSweep(
        lambda place: 4 * place["num_images"] ** 0.3 * place["rd_lambda"] ** 0.2,
        lambdas=(0.0045, 0.013),
    )
    records = sweep.records(np.random.default_rng(0))
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    return fit_observations(data)


def words(figure):
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def test_points_lie_about_the_law_and_the_legend_names_the_domains(scaling):
    figure = law_figure(scaling)
    left, right = figure.axes
    assert main_axis(scaling) == "num_images"
    for container in left.containers:
        points = container.lines[0].get_xydata()
        assert set(points[:, 0]) == {1, 5, 20, 80}
        colour = container.lines[0].get_color()
        (line,) = [
            item
            for item in left.lines
            if item.get_color() == colour and len(item.get_xdata()) == 60
        ]
        on_law = np.interp(points[:, 0], *np.array(line.get_data()))
        # Moved along lambda to one place, settings scatter by their own noise alone.
        assert points[:, 1] == pytest.approx(on_law, rel=0.2)
    labels = {line.get_label() for line in right.lines}
    assert {"charts mean of the others", "text mean of the others"} <= labels
    text = words(figure)
    assert "power law, 95 % intervals: exponent of images" in text
    assert "at the mean of lambda" in text
    assert "forgetting, unrouted (%)" in text


def test_a_distance_is_drawn_from_four_domains_on():
    four = {"domains": ("a", "b", "c", "d"), "distances": (1.0, 2.0, 4.0, 8.0)}
    sweep = PlantedSweep(
        lambda place: place["num_images"] ** 0.3 * place["feature_sd"],
        num_images=(1, 5, 20),
        **four,
    )
    (data,) = observations(
        sweep.records(np.random.default_rng(0)), RESPONSES["forgetting_unrouted"]
    ).values()
    figure = law_figure(fit_observations(data))
    right = figure.axes[1]
    drawn = {line.get_label(): line for line in right.lines}
    near, far = (drawn[f"d {kind}"].get_data() for kind in ("by distance", "mean of the others"))
    # The furthest domain forgets most: its distance says so, the mean of the others does not.
    assert np.abs(np.log(near[0] / near[1])).mean() < np.abs(np.log(far[0] / far[1])).mean() / 2
    assert "by feature distance" in right.get_title(loc="left")


def test_refusals_have_no_figure(scaling, tmp_path):
    none = refused(scaling.data.only(np.zeros(24, dtype=bool) | (np.arange(24) < 3)))
    assert "3 settings" in none.reason
    assert write_law_figures([none], tmp_path) == []


def test_curves_are_means_over_seeds_of_the_best_setting():
    def curve(seed, method, size, validation, shift):
        points = tuple(
            CurvePoint(v, (r, p), (r, p + shift + seed))
            for v, r, p in ((0.0045, 0.4, 30.0), (0.013, 0.8, 33.0))
        )
        key = CurveKey("text", 20, 300, "c", method, size, 0.0, 1e-3, seed, 0)
        none = NoDelta("2 points")
        return [
            RdCurve(key, s, points, validation, none, none) for s in ("target", "source_unrouted")
        ]

    curves = [*curve(0, "cawf", 2, 1.0, 9.0), *curve(1, "cawf", 2, 1.0, 9.0)]
    curves += [*curve(0, "cawf", 8, 3.0, 1.0), *curve(1, "cawf", 8, 3.0, 1.0)]
    figure = curve_figure(curves, "text")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["cawf"].get_ydata().tolist() == [31.5, 34.5]
    assert lines["source codec"].get_xdata().tolist() == [0.4, 0.8]
    assert "rate (bpp)" in words(figure)
    assert "mean over 2 seeds" in words(figure)
