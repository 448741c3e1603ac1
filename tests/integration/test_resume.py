"""A sweep that is killed, interrupted, repeated or enlarged loses nothing and repeats nothing."""

import io
import re

import psutil
import pytest
from rich.console import Console

from interfero.adaptation import load_adapter
from interfero.codecs.checkpoint import read_codec
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.sweep import run_sweep
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError
from sweeps.adapter_capacity import SWEEP
from tests.processes import product_of, stop_in_mid_cell
from trainables.adaptation import run_pack
from trainables.workbench import Workbench

KILLED = [
    "--name", "killed", "--methods", "finetune", "cawf", "--adapter-sizes", "1",
    "--learning-rates", "1e-3", "0.9", "--max-concurrent", "1",
]  # fmt: skip
"""Two packs of two cells, one after the other; fine-tuning at 0.9 turns NaN."""


def contents(place, name):
    return {p.stem: (p.read_bytes(), p.stat().st_mtime_ns) for p in place.record_files(name)}


def in_process(place, *arguments, console=None):
    """The same driver in this process: for what ends before any training."""
    storage = ["--storage", str(place.folder / "interfero-storage")]
    return run_sweep(SWEEP, [*place.tiny, *storage, *arguments], console or Console(quiet=True))


@pytest.fixture(scope="module")
def killed(make_workplace):
    """A sweep that was killed after its first record, and what a second driver was told meanwhile."""
    place = make_workplace("killed")
    process = place.start(*KILLED)
    place.wait_until((place.sweep("killed") / "sweep.json").exists, process)
    with pytest.raises(ConfigError) as second_driver:
        in_process(place, *KILLED, "--resume")
    place.wait_for_records("killed", 1, process)
    place.kill_while_running(process)
    return place, contents(place, "killed"), str(second_driver.value), process.pid


@pytest.fixture(scope="module")
def resumed(killed):
    place = killed[0]
    return place, place.run(*KILLED, "--resume"), contents(place, "killed")


@pytest.fixture(scope="module")
def tried_again(resumed):
    place = resumed[0]
    return place, place.run(*KILLED, "--resume", "--max-failed", 1)


def test_a_second_driver_is_refused_while_the_first_runs(killed):
    _, _, message, pid = killed
    assert f"is running (process {pid} on " in message


def test_the_killed_sweep_had_not_finished(killed):
    place, before, _, _ = killed
    assert 1 <= len(before) < 4
    _, cells = place.runs("killed")
    assert "RUNNING" in {run.info.status for run in cells.values()}


def test_resume_finishes_every_cell_and_rewrites_none(killed, resumed):
    _, before, _, _ = killed
    _, _, after = resumed
    assert len(after) == 4
    finished = {key for key, (text, _) in before.items() if b'"finished"' in text}
    assert {key: after[key] for key in finished} == {key: before[key] for key in finished}


def test_resume_leaves_one_run_a_cell_and_none_running(resumed):
    place, _, after = resumed
    parent, cells = place.runs("killed")
    assert set(cells) == set(after)
    assert sorted(r.info.status for r in cells.values()) == ["FAILED"] + 3 * ["FINISHED"]
    assert parent.info.status == "FAILED"


def test_a_diverging_member_is_a_record_and_the_others_go_on(resumed):
    place, done, _ = resumed
    records = place.records("killed").values()
    failed = [r for r in records if r["status"] == "failed"]
    assert len(failed) == 1
    assert failed[0]["params"]["method"] == "finetune"
    assert failed[0]["params"]["learning_rate"] == 0.9
    assert re.search(r"loss nan.* at step 1; last finite loss \d+", failed[0]["error"])
    assert failed[0]["curve"][0][0] == 1
    neighbour = [
        r
        for r in records
        if r["params"]["method"] == "finetune" and r["params"]["learning_rate"] == 1e-3
    ]
    assert [r["status"] for r in neighbour] == ["finished"]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 cells failed, --max-failed is 0" in done.stdout


def test_resume_tries_failed_cells_again_and_max_failed_tolerates_them(resumed, tried_again):
    place, done = tried_again
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = resumed[2], contents(place, "killed")
    rewritten = {key for key in after if after[key] != before[key]}
    assert {place.records("killed")[key]["status"] for key in rewritten} == {"failed"}
    assert len(rewritten) == 1
    parent, cells = place.runs("killed")
    assert parent.info.status == "FINISHED"
    assert len(cells) == 4


def test_a_name_is_taken_once(resumed):
    with pytest.raises(ConfigError, match=r"add --resume .* or choose another --name"):
        in_process(resumed[0], *KILLED)


def test_changed_options_are_refused_on_resume_all_at_once(resumed):
    place = resumed[0]
    changed = [*KILLED, "--num-steps", "5", "--batch-size", "3", "--resume"]
    with pytest.raises(ConfigError) as caught:
        in_process(place, *changed)
    assert "num_steps was 4, now it is 5" in str(caught.value)
    assert "batch_size was 2, now it is 3" in str(caught.value)


def test_changed_images_are_refused_on_resume(resumed, image_folder, other_image_folder):
    place = resumed[0]
    swapped = ["--domains", f"thing={other_image_folder}", "--resume"]
    with pytest.raises(ConfigError, match="domain thing was"):
        in_process(place, *KILLED, *swapped)


LARGER = [
    "--name", "larger", "--adapter-sizes", "1", "2", "--learning-rates", "1e-3", "3e-3",
    "--no-packs", "--max-concurrent", "1",
]  # fmt: skip
"""The four cells of the first sweep, and four new ones."""


@pytest.fixture(scope="module")
def interrupted(first_sweep):
    place, _ = first_sweep
    process = place.start(*LARGER)
    place.wait_for_records("larger", 5, process)
    family = {p: p.name() for p in psutil.Process(process.pid).children(recursive=True)}
    place.interrupt(process)
    done = place.finish(process)
    place.wait_gone(list(family))
    return place, done, contents(place, "larger"), place.runs("larger"), family


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(interrupted):
    _, done, before, _, _ = interrupted
    assert done.returncode == 130, done.stdout + done.stderr
    assert f"interrupted: {len(before)} finished cells are kept" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_ctrl_c_leaves_no_process(interrupted):
    family = interrupted[4]
    assert "raylet" in family.values()
    assert [name for p, name in family.items() if p.is_running()] == []


def test_ctrl_c_marks_the_runs_as_killed(interrupted):
    parent, cells = interrupted[3]
    assert parent.info.status == "KILLED"
    assert {r.info.status for r in cells.values()} <= {"FINISHED", "KILLED"}


def test_the_printed_command_goes_on(interrupted):
    place, done, before, _, _ = interrupted
    line = done.stdout.partition("go on with: ")[2].splitlines()[0]
    again = place.shell(line)
    assert again.returncode == 0, again.stdout + again.stderr
    after = contents(place, "larger")
    assert len(after) == 8
    assert {key: after[key] for key in before} == before
    parent, cells = place.runs("larger")
    assert parent.info.status == "FINISHED"
    assert {r.info.status for r in cells.values()} == {"FINISHED"}
    assert set(cells) == set(after)


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
    shown = io.StringIO()
    fresh = [*LARGER, "--name", "fresh", "--dry-run"]
    assert in_process(place, *fresh, "--no-reuse", console=Console(file=shown)) == 0
    assert "8 cells" in shown.getvalue()
    assert "reused" not in shown.getvalue()
    assert in_process(place, *fresh, console=Console(file=shown)) == 0
    assert "8 of 8 cells are reused" in shown.getvalue()
    assert not place.sweep("fresh").exists()


def test_more_threads_are_other_numbers(interrupted):
    place = interrupted[0]
    with pytest.raises(ConfigError, match="threads in training was 1, now it is 2"):
        in_process(place, *LARGER, "--cpus-per-trial", "2", "--resume")


def test_accepted_code_changes_keep_what_is_finished(interrupted, monkeypatch):
    place = interrupted[0]
    before = contents(place, "larger")
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr("interfero.engine.adaptation.study.closure_hash", lambda _: "changed")
    with pytest.raises(ConfigError, match="the training code has changed"):
        in_process(place, *LARGER, "--resume")
    assert in_process(place, *LARGER, "--resume", "--accept-code-change") == 0
    assert contents(place, "larger") == before


LONG = [
    "--name", "long", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3",
    "--num-steps", "200", "--checkpoint-seconds", "0",
]  # fmt: skip
"""One cell, whose state is kept after every step."""


def uninterrupted(place, cell, codec_file, folder):
    """What the same cell comes to in this process, from its first step to its last."""

    def read():
        return read_codec(codec_file, "tiny")

    target, source = (place.tiny[place.tiny.index(n) + 1] for n in ("--domains", "--source-domain"))
    bench = Workbench(read(), read, load_domain(target), load_domain(source))
    (record,) = run_pack([cell], bench, LocalWorker(folder))
    return record


def test_a_cell_killed_in_the_middle_goes_on_as_if_it_never_was(
    make_workplace, tiny_codec_file, tmp_path
):
    place = make_workplace("long")
    process = place.start(*LONG)
    newest, _ = stop_in_mid_cell(place, process, "long")
    place.cut_power(process)
    step = product_of(newest)
    assert 0 < step < 200
    assert place.record_files("long") == []
    done = place.run(*LONG, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = place.records("long").values()
    assert record["resumed_step"] == step, "steps before the checkpoint were repeated"
    assert list((place.sweep("long") / "checkpoints").iterdir()) == []
    file = place.sweep("long") / record["adapter_file"]
    metadata = load_adapter(file, read_codec(tiny_codec_file, "tiny"))[1]
    cell = Cell.model_validate(metadata["record"]["cell"])
    assert cell.key == record["key"]
    whole = uninterrupted(place, cell, tiny_codec_file, tmp_path)
    again = load_adapter(tmp_path / str(whole.adapter_file), read_codec(tiny_codec_file, "tiny"))[1]
    assert metadata["adapter_hash"] == again["adapter_hash"]
    assert record["curve"] == [[step, values] for step, values in whole.curve]
