"""The worker of tests, and that a real loop resumed through it ends as if never stopped."""

import pytest
import torch

from interfero.engine.worker import LocalWorker
from trainables.source import SourceConfig, train_source

CONFIG = SourceConfig(
    rd_lambda=0.013, num_steps=6, num_channels=8, num_latents=12, batch_size=2, crop_size=64,
    warmup_steps=2, float32_share=1.0,
)  # fmt: skip


def test_stop_after_counts_reports(tmp_path):
    worker = LocalWorker(tmp_path, stop_after=2)
    worker.report("curve", 1, {"loss": 1.0})
    assert not worker.should_stop()
    worker.report("curve", 2, {"loss": 0.5})
    assert worker.should_stop()
    assert worker.curve == [("curve", 1, {"loss": 1.0}), ("curve", 2, {"loss": 0.5})]


def test_without_a_limit_it_never_stops(tmp_path):
    heard = []
    worker = LocalWorker(tmp_path, on_report=lambda *point: heard.append(point))
    for step in range(5):
        worker.report("curve", step, {})
    assert not worker.should_stop()
    assert len(heard) == 5
    assert (worker.rank, worker.world_size, worker.device.type) == (0, 1, "cpu")


class StopAt(LocalWorker):
    """Asks to stop once, at a step: the source loop reports too seldom for `stop_after`."""

    stop_step = 3
    asked = 0

    def should_stop(self):
        self.asked += 1
        return self.asked == self.stop_step


@pytest.fixture(scope="module")
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_stopped_source_training_ends_as_if_never_stopped(tmp_path, threads, domain):
    images = domain(count=8)
    whole = train_source(CONFIG, images, LocalWorker(tmp_path / "whole"))
    stopped = train_source(CONFIG, images, StopAt(tmp_path / "parts"))
    assert (tmp_path / "parts" / "state.safetensors").exists()
    resumed = train_source(CONFIG, images, LocalWorker(tmp_path / "parts"))
    assert not torch.equal(stopped.state_dict()["g_a.0.weight"], whole.g_a[0].weight)
    for name, value in whole.named_parameters():
        assert torch.equal(value, dict(resumed.named_parameters())[name]), name


def test_a_stop_is_honoured_through_stop_after(tmp_path, threads, domain):
    worker = LocalWorker(tmp_path, stop_after=1)
    train_source(CONFIG.model_copy(update={"num_steps": 2}), domain(count=8), worker)
    assert [step for _, step, _ in worker.curve] == [2]
