"""One real sweep, started as a user starts it: what it prints, keeps and tracks; and one that takes its cells
over and is interrupted.
"""

import json
import re

import psutil
import pyarrow.parquet
import pytest
from mlflow.tracking.client import MlflowClient

from interfero.adaptation import load_adapter
from interfero.analysis.reconstructions import read_reconstructions
from interfero.analysis.records import PROVENANCE, read_records
from interfero.codecs.catalogue import load_codec
from interfero.errors import ConfigError
from interfero.metrics.rate_distortion import psnr_db
from interfero.store.tensors import state_hash
from sweeps.adapter_capacity import SWEEP

from .conftest import cells_at, contents

FIRST = ("--name", "first", "--adapter-sizes", 1, 2, "--learning-rates", 1e-3)

PARAMS = {
    "codec", "rd_lambda", "domain", "num_images", "method", "adapter_size", "learning_rate",
    "data_seed", "init_seed", "num_steps", "image_unit", "strength",
}  # fmt: skip
METRICS = {
    "target/bpp", "target/psnr_db", "target/rd_loss", "target/rd_gain", "target/rd_gain_percent",
    "source/forgetting", "source/forgetting_percent", "source/forgetting_unrouted",
    "source/forgetting_unrouted_percent", "val/rd_gain_percent", "val/forgetting_percent",
    "bitstream/old_symbols_exact", "bitstream/old_pixels_exact", "bitstream/old_psnr_drop_db",
    "bitstream/rate_error_percent", "adapter/num_params", "adapter_fraction",
    "train/steps_per_second",
}  # fmt: skip
"""What design.md lists; outside tools read these names."""


@pytest.fixture(scope="module")
def first_sweep(make_workplace):
    """One whole sweep called `first` of four cells: (workplace, finished process)."""
    workplace = make_workplace("sweep", untracked=True)
    done = workplace.run(*FIRST)
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace, done


@pytest.fixture(scope="module")
def place(first_sweep):
    return first_sweep[0]


@pytest.fixture(scope="module")
def printed(first_sweep):
    return first_sweep[1]


@pytest.fixture(scope="module")
def cells(place):
    return place.runs("first")[1]


@pytest.fixture(scope="module")
def parent(place):
    return place.runs("first")[0]


def one(cells, method, size=0):
    found = [
        r
        for r in cells.values()
        if r.data.params["method"] == method and r.data.params["adapter_size"] == str(size)
    ]
    assert len(found) == 1
    return found[0]


def test_every_cell_of_the_grid_has_one_finished_run(place, cells):
    settings = {(r.data.params["method"], r.data.params["adapter_size"]) for r in cells.values()}
    assert settings == {("finetune", "0"), ("cawf", "1"), ("cawf", "2"), ("continue_source", "0")}
    assert {r.info.status for r in cells.values()} == {"FINISHED"}
    assert set(cells) == set(place.records("first"))


def test_runs_carry_the_names_that_outside_tools_read(cells):
    for run in cells.values():
        assert set(run.data.params) == PARAMS
        assert run.data.tags["interfero.kind"] == "cell"
        assert set(run.data.metrics) >= METRICS
        assert run.data.params["domain"] == "thing"
        assert run.data.params["num_steps"] == "4"
        # `all`, resolved: ten of fourteen are for training, some of them for validation.
        assert 1 <= int(run.data.params["num_images"]) < 10


def test_metrics_that_the_design_does_not_list_are_known_ones(cells):
    every = {name for run in cells.values() for name in run.data.metrics}
    assert every - METRICS == {
        "target/bpp_before", "target/psnr_db_before", "target/rd_loss_before",
        "target/rd_gain_switched_percent", "source/rd_loss_before",
        "val/forgetting_unrouted_percent", "source_mode/bytes_exact", "source_mode/pixels_exact",
        "train/bpp", "train/mse_255", "train/rd_loss", "train/loss",
        "adapter/file_bytes", "distance/rd_excess_percent", "distance/latent_bits",
        "distance/feature_sd", "distance/chroma_sd",
    }  # fmt: skip


def test_runs_name_their_images_and_what_started_them(cells, parent):
    for run in cells.values():
        used = {(i.dataset.name, tag.value) for i in run.inputs.dataset_inputs for tag in i.tags}
        assert used == {
            ("thing", "adapt"), ("thing", "validation"), ("thing", "test"), ("other", "source"),
        }  # fmt: skip
        assert run.data.tags["mlflow.source.name"].endswith("adapter_capacity.py")
    assert (parent.data.metrics["cells/finished"], parent.data.metrics["cells/share"]) == (4, 1)


def test_the_best_adapter_is_in_the_registry_if_it_gains_anything(place, cells, printed):
    client = MlflowClient(tracking_uri=place.tracking_uri)
    models = client.search_registered_models()
    metrics = [run.data.metrics for run in cells.values()]
    adapters = [m["val/rd_gain_percent"] for m in metrics if m["val/forgetting_percent"] <= 0]
    if max(adapters) <= 0:
        assert not models
        return
    (model,) = models
    best = client.get_model_version_by_alias(model.name, "best")
    assert best.tags["interfero.domain"] == "thing"
    assert cells[best.tags["interfero.cell"]].info.run_id == best.run_id
    assert f"models:/{model.name}@best" in printed.stdout


def test_records_and_runs_agree(place, cells):
    for key, record in place.records("first").items():
        logged = cells[key].data.metrics
        assert {name: logged[name] for name in record["metrics"]} == pytest.approx(
            record["metrics"]
        )


def test_an_export_is_all_that_a_later_analysis_needs(place):
    path = place.sweep("first") / "report" / "cells.parquet"
    exported = {r.key: r.model_dump(mode="json") for r in read_records(path)}
    assert exported == {key: r | {"curve": []} for key, r in place.records("first").items()}
    for record in exported.values():
        assert set(record["provenance"]) == set(PROVENANCE)
        assert {row["role"] for row in record["images"]} == {"target", "source", "source_unrouted"}


def test_source_mode_of_cawf_is_the_source_codec(cells):
    for size in (1, 2):
        metrics = one(cells, "cawf", size).data.metrics
        for name in ("bytes_exact", "pixels_exact"):
            assert metrics[f"source_mode/{name}"] == 1
        assert metrics["bitstream/old_symbols_exact"] == 1
        assert metrics["bitstream/old_pixels_exact"] == 1
        assert metrics["source/forgetting"] == 0
        assert metrics["source/forgetting_unrouted"] != 0


def test_old_streams_do_not_survive_fine_tuning(cells):
    metrics = one(cells, "finetune").data.metrics
    assert metrics["bitstream/old_pixels_exact"] < 1
    assert metrics["source/forgetting"] == metrics["source/forgetting_unrouted"]
    assert metrics["adapter_fraction"] == 1


def test_gain_is_before_minus_after(cells):
    for run in cells.values():
        m = run.data.metrics
        gain = m["target/rd_loss_before"] - m["target/rd_loss"]
        assert m["target/rd_gain"] == pytest.approx(gain)
        assert m["target/rd_gain_percent"] == pytest.approx(100 * gain / m["target/rd_loss_before"])


def test_learning_curves_have_every_step(place, cells):
    for record in place.records("first").values():
        assert [step for step, _ in record["curve"]] == [1, 2, 3, 4]


def test_adapter_files_load_on_the_source_codec(place, tiny_codec_file):
    codec = load_codec(str(tiny_codec_file), 0.013)
    states = set()
    for record in place.records("first").values():
        path = place.sweep("first") / record["adapter_file"]
        adapted, metadata = load_adapter(path, codec)
        assert metadata["method"] == record["params"]["method"]
        assert metadata["adapter_size"] == record["params"]["adapter_size"]
        states.add(state_hash(adapted.state_dict().items()))
    assert len(states) == 4, "two cells have the same adapter"


def test_pictures_are_of_the_worst_and_median_images(place):
    for record in place.records("first").values():
        shown = read_reconstructions(place.sweep("first") / record["sample_file"])
        for role in ("target", "source_unrouted"):
            rows = {r["name"]: r for r in record["images"] if r["role"] == role}
            ratio = {name: r["rd_loss"] / r["rd_loss_before"] for name, r in rows.items()}
            worst = next(s for s in shown if (s.role, s.rank) == (role, "worst"))
            assert ratio[worst.name] == max(ratio.values())
            original, before, after = worst.pictures_HWC
            assert original.shape == before.shape == after.shape == (144, 160, 3)
            for picture, name in ((before, "psnr_db_before"), (after, "psnr_db")):
                mse = ((picture.astype(float) - original.astype(float)) ** 2).mean()
                assert psnr_db(mse) == pytest.approx(rows[worst.name][name])


def test_the_parent_holds_tables_figures_and_a_note(place, parent):
    assert parent.info.status == "FINISHED"
    names = place.artifacts(parent)
    tables = {"cells.parquet", "curves.parquet", "scaling_fits.json"}
    assert {*tables, "capacity_thing.png"} <= set(names)
    assert "finetune" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["cells/finished"] == 4
    assert parent.data.metrics["cells/failed"] == 0


def test_cell_runs_hold_adapter_and_samples(place, cells):
    for key, run in cells.items():
        # A registered one has a model as well.
        names = {name for name in place.artifacts(run) if not name.startswith("model/")}
        assert names == {f"adapter/{key}.safetensors", f"samples/{key}.png"}


def test_the_table_of_cells_has_a_row_a_cell(place):
    table = pyarrow.parquet.read_table(place.sweep("first") / "report" / "cells.parquet")
    assert table.num_rows == 4


def test_what_is_printed_is_ours_alone(printed):
    assert printed.stderr == ""
    for word in ("Warning", "raylet", "/dev/shm", "tune.", "INFO", "Traceback"):
        assert word not in printed.stdout
    assert "4/4 cells" in printed.stdout
    assert "one seed: an illustration" in printed.stdout.lower()
    after = printed.stdout.partition(": an illustration, without intervals")[2].splitlines()
    assert len(after) <= 13, "what follows the answer"
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in printed.stdout
    assert re.search(r"^cost: \S+ CPU hours, 0 GPU hours$", printed.stdout, re.MULTILINE)


def test_nothing_is_left_of_tune(place):
    assert sorted(p.name for p in place.sweep("first").iterdir() if p.is_dir()) == [
        "adapters", "cells", "report", "samples",
    ]  # fmt: skip


def test_the_sweep_file_says_how_to_repeat_it(place):
    settings = json.loads((place.sweep("first") / "sweep.json").read_text())
    assert settings["kind"] == "adapter-capacity"
    assert "--name first" in settings["command"]
    assert settings["options"]["num_steps"] == 4


LARGER = [
    "--name", "larger", "--adapter-sizes", "1", "2", "--learning-rates", "1e-3", "0.9",
    "--no-packs", "--max-concurrent", "1", "--max-failed", "2",
]  # fmt: skip
"""The four cells of the first sweep, and four new ones, of which two turn NaN."""


def command(process):
    """Name and command line of a process; empty if it has just ended."""
    try:
        return f"{process.name()} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def interrupted(first_sweep):
    place, _ = first_sweep
    process = place.start(*LARGER)
    place.wait_for_records("larger", 5, process)
    family = {p: command(p) for p in psutil.Process(process.pid).children(recursive=True)}
    place.interrupt(process)
    done = place.finish(process)
    place.wait_gone(list(family))
    return place, done, contents(place, "larger"), place.runs("larger"), family


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(interrupted):
    _, done, before, _, _ = interrupted
    assert done.returncode == 130, done.stdout + done.stderr
    finished = sum(b'"status": "finished"' in text for text, _ in before.values())
    assert f"interrupted: {finished} finished cells are kept" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_ctrl_c_leaves_no_process(interrupted):
    family = interrupted[4]
    assert [line for line in family.values() if line.startswith("raylet ")]
    assert [line for p, line in family.items() if p.is_running()] == []


def test_one_pack_at_a_time_has_one_worker_and_ray_no_process_that_nobody_needs(interrupted):
    commands = list(interrupted[4].values())
    assert len([line for line in commands if "ray::I" in line]) == 1
    unused = ("monitor.py", "dashboard.py")
    assert [line for line in commands if any(name in line for name in unused)] == []


def test_ctrl_c_marks_the_runs_as_killed(interrupted):
    parent, cells = interrupted[3]
    assert parent.info.status == "KILLED"
    assert {r.info.status for r in cells.values()} <= {"FINISHED", "KILLED"}


def test_the_printed_command_goes_on_and_max_failed_tolerates_failures(interrupted):
    place, done, before, _, _ = interrupted
    line = done.stdout.partition("go on with: ")[2].splitlines()[0]
    again = place.shell(line)
    assert again.returncode == 0, again.stdout + again.stderr
    after = contents(place, "larger")
    assert len(after) == 8
    failed = cells_at(place, "larger", 0.9, status="failed")
    assert len(failed) == 2
    kept = before.keys() - failed
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    parent, cells = place.runs("larger")
    assert parent.info.status == "FINISHED"
    assert set(cells) == set(after)
    for key, run in cells.items():
        assert run.info.status == ("FAILED" if key in failed else "FINISHED")


def test_a_larger_grid_trains_only_the_new_cells(interrupted):
    place = interrupted[0]
    first = place.records("first")
    larger = place.records("larger")
    assert set(first) < set(larger)
    for key, record in larger.items():
        assert record["reused_from"] == ("first" if key in first else None)
        if key in first:
            assert record["metrics"] == first[key]["metrics"]
            assert (place.sweep("larger") / record["adapter_file"]).exists()
    _, cells = place.runs("larger")
    tags = {key: run.data.tags.get("interfero.reused_from") for key, run in cells.items()}
    assert tags == {key: "first" if key in first else None for key in larger}
    assert len(place.runs("first")[1]) == 4


def test_reuse_can_be_refused(interrupted):
    place = interrupted[0]
    fresh = [*place.tiny, *LARGER, "--name", "fresh", "--dry-run"]
    code, shown = place.call(SWEEP, *fresh, "--no-reuse")
    assert code == 0
    assert "8 cells" in shown
    assert "reused" not in shown
    code, shown = place.call(SWEEP, *fresh)
    assert code == 0
    assert "6 of 8 cells are reused" in shown
    assert not place.sweep("fresh").exists()


def test_more_threads_are_other_numbers(interrupted):
    place = interrupted[0]
    with pytest.raises(ConfigError, match="threads in training was 1, now it is 2"):
        place.call(SWEEP, *place.tiny, *LARGER, "--cpus-per-trial", "2", "--resume")


def test_accepted_code_changes_keep_what_is_finished(first_sweep, monkeypatch):
    place = first_sweep[0]
    first = [*place.tiny, *FIRST, "--resume"]
    before = contents(place, "first")
    monkeypatch.setattr("interfero.engine.adaptation.study.closure_hash", lambda _: "changed")
    with pytest.raises(ConfigError, match="the training code has changed"):
        place.call(SWEEP, *first)
    code, _ = place.call(SWEEP, *first, "--accept-code-change")
    assert code == 0
    assert contents(place, "first") == before
    kept = json.loads((place.sweep("first") / "sweep.json").read_text())
    assert [build["code"] for build in kept["builds"]] == [kept["loop_hash"], "changed"]


def test_a_sweep_of_another_torch_is_refused_before_anything_is_loaded(first_sweep, monkeypatch):
    place = first_sweep[0]
    file = place.sweep("first") / "sweep.json"
    before = file.read_text()
    monkeypatch.setattr("interfero.engine.adaptation.study.AdaptationStudy.plan", None)
    kept = json.loads(before)
    kept["content"]["version of torch"] = "1.13.1"
    file.write_text(json.dumps(kept))
    try:
        with pytest.raises(ConfigError, match=r"started with torch 1\.13\.1, and here is torch "):
            place.call(SWEEP, *place.tiny, *FIRST, "--resume", "--accept-code-change")
    finally:
        file.write_text(before)


def test_a_damaged_record_is_made_again_and_the_last_lines_say_so(first_sweep, ray_here):
    place = first_sweep[0]
    key, before = next(iter(place.records("first").items()))
    (place.sweep("first") / "cells" / f"{key}.json").write_bytes(b"{")
    done = place.called(SWEEP, *FIRST, "--resume")
    assert done.returncode == 0
    assert f"\nmade again, because its record was damaged: {key}\n" in done.stdout
    assert place.records("first")[key]["metrics"].keys() == before["metrics"].keys()
