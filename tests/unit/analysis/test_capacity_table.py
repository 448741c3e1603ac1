"""The table of settings: every number comes from the records."""

from interfero.analysis.capacity_table import capacity_rows, places_text, table_caption
from interfero.analysis.choices import CellSetting, choose_learning_rates

ONE_SEED = "illustration, n = 1 seed"


def caption(records):
    return table_caption(choose_learning_rates(records))


def test_a_row_has_the_chosen_cell_in_the_units_of_its_header(small_sweep):
    header, rows = capacity_rows(small_sweep)
    assert [h.replace("\n", " ") for h in header] == [
        "domain",
        "method",
        "size",
        "learn rate",
        "target gain %",
        "forget routed %",
        "forget unrouted %",
        "old exact %",
        "PSNR drop dB",
        "params %",
    ]
    # 0.9999 of the old bitstreams is not all of them.
    assert rows[0] == [
        *("charts", "finetune", "-", "1e-3*", "+8.00", "+30.00", "+30.00", "99.9", "+6.25", "100")
    ]
    assert rows[1] == [*("charts", "cawf", "4", "1e-3*", "+4.00", "0", "+50.00", "-", "-", "3")]


def test_one_seed_is_called_an_illustration(sweep):
    text = caption(sweep())
    assert ONE_SEED in text
    assert "at the edge of the learning-rate grid" in text


def test_places_are_told_in_as_few_words_as_tell_them_apart():
    def places(*each):
        return [CellSetting(d, v, n, "c", steps, "finetune", 0) for d, v, n, steps in each]

    text, charts = ("text", 0.01, 51, 9), ("charts", 0.01, 6, 9)
    assert places_text(places(text)) == "1 domain"
    # One image count a domain: the domain tells all.
    assert places_text(places(text, charts)) == "2 domains"
    assert places_text(places(text, ("text", 0.01, 5, 9))) == "2 image counts"
    assert places_text(places(text, charts, ("text", 0.01, 5, 9))) == (
        "3 combinations of domain and image count"
    )
    every = places(text, charts, ("text", 0.05, 51, 9), ("text", 0.05, 5, 9))
    assert places_text(every) == "4 combinations of domain, lambda and image count"


def test_several_seeds_show_mean_spread_and_count(record, measured):
    # Mean 6, sample standard deviation 2.
    records = [
        record(metrics=measured(gain, 1.0), data_seed=seed) for seed, gain in enumerate((4, 6, 8))
    ]
    header, rows = capacity_rows(records)
    assert header[4] == "n"
    assert rows[0][4:7] == ["3", "+6.00\n±2.00", "+1.00\n±0"]
    text = caption(records)
    assert ONE_SEED not in text
    assert "n = 3 seeds; mean ±standard deviation" in text


def test_unequal_seeds_are_told(record, measured):
    records = [record(metrics=measured(1.0, 1.0), data_seed=s) for s in (0, 1)]
    records.append(record("cawf", 4, metrics=measured(1.0, 0.0)))
    assert "n = 1 to 2 seeds" in caption(records)


def test_what_varies_is_a_column(sweep, record, measured):
    header, rows = capacity_rows(sweep(lambdas=(0.0067, 0.025)))
    assert header[1] == "lambda"
    assert {row[1] for row in rows} == {"0.0067", "0.025"}
    records = [record(metrics=measured(1, 1), num_images=n) for n in (5, 20)]
    assert capacity_rows(records)[0][1] == "images"


def test_crops_are_counted_as_crops(record, measured):
    given = [("text", 51, "images"), ("histology", 6, "crops")]
    records = [
        record(metrics=measured(1, 1), domain=domain, num_images=n, image_unit=unit)
        for domain, n, unit in given
    ]
    header, rows = capacity_rows(records)
    assert header[1] == "images"
    assert [row[:2] for row in rows] == [["histology", "6 crops"], ["text", "51"]]
    assert "all else on test images or crops" in caption(records)
    assert "all else on test crops" in caption(records[1:])


def test_seeds_that_chose_differently_show_both_rates(record, measured):
    records = [
        record(learning_rate=rate, data_seed=seed, metrics=measured(gain, 1.0))
        for seed, rate, gain in ((0, 1e-4, 1), (0, 1e-3, 2), (1, 1e-4, 2), (1, 1e-3, 1))
    ]
    (row,) = capacity_rows(records)[1]
    assert row[3:6] == ["1e-4\n1e-3*", "2", "+2.00\n±0"]
    assert "chosen on validation per seed" in caption(records)


def test_settings_without_result_are_rows_of_dashes(sweep, fail):
    records = [fail(r) if r.params["method"] == "finetune" else r for r in sweep()]
    dropped = [r for r in records if (r.params["domain"], r.params["adapter_size"]) != ("text", 2)]
    rows = capacity_rows(dropped)[1]
    assert ["text", "finetune", "-", "failed", *["-"] * 6] in rows
    assert ["text", "cawf", "2", "not run", *["-"] * 6] in rows


def test_nothing_finished_is_said(sweep, fail):
    assert "no cell finished" in caption([fail(r) for r in sweep()])
    assert "no cell finished" in caption([])
