"""A pack of several methods, and what is asked of it at rungs, change no number of any member."""

import pytest
import torch

from interfero.adaptation import METHODS, load_adapter
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.coding import SourceCoder, mean_score, score_coded, score_estimated
from interfero.domains.ingest import load_folder
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.worker import LocalWorker
from trainables.adaptation import run_pack
from trainables.workbench import Workbench

MIXED = ("finetune", "cawf", "replay", "continue_source", "ewc", "lora", "distill")
"""Trained on the target, the source and both; with a shared pass, a teacher and a first look."""
NUM_STEPS = 4
TIMES = {"train/steps_per_second", "adapter/file_bytes"}
"""The file holds the training's seconds, in as many digits as they have."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_bench(tiny_codec_file, image_folder, other_image_folder):
    target, source = load_folder("thing", image_folder), load_folder("other", other_image_folder)

    def read():
        return read_codec(tiny_codec_file, "tiny")

    return lambda: Workbench(read(), read, target, source)


def make_cell(bench, method, learning_rate=3e-3):
    kind = METHODS[method]
    return Cell(
        block=Block(domain="thing", rd_lambda=0.013, num_images=4, data_seed=0),
        hyperparameters=Hyperparameters(
            method=method,
            adapter_size=1 if kind.size_unit else 0,
            strength=1.0 if kind.strength_unit else 0.0,
            learning_rate=learning_rate,
        ),
        loop=LoopConfig(
            num_steps=NUM_STEPS, batch_size=2, crop_size=64, max_source_images=1,
            max_target_images=1,
        ),
        identity=Identity(
            codec="tiny", codec_hash=bench.codec.weights_hash, table_hash=bench.codec.table_hash,
            domain_hash="d", source_domain="other", source_domain_hash="s", loop_hash="l",
            versions={},
        ),
    )  # fmt: skip


class Rungs(LocalWorker):
    """A worker with rungs that stops a member at one step of one cell."""

    stops: tuple[str, int] | None = None

    def should_stop(self):
        return bool(self.curve) and self.curve[-1][:2] == self.stops


@pytest.fixture(scope="module")
def together(make_bench, tmp_path_factory):
    """Records of one pack, asked at rungs, and what was reported there by key and step."""
    bench = make_bench()
    worker = Rungs(tmp_path_factory.mktemp("together"), rungs=(1, 3, NUM_STEPS))
    records = list(run_pack([make_cell(bench, m) for m in MIXED], bench, worker))
    gains = {(key, step): m["val/rd_gain_percent"] for key, step, m in worker.curve}
    return {r.params["method"]: r for r in records}, gains, worker.folder


def without_times(record):
    return {k: v for k, v in record.metrics.items() if k not in TIMES}


@pytest.mark.parametrize("method", MIXED)
def test_a_member_of_a_mixed_pack_gets_the_record_it_gets_alone(
    method, together, make_bench, tmp_path
):
    bench = make_bench()
    (alone,) = run_pack([make_cell(bench, method)], bench, LocalWorker(tmp_path))
    packed = together[0][method]
    assert alone.status == packed.status == "finished", (alone.error, packed.error)
    assert without_times(alone) == without_times(packed)
    assert alone.curve == packed.curve
    assert alone.images == packed.images
    files = [f / alone.adapter_file for f in (tmp_path, together[2])]
    assert state(files[0]) == state(files[1])


def state(path):
    from interfero.store.tensors import load_tensors

    return {name: value.numpy().tobytes() for name, value in load_tensors(path)[0].items()}


@pytest.mark.parametrize("method", MIXED)
def test_the_gain_at_the_last_step_is_the_one_of_the_record(method, together):
    records, gains, _ = together
    record = records[method]
    assert gains[record.key, NUM_STEPS] == record.metrics["val/rd_gain_percent"]
    assert gains[record.key, 1] != gains[record.key, NUM_STEPS]


@pytest.mark.parametrize("method", ["lora", "cawf"])
def test_what_validation_says_is_what_its_images_are_coded_to(method, together, make_bench):
    """Headers and what tables waste are in it, and estimates have neither."""
    record, bench = together[0][method], make_bench()
    adapted, _ = load_adapter(together[2] / record.adapter_file, bench.codec)
    adapted.mode = "target"
    for role, domain, name in (
        ("target", bench.target, "val/rd_gain_percent"),
        ("source", bench.source, "val/forgetting_unrouted_percent"),
    ):
        images = domain.split(1, 0).validation

        def loss(coder, of, images=images):
            return mean_score([of(coder, image) for image in images], 0.013)["rd_loss"]

        sign = 1 if role == "target" else -1
        before, after = (loss(c, score_coded) for c in (SourceCoder(bench.codec), adapted))
        assert record.metrics[name] == pytest.approx(sign * 100 * (before - after) / before)
        assert loss(adapted, score_estimated) != pytest.approx(after, rel=1e-5)


def test_a_stopped_member_has_no_results_and_the_others_go_on(together, make_bench, tmp_path):
    bench = make_bench()
    cells = [make_cell(bench, m) for m in ("finetune", "cawf")]
    worker = Rungs(tmp_path, rungs=(1, 3))
    worker.stops = cells[0].key, 3
    stopped, other = run_pack(cells, bench, worker)
    assert (stopped.status, stopped.stopped_at, stopped.error) == ("stopped", 3, None)
    gain = together[1][stopped.key, 3]
    assert stopped.metrics == {"val/rd_gain_percent": gain}
    assert [step for step, _ in stopped.curve] == [1, 2, 3]
    assert stopped.images == ()
    assert stopped.adapter_file is None
    assert stopped.seconds > 0
    assert not (tmp_path / "adapters" / f"{stopped.key}.safetensors").exists()
    assert without_times(other) == without_times(together[0]["cawf"])


def test_a_member_that_cannot_be_validated_has_failed(make_bench, tmp_path, monkeypatch):
    bench = make_bench()

    def broken(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr("trainables.adaptation.validation_gain", broken)
    worker = Rungs(tmp_path, rungs=(1,))
    (record,) = run_pack([make_cell(bench, "cawf")], bench, worker)
    assert record.status == "failed"
    assert "RuntimeError in validation at step 1: no memory" in record.error
