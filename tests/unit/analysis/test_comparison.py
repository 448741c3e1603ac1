"""Methods compared: by hand-made records, so that every number can be worked out."""

from pathlib import Path

import numpy as np
import pytest

from interfero.analysis.comparison import comparison_text, domain_rows, write_comparison
from interfero.analysis.records import read_records
from interfero.records import CellRecord, ImageRow


@pytest.fixture
def cell():
    def make(
        method, rate, gain, forgetting, *, size=0, seed=0, init=0, domain="text", fraction=1.0,
        codec="c", num_steps=60,
    ):  # fmt: skip
        params = {
            "codec": codec, "domain": domain, "rd_lambda": 0.013, "num_images": 5, "data_seed": seed,
            "method": method, "adapter_size": size, "learning_rate": rate, "init_seed": init,
            "num_steps": num_steps,
        }  # fmt: skip
        metrics = {
            "val/rd_gain_percent": gain,
            "val/forgetting_unrouted_percent": forgetting,
            "target/rd_gain_percent": gain - 1,
            "source/forgetting_percent": 0.0 if size else forgetting,
            "source/forgetting_unrouted_percent": forgetting + 2,
            "adapter_fraction": fraction,
            "adapter/file_bytes": 2048.0,
            "bitstream/old_pixels_exact": float(bool(size)),
            "bitstream/old_psnr_drop_db": 0.0,
            "train/steps_per_second": 4.0,
        }
        key = f"{method}-{rate}-{size}-{seed}-{init}-{domain}-{codec}-{num_steps}"
        return CellRecord(key=key, params=params, status="finished", metrics=metrics)

    return make


@pytest.fixture
def records(cell):
    return [
        cell("finetune", 1e-5, 2.0, 1.0),
        cell("finetune", 1e-4, 6.0, 5.0),
        cell("finetune", 1e-3, 10.0, 40.0),
        cell("cawf", 1e-4, 4.0, 3.0, size=2, fraction=0.01),
        cell("cawf", 1e-3, 5.5, 6.0, size=2, fraction=0.01),
        cell("cawf", 1e-3, 7.0, 20.0, size=8, fraction=0.08),
        cell("lora", 1e-3, 2.0, 1.0, size=1, fraction=0.03),
        cell("continue_source", 1e-3, -1.0, 0.5),
    ]


MATCHED = "| at | difference |"


def rows(text, table):
    """A table's rows by method (and size), each a list of its cells; differences at matched gain are no table
    of every comparison, and not counted."""
    parts = [p for p in text.split("\n\n") if p.startswith("|") and not p.startswith(MATCHED)]
    lines = [line.strip("| ").split(" | ") for line in parts[table].splitlines()[2:]]
    return lines


def at_share(text, share="50%"):
    """Of the second table, each method's cells behind its name."""
    return {r[1]: r[2:] for r in rows(text, 1) if r[0] == share}


def test_the_chosen_cell_is_validations_and_the_shown_number_the_tests(records):
    shown = rows(comparison_text(records), 0)
    assert [r[:3] for r in shown] == [
        ["`finetune`", "", ""], ["`cawf`", "2", ""], ["`cawf`", "8", ""], ["`lora`", "1", ""],
        ["`continue_source`", "", ""],
    ]  # fmt: skip
    # These records have no images, and so no dB.
    tuned = ["1", "100.00", "2", "+9.00", "-", "+40.00", "+42.00", "-", "0", "+0.00"]
    assert shown[0][3:] == tuned
    assert shown[1][6:10] == ["+4.50", "-", "+0.00", "+8.00"]


def test_rows_are_means_over_the_same_cases_or_say_that_they_are_not(cell, records):
    """On `easy` fine-tuning alone ran: its mean over both would be set against another domain's."""
    every = [*records, cell("finetune", 1e-3, 90.0, 1.0, domain="easy"),
             cell("replay", 1e-3, 3.0, 1.0, domain="rare")]  # fmt: skip
    shown = {row[0]: row[3:] for row in rows(comparison_text(every), 0)}
    assert shown["`finetune`"][:4] == ["1", "100.00", "2", "+9.00"]
    assert shown["`replay`"][0] == "1 others"


def test_times_of_shared_passes_are_not_set_beside_each_other(records):
    """A pack's passes serve all its members: `benchmarks/method_steps.py` measures what a step costs."""
    assert all("train/steps_per_second" in r.metrics for r in records)
    text = comparison_text(records)
    assert "a step" not in text
    assert "second" not in text


def between(low, high, weight):
    """Percent between two, in logarithms of the loss."""
    return 100 * np.expm1((1 - weight) * np.log1p(low / 100) + weight * np.log1p(high / 100))


def shown(gain, routed, unrouted):
    return [f"{gain:+.2f}", f"{routed:+.2f}", f"{unrouted:+.2f}"]


TUNED = shown(-between(-1, -5, 0.75), between(1, 5, 0.75), between(3, 7, 0.75))
ADAPTED = shown(-between(-3, -4.5, 2 / 3), 0, between(5, 8, 2 / 3))


def test_gain_is_matched_between_cells_not_reached_and_passed(records):
    """Half of fine-tuning's 10 % is 5 %, three quarters from 2 to 6 and two thirds from 4 to 5.5."""
    assert at_share(comparison_text(records)) == {
        "`finetune`": ["1 of 1", "1", *TUNED, "-"],
        "`cawf`": ["1 of 1", "1", *ADAPTED, "-"],
        "`lora`": ["0 of 1", "0", "-", "-", "-", "gains too little"],
    }
    # From 5 to 40 % forgotten is a gap; the highest gain needs no bridge, and no other method reaches it.
    assert {r[-1] for r in at_share(comparison_text(records), "75%").values()} == {
        "cells too far apart", "gains too little",
    }  # fmt: skip
    assert at_share(comparison_text(records), "100%")["`finetune`"] == [
        "1 of 1", "0", "-", "-", "-", "-",
    ]  # fmt: skip


def test_all_means_at_a_share_are_over_one_set_of_cases(records, cell):
    """The second data seed is easy, and beyond what cawf reaches: it counts for neither."""
    easy = [cell("finetune", r, gain, 80.0 * r, seed=1) for r, gain in ((1e-4, 20.0), (1e-3, 60.0))]
    slow = cell("cawf", 1e-3, 3.0, 1.0, size=8, seed=1)
    found = at_share(comparison_text([*records, *easy, slow]))
    assert found["`finetune`"] == ["2 of 2", "1", *TUNED, "-"]
    assert found["`cawf`"] == ["1 of 2", "1", *ADAPTED, "gains too little in 1"]
    # Where fine-tuning's slowest cell is already past half of its gain, there is nothing to compare with.
    alone = [r for r in records if r.params["method"] != "finetune"]
    alone += [cell("finetune", 1e-3, 10.0, 40.0)]
    found = at_share(comparison_text(alone))
    assert found["`cawf`"] == ["1 of 1", "0", "-", "-", "-", "-"]
    assert found["`finetune`"][-1] == "never gains so little"


def test_codecs_are_no_tries(records, cell):
    """A method is no better for having run on two codecs: each is a case of its own."""
    more = [cell("cawf", 1e-3, 9.0, 1.0, size=2, fraction=0.01, codec="d")]
    more += [cell("finetune", 1e-3, 12.0, 1.0, codec="d")]
    text = comparison_text([*records, *more])
    reached = {method: values[0] for method, values in at_share(text).items()}
    assert reached == {"`finetune`": "1 of 2", "`cawf`": "1 of 2", "`lora`": "0 of 2"}
    assert rows(text, 2)[1][1] == "+6.25 (1.00%)", "the mean of 4.5 and 8"


def test_budgets_are_not_averaged_and_each_lambda_has_tables_of_its_own(records, cell):
    """Both would show other means: 600 steps have two methods alone, a second lambda has all."""
    more = [cell("cawf", 1e-3, 9.0, 1.0, size=2, fraction=0.01, num_steps=600)]
    more += [cell("finetune", 1e-3, 12.0, 1.0, num_steps=600)]
    text = comparison_text([*records, *more])
    assert text.partition("\n\n")[2] == comparison_text(records).partition("\n\n")[2]
    said = "All results are after 60 steps (600: not of every method and domain)."
    assert text.split("\n\n")[0].endswith(said)
    low = [
        r.model_copy(
            update={
                "key": f"{r.key}-low", "params": {**r.params, "rd_lambda": 0.001},
                "metrics": {**r.metrics, "target/rd_gain_percent": -50.0},
            }
        )
        for r in records
    ]  # fmt: skip
    each = comparison_text([*records, *low]).split("## Lambda ")
    assert [part.partition("\n")[0] for part in each[1:]] == ["0.001", "0.013"]
    assert each[2].partition("\n\n")[2] == comparison_text(records).partition("\n\n")[2]
    assert rows(each[1], 0)[0][6] == "-50.00"


def test_matched_size_takes_the_best_within_each_budget(records):
    budgets = {r[0]: r[1:] for r in rows(comparison_text(records), 2)}
    assert budgets == {
        "`finetune`": ["-", "-", "-", "+9.00 (100.00%)"],
        "`cawf`": ["+4.50 (1.00%)", "+4.50 (1.00%)", "+6.00 (8.00%)", "+6.00 (8.00%)"],
        "`lora`": ["-", "+1.00 (3.00%)", "+1.00 (3.00%)", "+1.00 (3.00%)"],
    }


def test_initial_seeds_choose_for_themselves(records, cell):
    """The lucky one of two would show less forgetting at matched gain, and +7.00 in the budget."""
    lucky = [
        cell("cawf", rate, gain, lost, size=2, init=1, fraction=0.01)
        for rate, gain, lost in ((1e-4, 4.0, 0.5), (1e-3, 8.0, 1.0))
    ]
    text = comparison_text([*records, *lucky])
    unrouted = between(between(5, 8, 2 / 3), between(2.5, 3, 0.25), 0.5)
    assert at_share(text)["`cawf`"][-2] == f"{unrouted:+.2f}"
    assert rows(text, 2)[1][1] == "+5.75 (1.00%)"
    unlucky = cell("cawf", 1e-4, 1.0, 1.0, size=2, init=1, fraction=0.01)
    assert at_share(comparison_text([*records, unlucky]))["`cawf`"][0] == "0 of 1"


def test_seeds_and_domains_are_averaged_and_the_spread_is_over_seeds(cell):
    records = [
        cell("finetune", 1e-3, gain, 0.0, seed=seed, domain=domain)
        for domain, gains in (("text", (2.0, 4.0)), ("charts", (11.0, 15.0)))
        for seed, gain in enumerate(gains)
    ]
    (row,) = rows(comparison_text(records), 0)
    # Tests are one below: 1, 3, 10, 14. Standard deviations 1.414 and 2.828.
    assert row[6] == "+7.00 ± 2.12"


def test_one_method_alone_is_no_comparison(records, tmp_path):
    assert write_comparison(records[:2], tmp_path) == []
    (path,) = write_comparison(records, tmp_path)
    assert path.read_text() == comparison_text(records)


def test_what_a_reader_must_know_stands_above_the_table(records, cell):
    text = comparison_text([*records, cell("ewc", 1e-3, 1.0, 1.0)])
    assert "6 of 6 choices are at an edge of the grid" in text
    assert "The control's rate is the one that harms the source least." in text
    assert "not searched" not in text
    weighed = cell("ewc", 1e-3, 1.0, 1.0)
    weighed = weighed.model_copy(update={"params": weighed.params | {"strength": 1.0}})
    assert "Methods with a strength ran only at 1:" in comparison_text([*records, weighed])


def test_differences_stand_with_intervals_and_verdicts(cell):
    gains = {"finetune": (5.0, 6.0, 7.0), "lora": (3.0, 3.9, 5.1), "ewc": (4.0, 7.5, 6.4)}
    text = comparison_text(
        [
            cell(method, 1e-3, gain, 1.0, seed=seed)
            for method, each in gains.items()
            for seed, gain in enumerate(each)
        ]
    )
    found = {row[0]: row for row in rows(text, 3)}
    assert found["`lora` minus `finetune`"][1:4] == ["1", "3", "seeds only"]
    # Differences -2, -2.1, -1.9: standard error 0.0577, Student's t with 2 degrees 4.303.
    assert found["`lora` minus `finetune`"][4] == "-2.00 (-2.25 to -1.75): less"
    assert found["`ewc` minus `finetune`"][4].endswith(": undecided")


def test_differences_at_matched_gain_stand_where_both_methods_gain_alike(cell):
    """At half of a gain of 5: lora forgets 3 % on test, a tenth more or less, and fine-tuning 5."""
    records = [
        cell(method, rate, gain, lost + 0.1 * (seed - 1) * (method == "lora"), seed=seed)
        for seed in (0, 1, 2)
        for method, front in {
            "finetune": ((1e-5, 2.5, 3.0), (1e-4, 5.0, 6.0)), "lora": ((1e-4, 2.5, 1.0), (1e-3, 4.0, 2.0))
        }.items()
        for rate, gain, lost in front
    ]  # fmt: skip
    (table,) = (p for p in comparison_text(records).split("\n\n") if p.startswith(MATCHED))
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    (at_half,) = (line for line in lines if line[0] == "50%")
    assert at_half[:5] == ["50%", "`lora` minus `finetune`", "1", "3", "seeds only"]
    assert at_half[-1].startswith("-2.00 (-2.25 to -1.75): less")


def test_domains_stand_by_themselves_with_medians(records, cell):
    text = comparison_text([*records, *(cell("finetune", 1e-3, g, 2.0, seed=s, domain="charts")
                                        for s, g in enumerate((3.0, 4.0, 50.0)))])  # fmt: skip
    found = {tuple(row[:2]): row[2:] for row in rows(text, 4)}
    assert found["charts", "`finetune`"][:2] == ["3", "+3.00"]


def test_image_counts_are_not_pooled_in_a_median(cell):
    """1 and 20 images at one lambda, 20 alone at another: rows were medians over both, and over one."""

    def at(value, images, gain):
        found = cell("finetune", 1e-3, gain, 2.0, num_steps=60)
        params = {**found.params, "rd_lambda": value, "num_images": images}
        return found.model_copy(update={"params": params, "key": f"{value}-{images}"})

    header, rows = domain_rows([at(0.013, 1, 2.0), at(0.013, 20, 6.0), at(0.05, 20, 7.0)])
    assert header[:4] == ["domain", "lambda", "images", "method"]
    assert [row[1:3] + row[5:6] for row in rows] == [
        ["0.013", "1", "+1.00"], ["0.013", "20", "+5.00"], ["0.05", "20", "+6.00"],
    ]  # fmt: skip
    assert "images" not in domain_rows([at(0.013, 20, 6.0), at(0.05, 20, 7.0)])[0]


def test_the_page_has_the_tables_of_its_cells():
    docs = Path(__file__).resolve().parents[3] / "docs"
    cells = [r for r in read_records(docs / "method_comparison.parquet") if r.status == "finished"]
    assert (docs / "method_comparison.md").read_text().endswith(comparison_text(cells))


def test_grey_domains_are_in_the_table_by_domain_alone(records):
    def of_domain(domain, chroma_power):
        pictures = tuple(
            ImageRow(
                role=role, name="a", group="a", bpp_before=0.5, psnr_db_before=30.0, rd_loss_before=1.0,
                bpp=0.5, psnr_db=30.0, rd_loss=1.0, chroma_power=chroma_power,
            )
            for role in ("target", "source", "source_unrouted")
        )  # fmt: skip
        return [
            r.model_copy(
                update={
                    "key": f"{domain}-{r.key}",
                    "params": r.params | {"domain": domain},
                    "images": pictures,
                }
            )
            for r in records
        ]

    coloured, grey = of_domain("screen", 400.0), of_domain("drawings", 0.0)
    alone, together = comparison_text(coloured), comparison_text([*coloured, *grey])
    assert "Grey domains are left out: drawings. They stand in the table by domain" in together
    assert rows(together, 0) == rows(alone, 0)
    assert at_share(together) == at_share(alone)
    assert {row[0] for row in rows(together, -1)} == {"screen", "drawings (grey)"}
