"""The terminal table: every number comes from the records."""

from rich.console import Console

from interfero.analysis.capacity_table import capacity_rows, capacity_table

ONE_SEED = "illustration, n = 1 seed"


def shown(records, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(capacity_table(records))
    return console.export_text()


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


def test_domains_are_grouped_and_one_seed_is_called_an_illustration(sweep):
    text = shown(sweep())
    assert ONE_SEED in text
    assert text.count("histology") == 1
    assert "at the edge of the learning-rate grid" in text


def test_no_number_is_cut_at_80_columns(sweep):
    records = sweep(seeds=(0, 1))
    text = shown(records)
    assert "…" not in text
    for row in capacity_rows(records)[1]:
        assert all(part in text for part in row[4].split("\n"))


def test_several_seeds_show_mean_spread_and_count(record, measured):
    # Mean 6, sample standard deviation 2.
    records = [
        record(metrics=measured(gain, 1.0), data_seed=seed) for seed, gain in enumerate((4, 6, 8))
    ]
    header, rows = capacity_rows(records)
    assert header[4] == "n"
    assert rows[0][4:7] == ["3", "+6.00\n±2.00", "+1.00\n±0"]
    text = shown(records)
    assert ONE_SEED not in text
    assert "n = 3 seeds; mean ±standard deviation" in text


def test_unequal_seeds_are_told(record, measured):
    records = [record(metrics=measured(1.0, 1.0), data_seed=s) for s in (0, 1)]
    records.append(record("cawf", 4, metrics=measured(1.0, 0.0)))
    assert "n = 1 to 2 seeds" in shown(records)


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
    assert "all else on test images or crops" in shown(records)
    # One count a domain is no column of the terminal's table.
    table = [line.split() for line in shown(records).splitlines()]
    assert ["6", "crops"] in table
    assert ["51", "images"] in table
    assert "all else on test crops" in shown(records[1:])


def test_seeds_that_chose_differently_show_both_rates(record, measured):
    records = [
        record(learning_rate=rate, data_seed=seed, metrics=measured(gain, 1.0))
        for seed, rate, gain in ((0, 1e-4, 1), (0, 1e-3, 2), (1, 1e-4, 2), (1, 1e-3, 1))
    ]
    (row,) = capacity_rows(records)[1]
    assert row[3:6] == ["1e-4\n1e-3*", "2", "+2.00\n±0"]
    assert "chosen on validation per seed" in shown(records)


def test_settings_without_result_are_rows_of_dashes(sweep, fail):
    records = [fail(r) if r.params["method"] == "finetune" else r for r in sweep()]
    dropped = [r for r in records if (r.params["domain"], r.params["adapter_size"]) != ("text", 2)]
    rows = capacity_rows(dropped)[1]
    assert ["text", "finetune", "-", "failed", *["-"] * 6] in rows
    assert ["text", "cawf", "2", "not run", *["-"] * 6] in rows
    assert "failed" in shown(dropped)


def test_nothing_finished_is_said(sweep, fail):
    assert "no cell finished" in shown([fail(r) for r in sweep()])
    assert "no cell finished" in shown([])
