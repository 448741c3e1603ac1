"""How a sweep ends: its question decides the figures and the first sentences, in the UI as well."""

import mlflow
import pytest
from rich.console import Console

from interfero.analysis.answers import (
    BITRATE,
    CAPACITY,
    DOMAIN_SHIFT,
    IMAGE_COUNT,
    INTERFERENCE_MAP,
    TRAINING_BUDGET,
)
from interfero.engine.adaptation.ending import write_ending
from interfero.engine.console import SweepProgress
from interfero.engine.ending import conclude
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep_run import SweepRun
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


@pytest.fixture
def end(tmp_path, sweep, fail, tracking_uri):
    """A simulated sweep of one domain, ended with an answer."""

    def run(answer, methods=("finetune", "cawf", "continue_source"), failed=0, **axes):
        store = SweepStore(tmp_path / "storage", "simulated")
        outbox = store.folder / "outbox.jsonl"
        tracker = Tracker.open(
            tracking_uri, "simulated", "simulated", tags={}, params={}, outbox=outbox
        )
        console = Console(width=100, record=True, file=(tmp_path / "said").open("w"))
        records = [
            r.model_copy(update={"metrics": {**r.metrics, "adapter/file_bytes": 1024.0}})
            for r in sweep(("text",), rates=(1e-3,), **axes)
            if r.params["method"] in methods
        ]
        records[:failed] = [fail(r) for r in records[:failed]]
        for record in records:
            store.write_record(record)
        swept = SweepRun(store, tracker, SweepProgress(console), {r.key: r.status for r in records})
        options = AdaptationOptions()
        code = conclude(
            console, options, swept,
            lambda: write_ending("Which law?", answer, options, swept, (), "python s.py", {}),
            "python s.py --name simulated",
        )  # fmt: skip
        client = mlflow.MlflowClient(tracking_uri)
        experiment = client.get_experiment_by_name("simulated")
        (parent,) = client.search_runs([experiment.experiment_id])
        names = {p.name for p in (store.folder / "report").iterdir()}
        logged = {a.path for a in client.list_artifacts(parent.info.run_id)}
        said = console.export_text()
        return code, names, logged, said, parent.data.tags["mlflow.note.content"]

    return run


def test_a_map_ends_with_laws_maps_and_trends(end):
    code, names, logged, said, note = end(
        INTERFERENCE_MAP, seeds=(0, 1, 2), lambdas=(0.0045, 0.0067)
    )
    assert code == 0
    drawn = {"map_cawf.png", "bitrate.svg", "rd_text.png", "rd_curves.md"}
    assert drawn | {"law_cawf.png", "scaling_fits.json"} <= names & logged
    said = " ".join(said.split())
    sentence = "For this domain (text), target gain of cawf follows a power law: exponent of "
    assert said.count(sentence) == 1
    assert said.index(sentence) < said.index("finetune gains ")
    # The description has room for the first of these, whatever the number of cells.
    assert 0 < note.index("of cawf follows a power law") < note.index("finetune gains")


def test_capacity_ends_with_its_own_figures_alone(end):
    _, names, logged, said, _ = end(CAPACITY)
    assert "capacity_text.png" in names & logged
    assert not {"map_cawf.png", "bitrate.png"} & names
    assert "power law" not in said


def test_the_terminal_has_the_answer_and_where_the_rest_is_on_one_screen(end):
    """Many domains and failures: the report has them; what is printed stays within a screen."""
    _, _, _, said, _ = end(CAPACITY, seeds=(0, 1), failed=4)
    lines = said.splitlines()
    assert len(lines) <= 17
    assert lines[0].startswith("finetune gains ")
    starts = ("what would make this surer: 2 data seeds have run", "report, one file for a browser: ",
              "records, adapters and figures: ", "4 cells failed, --max-failed is 0; the first: domain=",
              "try them again with: python s.py --name simulated --resume")  # fmt: skip
    for start in starts:
        assert sum(line.startswith(start) for line in lines) == 1, start


@pytest.mark.parametrize(
    "answer",
    [CAPACITY, DOMAIN_SHIFT, IMAGE_COUNT, TRAINING_BUDGET, BITRATE, INTERFERENCE_MAP],
    ids=range(6),
)
def test_a_domain_of_which_only_the_control_is_there_has_its_report(end, tmp_path, answer):
    end(answer, methods=("continue_source",))
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    (page,) = (tmp_path / "storage").rglob("report.html")
    assert "continue_source" in page.read_text()
