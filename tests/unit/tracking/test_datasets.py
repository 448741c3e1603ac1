import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient

from interfero.domains.catalogue import load_domain
from interfero.errors import DomainError
from interfero.tracking import tracker as tracker_module
from interfero.tracking.dataset_source import DomainSource
from interfero.tracking.datasets import absolute_spec, copies_of, dataset_of, load_samples

from .conftest import PARAMS, make_record


@pytest.fixture
def uses(image_folder):
    """The data sets of a cell that trains on two images of a folder."""
    domain = load_domain(f"thing={image_folder}")
    place = {"domain": absolute_spec(f"thing={image_folder}")}
    split = domain.split(2, 0)
    drawn = {"num_images": 2, "data_seed": 0}
    return (
        dataset_of("thing", split.training, "adapt", {**place, "part": "adapt", **drawn}),
        dataset_of(
            "thing", split.validation, "validation", {**place, "part": "validation", **drawn}
        ),
        dataset_of("thing", domain.test, "test", {**place, "part": "test", "num_images": 99}),
        dataset_of("other", domain.train[:1], "source", {**place, "part": "all"}, unit="crops"),
    )


def test_runs_are_found_by_their_data_sets(place, uses):
    tracker = place.open()
    tracker.parent_datasets(uses)
    tracker.cell_started("a", PARAMS, {}, datasets=uses)
    tracker.cell_finished(make_record("a"))
    tracker.cell_started("b", PARAMS, {})
    experiment = place.client.get_experiment_by_name(place.experiment).experiment_id
    found = place.client.search_runs(
        [experiment], "dataset.name = 'thing' and tags.`interfero.cell` = 'a'"
    )
    assert [run.info.run_id for run in found] == [place.cells["a"].info.run_id]
    (run,) = found
    contexts = {
        (entry.dataset.name, entry.tags[0].value): entry.dataset
        for entry in run.inputs.dataset_inputs
    }
    assert set(contexts) == {
        ("thing", "adapt"), ("thing", "validation"), ("thing", "test"), ("other", "source"),
    }  # fmt: skip
    assert len({dataset.digest for dataset in contexts.values()}) == 4
    assert '"num_images": 2' in contexts["thing", "adapt"].profile
    assert '"num_crops": 1' in contexts["other", "source"].profile
    parents = place.client.search_runs([experiment], "dataset.name = 'other'")
    assert place.parent.info.run_id in {run.info.run_id for run in parents}


def test_a_parent_run_has_all_data_sets_however_many(place, uses, monkeypatch):
    """A request takes a thousand: of a sweep with more, the rest was left out without a word."""
    monkeypatch.setattr(tracker_module, "MAX_DATASETS", 3)
    tracker = place.open()
    tracker.parent_datasets(uses)
    tracker.close("FINISHED")
    assert len(place.parent.inputs.dataset_inputs) == len(uses) == 4


def test_the_images_of_a_data_set_are_loaded_again(place, uses, image_folder):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {}, datasets=uses)
    run = place.client.get_run(place.cells["a"].info.run_id)
    split = load_domain(f"thing={image_folder}").split(2, 0)
    for entry in run.inputs.dataset_inputs:
        if entry.dataset.name == "thing":
            source = mlflow.data.get_source(entry.dataset)
            assert isinstance(source, DomainSource)
            loaded = source.load()
            wanted = {"adapt": split.training, "validation": split.validation}
            context = entry.tags[0].value
            if context in wanted:
                assert {s.digest for s in loaded} == {s.digest for s in wanted[context]}


def test_other_images_than_those_of_the_run_are_refused(uses, other_image_folder):
    place = DomainSource.from_json(uses[0].source).place
    with pytest.raises(DomainError, match="has other images than the run used"):
        load_samples({**place, "domain": f"thing={other_image_folder}"})


def test_a_compressed_copy_is_a_folder(tmp_path):
    use = copies_of("thing-jpeg-0.5bpp", "c0ffee", str(tmp_path), "train", 3)
    assert use.source == f'{{"uri": "{tmp_path}"}}'
    assert (use.source_type, use.profile) == ("local", '{"num_images": 3}')


def test_a_server_without_data_sets_loses_nothing_else(place, uses, monkeypatch):
    tracker = place.open()
    refusal = MlflowException("no such endpoint")
    refusal.error_code = "ENDPOINT_NOT_FOUND"
    monkeypatch.setattr(MlflowClient, "log_inputs", lambda *a, **k: (_ for _ in ()).throw(refusal))
    tracker.cell_started("a", PARAMS, {}, datasets=uses)
    tracker.cell_finished(make_record("a"))
    assert tracker.pending == 0
    assert place.cells["a"].info.status == "FINISHED"
