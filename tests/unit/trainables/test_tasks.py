"""Every task is trained and scored by the same machinery: what a new one has to hold to."""

import numpy as np
import pytest
import torch

from interfero.domains.labelled import VOID
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.worker import LocalWorker
from interfero.metrics.tasks import TASKS, accuracy, edge_f_score, task_for, task_of
from trainables.paired_batches import Scene
from trainables.scene_training import Seeds
from trainables.segmentation import build_segmenter, segment, train_segmenter, validate
from trainables.tasks import MODELS

CPU = torch.device("cpu")


def config(task, **changes):
    given = {
        "task": task, "num_steps": 40, "batch_size": 4, "crop_size": 32, "learning_rate": 3e-3,
        "decoder_width": 4, "encoder": "tu-tf_mobilenetv3_small_minimal_100",
    }  # fmt: skip
    return SegmentationConfig(**(given | changes))


@pytest.fixture(scope="module")
def scenes():
    """Smooth or noisy images, of one class each."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(8):
        spread = (4, 60)[i % 2]
        grey = (128 + rng.integers(-spread, spread, (40, 48))).astype(np.uint8)
        labels = np.full(grey.shape, i % 2, dtype=np.uint8)
        made.append(Scene((np.repeat(grey[..., None], 3, axis=-1),), labels))
    return made


@pytest.mark.parametrize("task", TASKS)
def test_a_task_learns_and_answers_for_every_pixel(scenes, tmp_path, task):
    model, training = train_segmenter(
        config(task, validations=1), scenes, 2, Seeds(0, 0), LocalWorker(tmp_path), "k",
        validation=scenes,
    )  # fmt: skip
    first, last = training.curve[0][1]["loss"], training.curve[-2][1]["loss"]
    assert last < 0.6 * first
    answer = segment(model, scenes[0].pictures[0], CPU, task)
    assert answer.shape == (40, 48)
    assert answer.dtype == np.uint8
    score = validate(model, scenes, 2, CPU, task)
    assert score > 0.8
    assert training.curve[-1] == (40, {"val_score": pytest.approx(score)})


@pytest.mark.parametrize("name", TASKS)
def test_a_perfect_answer_scores_1_and_a_wrong_one_0(name):
    labels = np.zeros((4, 6), dtype=np.uint8)
    model, task = MODELS[name], TASKS[name]
    assert model.task is task
    assert task_for(task.label_kind) is task
    right, wrong = (model.count(answer, labels, 3) for answer in (labels, labels + 1))
    assert task.score(right.hits, right.labelled, right.predicted) == 1
    assert task.score(wrong.hits, wrong.labelled, wrong.predicted) == 0
    assert task.metric.startswith(f"{name}/"), "metrics of a task begin with its name"


def test_an_image_counts_once_whatever_its_size():
    labels = np.full((40, 48), 1, dtype=np.uint8)
    counts = MODELS["classification"].count(labels, labels, 2)
    assert (counts.labelled.tolist(), counts.hits.tolist()) == ([0, 1], [0, 1])
    assert MODELS["segmentation"].count(labels, labels, 2).labelled.tolist() == [0, 40 * 48]


def test_a_crop_that_is_partly_void_has_its_images_class():
    outputs = torch.zeros(2, 3)
    outputs[:, 2] = 5
    labels = torch.full((2, 4, 4), 2)
    labels[0, :, :3] = VOID
    whole = MODELS["classification"].loss(outputs, torch.full((2, 4, 4), 2), None)
    assert MODELS["classification"].loss(outputs, labels, None) == whole
    # -log softmax: log(2 e^0 + e^5) - 5.
    assert whole.item() == pytest.approx(np.log(2 + np.exp(5)) - 5, rel=1e-4)


def test_accuracy_by_hand():
    hits, labelled = np.array([[3, 0, 1], [1, 0, 0]]), np.array([[4, 2, 2], [1, 1, 0]])
    assert accuracy(hits, labelled, labelled).tolist() == [0.5, 0.5]
    only = np.array([True, False, False])
    assert accuracy(hits, labelled, labelled, only).tolist() == [0.75, 1.0]
    with pytest.raises(ValueError, match="at least one label"):
        accuracy(hits, np.zeros((2, 3), int), labelled)


def test_f_score_of_edges_by_hand():
    hits, labelled, predicted = [[90, 6], [99, 0]], [[92, 8], [99, 1]], [[88, 12], [100, 0]]
    found = edge_f_score(*map(np.array, (hits, labelled, predicted)))
    # Precision 6 / 12, recall 6 / 8.
    assert found.tolist() == [pytest.approx(0.6), 0.0]


def test_the_loss_of_edges_wants_edges_found():
    """With one edge in a hundred pixels, cross-entropy is content with none."""
    loss, labels = MODELS["edges"].loss, torch.zeros((1, 10, 10), dtype=torch.long)
    labels[0, 0, 0] = 1
    labels[0, 5:] = VOID
    none, found = torch.zeros(1, 2, 10, 10), torch.zeros(1, 2, 10, 10)
    none[:, 0] = found[:, 0] = 20
    found[0, :, 0, 0] = torch.tensor([0.0, 20.0])
    # Cross-entropy 20 / 50; Dice (0 + 1) / (0 + 1 + 1).
    assert loss(none, labels, None).item() == pytest.approx(20 / 50 + 1 / 2, abs=1e-4)
    assert loss(found, labels, None).item() == pytest.approx(0, abs=1e-4)


def test_records_of_earlier_releases_are_of_segmentation():
    assert task_of({}).name == "segmentation"
    assert task_of({"task": "classification"}).metric == "classification/accuracy"


def test_models_of_all_tasks_have_the_same_encoder():
    encoders = [build_segmenter(config(task), 4, 0).network.encoder for task in TASKS]
    shapes = [{k: v.shape for k, v in encoder.state_dict().items()} for encoder in encoders]
    assert shapes == [shapes[0]] * len(TASKS)
