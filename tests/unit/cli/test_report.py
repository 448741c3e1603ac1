"""`interfero report` from tables and from a tracking database, and what it refuses."""

import json
import shutil
import socket
import sys

import pytest
from mlflow.tracking.client import MlflowClient

from interfero import cli
from interfero.analysis.about import About, read_about
from interfero.analysis.records import write_tables
from interfero.cli.report.make import make_report
from interfero.cli.report.wanted import Wanted
from interfero.errors import ConfigError, StorageError, TrackingError
from interfero.records import CellRecord
from interfero.tracking.database_file import check_experiment
from interfero.tracking.reading import TrackedSweeps
from interfero.tracking.tracker import Tracker
from tests.unit.test_startup import HEAVY, started

PROVENANCE = {"interfero.git_commit": "abc123"}


def cell(key, seed=0, method="cawf", gain=3.0):
    size = 4 if method == "cawf" else 0
    params = {
        "codec": "tiny", "domain": "text", "rd_lambda": 0.01, "num_images": 5, "method": method,
        "adapter_size": size, "learning_rate": 1e-3, "data_seed": seed, "init_seed": 0,
        "num_steps": 10,
    }  # fmt: skip
    metrics = {
        "val/rd_gain_percent": gain, "target/rd_gain_percent": gain,
        "source/forgetting_percent": 0.0, "source/forgetting_unrouted_percent": 7.0,
        "adapter_fraction": 0.02,
    }  # fmt: skip
    return CellRecord(key=key, params=params, status="finished", metrics=metrics)


CELLS = [cell("a"), cell("b", method="finetune", gain=5.0)]


@pytest.fixture
def database(tmp_path, empty_database, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'server' / 'mlflow.db'}"
    (tmp_path / "server").mkdir()
    shutil.copy(empty_database, tmp_path / "server" / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return uri


def track(uri, folder, name="first", cells=CELLS, *, export=True, experiment="adapter-capacity"):
    tracker = Tracker.open(
        uri, experiment, name, tags=PROVENANCE, params={"num_cells": 3}, outbox=folder / name / "o"
    )
    for record in cells:
        tracker.cell_started(record.key, record.params, {})
        tracker.cell_finished(record)
    if export:
        about = About(name=name, kind=experiment, question="Why?", command="python sweeps/x.py")
        tracker.parent_artifacts(write_tables(cells, folder / name / "report", about))
        tracker.close("FINISHED")
    return tracker


def page(folder):
    return (folder / "report.html").read_text()


def test_a_report_of_a_part_of_a_table(tmp_path):
    write_tables([*CELLS, cell("c", method="lora", gain=9.0)], tmp_path / "report")
    wanted = Wanted(
        cells=(tmp_path / "report",),
        out=tmp_path / "out",
        where=("method=cawf,finetune", "learning_rate=0.001"),
    )
    said = make_report(wanted)
    assert "out/report.html: 2 cells" in said
    remark = "a part of the table, 2 of 3 cells: method=cawf,finetune learning_rate=0.001"
    assert f"note: {remark}" in said
    assert remark in page(tmp_path / "out")
    assert "lora" not in said


def test_tables_of_different_training_have_a_common_part(tmp_path):
    for name, key, precision in (("one", "a", "float32"), ("two", "b", "bfloat16")):
        method = "cawf" if name == "one" else "lora"
        record = cell(key, method=method).model_copy(
            update={"provenance": {"loop": json.dumps({"precision": precision})}}
        )
        write_tables([record], tmp_path / name)
    tables = (tmp_path / "one", tmp_path / "two")
    with pytest.raises(ConfigError, match="differ in precision"):
        make_report(Wanted(cells=tables, out=tmp_path / "out"))
    said = make_report(Wanted(cells=tables, out=tmp_path / "out", where=("method=lora",)))
    assert "report.html: 1 cell," in said


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (("method",), "--where method: give NAME=VALUE"),
        (("method=",), "--where method=: give NAME=VALUE"),
        (("methods=cawf",), "no cell has a parameter 'methods'; they have adapter_size, codec"),
        (("method=cafw",), "no cell has method 'cafw'; give one of cawf, finetune"),
        (("learning_rate=1e-4",), "no cell has learning_rate '1e-4'; give one of 0.001"),
        (("method=cawf", "adapter_size=0"), "no cell meets all of these: leave one out"),
    ],
)
def test_an_impossible_part_is_refused(tmp_path, where, said):
    write_tables(CELLS, tmp_path / "report")
    with pytest.raises(ConfigError) as error:
        make_report(Wanted(cells=(tmp_path / "report",), out=tmp_path / "out", where=where))
    assert said in str(error.value)


def test_a_table_of_cells_becomes_a_report(tmp_path):
    about = About(name="mine", kind="k", question="Why?", command="python sweeps/x.py --name mine")
    write_tables(CELLS, tmp_path / "report", about)
    assert read_about(tmp_path / "report" / "cells.parquet") == about
    said = make_report(Wanted(cells=(tmp_path / "report",), out=tmp_path / "out"))
    assert said.splitlines()[-1].startswith(f"{tmp_path / 'out' / 'report.html'}: 2 cells")
    assert said.startswith("finetune gains +5.00 % of rate-distortion loss on")
    assert len(said.splitlines()) <= 6
    assert "python sweeps/x.py --name mine" in page(tmp_path / "out")
    assert (tmp_path / "out" / "capacity_text.png").is_file()


def test_several_tables_count_a_shared_cell_once(tmp_path):
    write_tables(CELLS, tmp_path / "one")
    write_tables([CELLS[0], cell("c", seed=1)], tmp_path / "two")
    said = make_report(Wanted(cells=(tmp_path / "one", tmp_path / "two"), out=tmp_path / "out"))
    assert "report.html: 3 cells" in said
    html = page(tmp_path / "out")
    assert "<title>Adapting tiny to text: 3 cells of 2 methods</title>" in html
    assert "<h1>one" not in html
    assert "The command is not known" in page(tmp_path / "out")


def test_tables_with_other_source_images_have_no_report_in_common(tmp_path):
    for name, seed in (("natural", 0), ("photographs", 1)):
        own = {"source_domain": name, "source_domain_hash": f"{seed:032d}"}
        told = [cell(f"{name}{i}", seed).model_copy(update={"provenance": own}) for i in range(2)]
        write_tables(told, tmp_path / name)
    one, two = tmp_path / "natural", tmp_path / "photographs"
    with pytest.raises(
        ConfigError, match=rf"different images \(natural: {one}; photographs: {two}\): make"
    ):
        make_report(Wanted(cells=(one, two), out=tmp_path / "out"))
    assert "2 cells" in make_report(Wanted(cells=(one,), out=tmp_path / "out"))


def test_tables_of_other_training_have_no_report_in_common(tmp_path):
    """One count of test images, one precision: else what is compared is not the methods."""

    def told(name, seed, **loop):
        own = {
            "loop": json.dumps({"num_steps": 10, "precision": "float32", "crop_size": 64, **loop})
        }
        return cell(name, seed).model_copy(update={"provenance": own})

    write_tables([told("a", 0), told("b", 1, num_steps=20)], tmp_path / "one")
    write_tables([told("c", 2, precision="bfloat16")], tmp_path / "two")
    write_tables([told("d", 3, schedule="wsd")], tmp_path / "three")
    write_tables([told("e", 4, schedule="cosine", delta_rank=0, threads=2)], tmp_path / "four")
    one, two, three, four = (tmp_path / name for name in ("one", "two", "three", "four"))
    out = tmp_path / "out"
    with pytest.raises(
        ConfigError, match=rf"differ in precision \(bfloat16: {two}; float32: {one}\)"
    ):
        make_report(Wanted(cells=(one, two), out=out))
    with pytest.raises(ConfigError, match=r"differ in schedule .* make a report of each"):
        make_report(Wanted(cells=(one, three), out=out))
    assert "3 cells" in make_report(Wanted(cells=(one, four), out=out))
    # Put together in one table they cannot be parted again.
    write_tables([told("a", 0), told("c", 2, precision="bfloat16")], tmp_path / "both")
    said = make_report(Wanted(cells=(tmp_path / "both",), out=out))
    assert "note: these cells differ in precision (bfloat16: " in said
    assert "differ in precision" in page(out)


def test_a_sweep_without_its_table_is_reported_with_the_command_of_its_run(tmp_path, database):
    """A run that is still going has no table yet, and was given a folder for its domain."""
    command = "python sweeps/x.py --domains text=scans/pages --name first"
    tags = {**PROVENANCE, "interfero.command": command}
    tracker = Tracker.open(
        database, "adapter-capacity", "first", tags=tags, params={}, outbox=tmp_path / "first" / "o"
    )
    for record in CELLS:
        tracker.cell_started(record.key, record.params, {})
        tracker.cell_finished(record)
    make_report(Wanted(experiment="adapter-capacity", out=tmp_path / "o"))
    tracker.close("KILLED")
    html = page(tmp_path / "o")
    assert f"<pre>{command}-surer --data-seeds 0 1 2 3 4" in html
    # It has a name and no question: what the cells are stands where the question would.
    assert '<p class="question">Adapting tiny to text: 2 cells of 2 methods</p>' in html


def test_an_experiment_is_found_again_with_its_runs(tmp_path, database):
    tracker = track(database, tmp_path)
    said = make_report(Wanted(experiment="adapter-capacity"))
    assert "report-first/report.html: 2 cells" in said
    html = page(tmp_path / "report-first")
    assert tracker.run_ids["a"][:8] in html
    assert "python sweeps/x.py" in html


def test_the_newest_sweep_is_taken_and_the_others_are_named(tmp_path, database):
    track(database, tmp_path, "first")
    track(database, tmp_path, "second", [cell("z", gain=9.0)])
    said = make_report(Wanted(experiment="adapter-capacity", out=tmp_path / "o"))
    assert "1 cell, " in said
    assert "adapter-capacity has 2 sweeps, this is the newest" in said
    both = Wanted("adapter-capacity", ("first", "second"), out=tmp_path / "o")
    assert "report.html: 3 cells" in make_report(both)
    with pytest.raises(ConfigError, match="did you mean 'second'"):
        make_report(Wanted("adapter-capacity", ("secnd",)))


def test_a_database_that_was_moved_is_read_with_its_files(tmp_path, database, monkeypatch):
    track(database, tmp_path)
    shutil.move(tmp_path / "server", tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere' / 'mlflow.db'}")
    said = make_report(Wanted(experiment="adapter-capacity", out=tmp_path / "o"))
    assert "note:" not in said
    assert "python sweeps/x.py" in page(tmp_path / "o")


def test_without_the_table_the_runs_are_enough(tmp_path, database):
    track(database, tmp_path)
    shutil.rmtree(tmp_path / "server" / "mlruns")
    said = make_report(Wanted(experiment="adapter-capacity", out=tmp_path / "o"))
    assert "first has no table that can be read here: made from the 2 of 3 cells" in said
    assert "finetune gains +5.00 % of rate-distortion loss on" in said
    assert "abc123" in page(tmp_path / "o")


def test_a_sweep_that_still_runs_is_reported_as_far_as_it_is(tmp_path, database):
    tracker = track(database, tmp_path, export=False)
    tracker.cell_started("later", cell("later", seed=2).params, {})
    said = make_report(Wanted(experiment="adapter-capacity", out=tmp_path / "o"))
    assert "first is still running: made from the 2 of 3 cells" in said
    tracker.close("KILLED")


def test_experiments_that_hold_no_report_are_refused(tmp_path, database):
    client = MlflowClient(tracking_uri=database)
    client.create_experiment("foreign")
    with pytest.raises(ConfigError, match="holds no sweep of interfero"):
        make_report(Wanted(experiment="foreign"))
    other = CellRecord(
        key="s", params={"configuration": "CC", "rate_bpp": 0.3}, status="finished",
        metrics={"segmentation/miou": 0.5},
    )  # fmt: skip
    track(database, tmp_path, "shift", [other], export=False, experiment="covariate-shift").close(
        "FINISHED"
    )
    with pytest.raises(ConfigError, match="covariate-shift has written no tables yet"):
        make_report(Wanted(experiment="covariate-shift"))
    with pytest.raises(ConfigError, match="did you mean 'covariate-shift'"):
        make_report(Wanted(experiment="covariate-shft"))


def test_an_experiment_that_does_not_exist_is_refused_before_libraries_are_imported(
    tmp_path, database
):
    """By the words that MLflow's own answer would give."""
    track(database, tmp_path)
    ((code, modules, _, errors),) = started(
        ("interfero.cli", "report", "--experiment", "adapter-capcity")
    )
    assert (code, modules & HEAVY) == (2, set()), errors
    assert "has no experiment 'adapter-capcity': did you mean 'adapter-capacity'?" in errors
    with pytest.raises(ConfigError) as late:
        TrackedSweeps(database, "adapter-capcity")
    assert errors == f"error: {late.value}\n"


def test_a_missing_database_is_refused_before_libraries_are_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    ((code, modules, _, errors),) = started(("interfero.cli", "report", "--experiment", "x"))
    assert (code, modules & HEAVY) == (2, set()), errors
    assert errors.startswith(f"error: there is no tracking database {tmp_path}/mlflow.db: set")
    assert not list(tmp_path.iterdir())


def test_what_only_mlflow_can_read_is_left_to_it(tmp_path, monkeypatch):
    (tmp_path / "other.db").write_bytes(b"no database")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for uri in (
            f"sqlite:///{tmp_path}/other.db",
            f"http://127.0.0.1:{listener.getsockname()[1]}",
            "sqlite:///a.db?timeout=5",
        ):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            check_experiment("x")
    assert (tmp_path / "other.db").read_bytes() == b"no database"


def test_nothing_is_made_where_there_is_no_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=r"there is no tracking database .*mlflow\.db"):
        make_report(Wanted(experiment="adapter-capacity"))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_and_one_of_another_kind_are_refused(tmp_path):
    write_tables([], tmp_path / "empty")
    with pytest.raises(
        ConfigError, match=r"--cells .*empty: the table has no cells, there is nothing"
    ):
        make_report(Wanted(cells=(tmp_path / "empty",)))
    with pytest.raises(StorageError, match="holds no cells"):
        make_report(Wanted(cells=(tmp_path / "empty" / "images.parquet",)))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--experiment", "x", "--cells", "y"),
        ("--sweep", "a", "--cells", "y"),
        ("--cells", "nowhere.parquet"),
        ("--cells", "damaged.parquet"),
        ("--experiment", "nothing-of-that-name"),
    ],
)
def test_bad_input_is_one_screen_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1" + b"x" * 100)
    monkeypatch.setattr(sys, "argv", ["interfero", "report", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) <= 24
    assert "Traceback" not in said.err


def test_a_table_that_is_not_there_is_not_called_damaged(tmp_path):
    for given in (tmp_path / "nosuch.parquet", tmp_path):
        with pytest.raises(
            StorageError, match=rf"--cells {given}: there is no file .*parquet; give"
        ):
            make_report(Wanted(cells=(given,)))


def test_a_file_of_another_kind_is_refused_with_what_is_read(tmp_path):
    (tmp_path / "cells.csv").write_text("key,status\n")
    with pytest.raises(StorageError, match=r"only Parquet files are read, .*cells\.csv is none; give the "
                       r"cells\.parquet that a sweep wrote, or the folder"):  # fmt: skip
        Wanted(cells=(tmp_path / "cells.csv",)).check()


def test_a_report_takes_no_file_for_its_folder(tmp_path):
    """Said before libraries are imported, and not as a disk that is full."""
    (tmp_path / "notes.txt").write_text("mine")
    wanted = Wanted(cells=(tmp_path / "cells.parquet",), out=tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="is a file, and a report is a folder: name another"):
        wanted.check()
    assert (tmp_path / "notes.txt").read_text() == "mine"
