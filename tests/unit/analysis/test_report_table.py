"""The terminal table and the sentences: every number comes from the records."""

from rich.console import Console

from interfero.analysis.report_table import (
    capacity_rows,
    capacity_table,
    failed_lines,
    summary_lines,
)

ONE_SEED = "illustration, n = 1 seed"


def shown(records, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(capacity_table(records))
    return console.export_text()


def measured(gain, routed, unrouted=None, val=None, **more):
    return {
        "val/rd_gain_percent": gain if val is None else val,
        "target/rd_gain_percent": gain,
        "source/forgetting_percent": routed,
        "source/forgetting_unrouted_percent": routed if unrouted is None else unrouted,
        **more,
    }


OLD = {"bitstream/old_pixels_exact": 0.9999, "bitstream/old_psnr_drop_db": 6.25}
EXACT = {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}


def small_sweep(record):
    """Two domains by hand; fine-tuning forgets on one of them, measured against the control."""
    records = []
    for domain, tuned, control in (("charts", 30.0, -0.5), ("text", 0.4, 0.5)):
        place = {"domain": domain}
        kept = measured(4.0, 0.0, 50.0, adapter_fraction=0.03, **EXACT)
        records += [
            record(metrics=measured(8.0, tuned, adapter_fraction=1.0, **OLD), **place),
            record(metrics=measured(-1.0, 0.1), learning_rate=1e-4, **place),
            record("cawf", 4, metrics=kept, **place),
            record("cawf", 8, metrics={**kept, "val/rd_gain_percent": 4.2}, **place),
            record("continue_source", metrics=measured(0.1, control), **place),
        ]
    return records


def test_a_row_has_the_chosen_cell_in_the_units_of_its_header(record):
    header, rows = capacity_rows(small_sweep(record))
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
        *("charts", "finetune", "-", "0.001*", "+8.00", "+30.00", "+30.00", "99.9", "+6.25", "100")
    ]
    assert rows[1] == [*("charts", "cawf", "4", "0.001*", "+4.00", "0", "+50.00", "-", "-", "3")]


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


def test_several_seeds_show_mean_spread_and_count(record):
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


def test_unequal_seeds_are_told(record):
    records = [record(metrics=measured(1.0, 1.0), data_seed=s) for s in (0, 1)]
    records.append(record("cawf", 4, metrics=measured(1.0, 0.0)))
    assert "n = 1 to 2 seeds" in shown(records)


def test_what_varies_is_a_column(sweep, record):
    header, rows = capacity_rows(sweep(lambdas=(0.0067, 0.025)))
    assert header[1] == "lambda"
    assert {row[1] for row in rows} == {"0.0067", "0.025"}
    records = [record(metrics=measured(1, 1), num_images=n) for n in (5, 20)]
    assert capacity_rows(records)[0][1] == "images"


def test_settings_without_result_are_rows_of_dashes(sweep, fail):
    records = [fail(r) if r.params["method"] == "finetune" else r for r in sweep()]
    dropped = [r for r in records if (r.params["domain"], r.params["adapter_size"]) != ("text", 2)]
    rows = capacity_rows(dropped)[1]
    assert ["text", "finetune", "-", "failed", *["-"] * 6] in rows
    assert ["text", "cawf", "2", "not run", *["-"] * 6] in rows
    assert "failed" in shown(dropped)


def test_sentences_by_hand(record):
    lines = summary_lines(small_sweep(record))
    assert (
        lines[0] == "finetune gains on 2 of 2 domains: +8.00 % of the target loss on test images."
    )
    assert lines[1] == (
        "finetune forgets, by more than the control's own change, on 1 of 2 domains (+0.40 to "
        "+30.00 % of the source loss)."
    )
    assert lines[2] == (
        "Old bitstreams decoded after finetune: 99.9 % pixel-exact, PSNR drop +6.25 dB."
    )
    assert lines[3].endswith("+4.00 % of the target loss on test images, 50 % of finetune's gain.")
    assert "on 0 of 2 domains routed (0 % of" in lines[4]
    assert "on 2 of 2 domains unrouted (+50.00 % of" in lines[4]
    assert lines[5] == (
        "Smallest size with 90 % of cawf's best validation gain: 4 (3 % of the parameters) on "
        "charts, text."
    )
    assert "cawf gave the source codec's bytes and pixels in all of 4 cells" in lines[6]
    assert lines[-1] == f"This is an {ONE_SEED}."


def test_one_inexact_cell_is_not_hidden(record):
    records = small_sweep(record)
    broken = measured(1.0, 0.0, 9.0, **{**EXACT, "source_mode/bytes_exact": 0.99})
    records.append(record("cawf", 4, 1e-4, metrics=broken))
    assert any("in ONLY 4 of 5 cells" in line for line in summary_lines(records))


def test_without_a_control_the_bar_is_zero_and_said_so(record):
    records = [r for r in small_sweep(record) if r.params["method"] != "continue_source"]
    lines = summary_lines(records)
    assert "(0: no control finished), on 2 of 2 domains" in lines[1]
    assert not any("continue_source" in line for line in lines)


def test_one_method_alone_makes_no_sentence_about_others(record):
    lines = summary_lines([record("cawf", 4, metrics=measured(1.0, 0.0, 3.0))])
    assert not any("finetune" in line for line in lines)
    assert any(line.startswith("cawf gains on 1 of 1 domains") for line in lines)
    assert any("1 of 1 settings have one learning rate" in line for line in lines)


def test_missing_metrics_make_no_sentence(record):
    lines = summary_lines([record(metrics={"val/rd_gain_percent": 1.0})])
    assert not any("forgets" in line or "gains" in line for line in lines)


def test_several_lambdas_are_cases(sweep):
    lines = summary_lines(sweep(lambdas=(0.0067, 0.025), seeds=(0, 1)))
    assert lines[0].startswith("finetune gains on 8 of 8 cases:")
    assert "A case is a domain at one lambda and image count." in lines
    assert lines[-1] == "Numbers are means, n = 2 seeds."


def test_failures_are_counted_and_listed(sweep, fail):
    records = sweep(domains=("text",))
    records = [fail(r) if r.params["adapter_size"] == 16 else r for r in records]
    lines = summary_lines(records)
    assert "No result for cawf 16 on text." in lines
    assert "3 of 18 cells failed and are left out." in lines
    failed = failed_lines(records)
    assert len(failed) == 3
    assert all("domain=text" in f and "adapter_size=16" in f and "step 17" in f for f in failed)
    assert failed_lines(sweep()) == []


def test_nothing_finished_is_said(sweep, fail):
    records = [fail(r) for r in sweep()]
    assert summary_lines(records)[-1].startswith("No cell finished")
    assert "no cell finished" in shown(records)
    assert "no cell finished" in shown([])
