"""The comparison of schedules: gains at chosen learning rates, and whether seeds explain the difference."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.schedules import (
    SCHEDULES,
    SETTING,
    Schedules,
    arguments_of,
    chosen,
    compared_cells,
    decided_cells,
    differences,
    finished,
    kept_cells,
    markdown,
    num_cells,
    sizes,
    summary,
)
from interfero.engine.options.parsing import parse_options
from interfero.errors import InterferoError
from interfero.metrics.names import GAIN, VALIDATION_GAIN
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore
from sweeps.adapter_capacity import SWEEP


def cells(gains, rate=1e-4, steps=60):
    """Of one setting, one for each seed."""
    return pd.DataFrame(
        {
            "num_steps": steps, "method": "lora", "domain": "text", "learning_rate": rate,
            "data_seed": range(len(gains)), GAIN: gains, VALIDATION_GAIN: gains,
        }
    )  # fmt: skip


def test_validation_chooses_by_setting_and_seed():
    low, high = cells([1.0, 5.0]), cells([2.0, 4.0], rate=3e-4)
    found = chosen(pd.concat([low, high], ignore_index=True))
    assert found["learning_rate"].tolist() == [3e-4, 1e-4]


def test_a_difference_within_the_spread_of_seeds_agrees():
    # Means 4 and 5, standard deviations 1 and 2: their root mean square is 1.58.
    [row] = differences(cells([3.0, 4.0, 5.0]), cells([3.0, 5.0, 7.0]), SETTING).to_dict("records")
    assert row["difference"] == pytest.approx(1.0)
    assert row["spread"] == pytest.approx(2.5**0.5)
    assert row["agree"] is True
    [row] = differences(cells([3.0, 4.0, 5.0]), cells([5.0, 6.0, 7.0]), SETTING).to_dict("records")
    assert row["agree"] is False


def test_cells_are_compared_at_one_learning_rate():
    wsd = pd.concat([cells([2.0, 2.0]), cells([9.0, 9.0], rate=3e-4)], ignore_index=True)
    [row] = differences(cells([1.0, 1.0]), wsd, [*SETTING, "learning_rate"]).to_dict("records")
    assert (row["learning_rate"], row["difference"]) == (1e-4, 1.0)


def test_what_one_seed_alone_has_of_both_is_compared_with_nothing():
    """Halving let the others stop: their spread cannot be told."""
    wsd = pd.concat([cells([2.0, 2.0]), cells([9.0], rate=3e-4)], ignore_index=True)
    cosine = pd.concat([cells([1.0, 1.0]), cells([9.0], rate=3e-4)], ignore_index=True)
    table = differences(cosine, wsd, [*SETTING, "learning_rate"])
    assert table["learning_rate"].tolist() == [1e-4]


def test_the_table_and_its_summary():
    table = pd.concat(
        [
            differences(cells([3.0, 4.0, 5.0]), cells([3.0, 5.0, 7.0], rate=3e-4), SETTING),
            differences(
                cells([3.0, 4.0, 5.0], steps=250), cells([5.0, 6.0, 7.0], steps=250), SETTING
            ),
        ]
    )
    assert list(markdown(table))[2:] == [
        "| 60 | `lora` | text | 4.0 ± 1.0 (0.0001) | 5.0 ± 2.0 (0.0003) | +1.0 | yes |",
        "| 250 | `lora` | text | 4.0 ± 1.0 (0.0001) | 6.0 ± 1.0 (0.0001) | +2.0 | no |",
    ]
    assert list(summary(table)) == [
        "60 steps: 1 of 1 agree",
        "250 steps: 0 of 1 agree; of the others wsd gains more in 1, less in 0: +2.0 to +2.0 points",
    ]


def write_cells(sweep, cells):
    """A sweep's records, of (steps, seed, status)."""
    shown = {
        "codec": "c", "rd_lambda": 0.013, "num_images": 5, "adapter_size": 4, "init_seed": 0,
        "domain": "text", "method": "lora", "learning_rate": 1e-3,
    }  # fmt: skip
    store = SweepStore(sweep.parent, sweep.name)
    for steps, seed, status in cells:
        gains = {GAIN: 2.5} if status == "finished" else {}
        store.write_record(
            CellRecord(
                key=f"{steps:08x}{seed:08x}", params={**shown, "num_steps": steps, "data_seed": seed},
                status=status, metrics={**gains, VALIDATION_GAIN: 1.25},
            )
        )  # fmt: skip


def test_cells_are_read_from_the_sweeps_records(tmp_path):
    """A cell that was stopped is done, and compared with nothing."""
    command = Schedules(storage=tmp_path)
    assert decided_cells(command, "wsd").empty
    write_cells(
        tmp_path / "wsd-0-1-2", [(60, 0, "finished"), (60, 1, "failed"), (60, 2, "stopped")]
    )
    cells = decided_cells(command, "wsd")
    assert cells["data_seed"].tolist() == [0, 2]
    [row] = finished(cells).to_dict("records")
    assert (row["data_seed"], row["learning_rate"], row[GAIN]) == (0, 1e-3, 2.5)


def test_both_sweeps_have_the_cells_that_are_counted():
    command = Schedules(methods=("finetune", "cawf"), num_steps=(60, 250))
    # Three and four learning rates, three domains, two numbers of steps, three seeds.
    assert num_cells(command) == 7 * 3 * 2 * 3
    for sampler in ("halving", "grid"):
        arguments = arguments_of(command.model_copy(update={"sampler": sampler}), "cosine")
        options = parse_options(SWEEP.options, arguments, "").settled()
        assert (options.schedule, options.sampler, options.budgets) == (
            "cosine",
            sampler,
            (60, 250),
        )
        options.check()


def test_cells_of_sweeps_that_ended_are_kept_and_read_again(tmp_path):
    path = tmp_path / "kept.csv"
    command = Schedules(
        storage=tmp_path, csv=path, methods=("lora",), learning_rates=(1e-3,), domains=("text",),
        num_steps=(60, 250), data_seeds=(4, 5),
    )  # fmt: skip
    for schedule in SCHEDULES:
        write_cells(
            tmp_path / f"{schedule}-4-5",
            [(n, s, "finished" if s == 4 else "stopped") for n in (60, 250) for s in (4, 5)],
        )
    written, read = compared_cells(command), kept_cells(path)
    for schedule in SCHEDULES:
        pd.testing.assert_frame_equal(
            written[schedule].sort_values(["num_steps", "data_seed"], ignore_index=True),
            read[schedule][written[schedule].columns],
        )
        assert finished(read[schedule])["num_steps"].tolist() == [60, 250]


def test_what_a_file_holds_is_printed_and_nothing_runs(tmp_path):
    path = tmp_path / "kept.csv"
    table = pd.concat([cells([1.0, 2.0]).assign(schedule=s, status="finished") for s in SCHEDULES])
    table.to_csv(path, index=False)
    command = Schedules(storage=tmp_path / "none", csv=path, print_only=True)
    assert compared_cells(command)["wsd"][GAIN].tolist() == [1.0, 2.0]
    table.drop(columns=GAIN).to_csv(path, index=False)
    with pytest.raises(InterferoError, match=f"{path} has no column {GAIN}"):
        compared_cells(command)
    path.unlink()
    with pytest.raises(InterferoError, match=f"there is no file {path} to print"):
        compared_cells(command)
    assert not (tmp_path / "none").exists()


def test_small_differences_and_the_others_are_counted():
    table = pd.DataFrame({"difference": [0.5, -0.2, 0.6, 3.0, -0.7]})
    assert sizes(table) == (
        "2 of 5 settings differ by at most 0.5 points; of the others wsd gains more in 2, less in 1"
    )


def test_the_page_has_the_table_of_the_kept_cells():
    docs = Path(__file__).resolve().parents[3] / "docs"
    found = kept_cells(docs / "schedules.csv")
    table = differences(*(chosen(finished(found[s])) for s in SCHEDULES), SETTING)
    page = (docs / "budgets.md").read_text()
    assert "\n".join([*markdown(table), ""]) in page
    assert "29 of 36 settings differ by at most 0.5 points" in sizes(table)
    assert "29 of 36 settings differ by at most half a point" in " ".join(page.split())
