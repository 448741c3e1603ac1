"""Codecs adapted for what a model sees: their nodes, their training, and what a cell says of them."""

import numpy as np
import pytest
import torch
from torch import nn

from interfero.adaptation import load_adapter
from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import freeze_codec, save_codec
from interfero.codecs.codec import Shape, build_model
from interfero.codecs.coding import decode, encode
from interfero.engine.options.parsing import parse_options
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.packs import Pack
from interfero.engine.restoration.configs import TaskCodecConfig
from interfero.engine.restoration.inputs import inputs_of
from interfero.engine.worker import LocalWorker
from interfero.errors import CodecError, ConfigError
from trainables.paired_batches import Scene
from trainables.runner import Runner
from trainables.scene_training import Seeds
from trainables.task_codecs import source_kept_share, train_task_codec
from trainables.tasks import MODELS

from .conftest import Local, packs_of, plan_of
from .test_graph import kinds
from .test_plan_text import shown
from .test_remedies import by_configuration

TASK = {
    "codecs": ("bmshj2018-factorized",), "rates": (0.8,), "configurations": ("OO", "OC", "OT"),
    "task_methods": ("bias_gain",), "task_weights": (3.0,), "task_steps": 2,
}  # fmt: skip


class TestNodes:
    def test_a_codec_is_adapted_for_the_model_of_oo(self):
        plan = plan_of(**TASK)
        cells = by_configuration(plan)
        tested = cells["OT"].tested_on
        assert tested.adapter.segmenter.key == cells["OO"].segmenter.key
        assert cells["OT"].segmenter.key == cells["OC"].segmenter.key
        assert tested.plain.key == cells["OC"].tested_on.key
        assert tested.key != tested.plain.key
        # The training images are never coded: the adapter learns from originals.
        assert kinds(plan) == ["adapt", "compress", "compress", "segmentation"]

    def test_its_key_knows_what_decides_it_and_other_cells_nothing_of_it(self):
        def keys(**changes):
            cells = by_configuration(plan_of(**(TASK | changes)))
            return cells["OT"].key, (cells["OO"].key, cells["OC"].key)

        base = keys()
        changes = ({"task_weights": (1.0,)}, {"task_steps": 3}, {"task_learning_rate": 1e-3},
                   {"task_methods": ("lora",)}, {"task_methods": ("lora",), "task_size": 2},
                   {"rates": (0.4,)}, {"num_steps": 3})  # fmt: skip
        found = [keys(**change) for change in changes]
        assert len({base[0], *(key for key, _ in found)}) == len(changes) + 1
        assert {others for _, others in found[:5]} == {base[1]}
        # A method without a size has none.
        assert keys(task_size=9) == base

    def test_methods_and_weights_are_lines_of_their_own(self):
        plan = plan_of(
            **(TASK | {"task_methods": ("bias_gain", "lora"), "task_weights": (0.0, 3.0)})
        )
        cells = [cell for cell in plan.cells if cell.configuration == "OT"]
        assert [cell.params["variant"] for cell in cells] == [
            "bias_gain task 0", "bias_gain task 3", "lora 4 task 0", "lora 4 task 3",
        ]  # fmt: skip
        assert [cell.params["task_weight"] for cell in cells] == [0, 3, 0, 3]
        assert "method" not in by_configuration(plan)["OC"].params

    def test_packs_survive_their_journey(self):
        for pack in packs_of(plan_of(**TASK)):
            assert Pack.from_text(pack.text).keys == pack.keys

    def test_a_dry_run_names_and_prices_it(self, tmp_path):
        text = shown(plan_of(**TASK, dry_run=True), tmp_path)
        assert "1 adapt" in text
        assert "2 to adapt a codec" in text
        assert "configuration=OT codec=bmshj2018-factorized rate_bpp=0.8" in text


class TestRun:
    def test_a_cell_has_rate_picture_and_what_people_lose(self, tmp_path):
        plan = plan_of(**(TASK | {"task_weights": (0.0, 3.0)}))
        local = Local(tmp_path)
        records = local.run(plan)
        assert {r.status for r in records.values()} == {"finished"}
        cells = {c.params["variant"]: c for c in plan.cells if c.configuration == "OT"}
        metrics = records[cells["bias_gain task 3"].key].metrics
        plain = records[by_configuration(plan)["OC"].key].metrics
        change = metrics["rate/test_psnr_db"] - plain["rate/test_psnr_db"]
        assert metrics["human_view/psnr_change_db"] == pytest.approx(change)
        change = metrics["rate/test_bpp"] / plain["rate/test_bpp"] - 1
        assert metrics["human_view/bpp_change_percent"] == pytest.approx(100 * change)
        assert metrics["source_mode/bytes_exact"] == 1
        assert "human_view/psnr_change_db" not in plain
        used = inputs_of(plan, local.store)(cells["bias_gain task 3"].key, {})
        assert [use.context for use in used] == ["train", "test"]
        assert used[-1].name == "mosaics-bmshj2018-factorized-0.8bpp-bias_gain-task-3"
        # Again: everything is there.
        again = Local(tmp_path, "other")
        again.run(plan)
        assert set(again.did) == {"test"}

    def test_its_adapter_is_one_like_any_other(self, tmp_path):
        plan = plan_of(**TASK)
        local = Local(tmp_path)
        records = local.run(plan)
        node = by_configuration(plan)["OT"].tested_on.adapter
        copies = next(r for r in records.values() if r.params.get("step") == "compress")
        source = load_codec("bmshj2018-factorized", float(copies.provenance["setting"]))
        adapted, metadata = load_adapter(
            local.products.place(node.key) / "model.safetensors", source
        )
        assert metadata["domain"] == "mosaics"
        assert metadata["record"]["task_weight"] == 3
        pixels = plan.domains["mosaics"].test[0].pixels_HWC
        stream = encode(adapted, pixels)
        assert decode(adapted, stream.data).pixels_HWC.shape == pixels.shape
        assert source_kept_share(adapted, source, plan.domains["mosaics"].test) == 1


CONFIG = {"method": "lora", "adapter_size": 4, "num_steps": 40, "batch_size": 4, "crop_size": 32,
          "learning_rate": 1e-2}  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    """Two classes that differ by their colour."""
    rng = np.random.default_rng(0)
    labels = [(rng.random((8, 8)) < 0.5).repeat(8, 0).repeat(8, 1) for _ in range(4)]
    colours = np.array([[150, 120, 120], [120, 120, 150]], dtype=np.uint8)
    return [Scene((colours[label.astype(int)],), label.astype(np.uint8)) for label in labels]


@pytest.fixture(scope="module")
def source():
    return load_codec("bmshj2018-factorized", 0.0016)


class RedOrBlue(nn.Module):
    """Looks at one colour against another, and at nothing else."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, images_BCHW):
        difference = 20 * self.sign * (images_BCHW[:, 0] - images_BCHW[:, 2])
        return torch.stack([difference, -difference], dim=1)


def trained(scenes, source, model, folder, checkpoint_seconds=1e9, **changes):
    config = TaskCodecConfig(**(CONFIG | {"task_weight": 30.0} | changes))
    return train_task_codec(
        config, source, MODELS["segmentation"], model, scenes, Seeds(0, 0), LocalWorker(folder), "t",
        checkpoint_seconds,
    )  # fmt: skip


class TestTraining:
    def test_the_task_is_learned_and_nothing_but_the_adapter_changes(
        self, scenes, source, tmp_path
    ):
        before, model = source.weights_hash, RedOrBlue()
        _, training = trained(scenes, source, model, tmp_path)
        losses = [values["task_loss"] for _, values in training.curve]
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
        assert source.weights_hash == before
        assert model.sign == 1

    def test_a_training_that_dies_goes_on_to_the_same_adapter(self, scenes, source, tmp_path):
        """Quantiles, both optimizers and the noise of every step among it."""

        class Dies(RedOrBlue):
            steps = 0

            def forward(self, images_BCHW):
                self.steps += 1
                if self.steps > 5:
                    raise MemoryError("as if it were killed")
                return super().forward(images_BCHW)

        whole, training = trained(scenes, source, RedOrBlue(), tmp_path / "whole", num_steps=9)
        assert training.start == 0
        with pytest.raises(MemoryError):
            trained(scenes, source, Dies(), tmp_path / "died", num_steps=9, checkpoint_seconds=0)
        again, training = trained(scenes, source, RedOrBlue(), tmp_path / "died", num_steps=9)
        assert 0 < training.start <= 5
        assert [step for step, _ in training.curve] == list(range(1, 10))
        expected = whole.state_dict()
        assert all(value.equal(expected[name]) for name, value in again.state_dict().items())

    def test_a_weight_of_0_learns_rate_and_picture_alone(self, scenes, source, tmp_path):
        config = TaskCodecConfig(**CONFIG, task_weight=0.0)

        def adapted(task_model):
            found, training = train_task_codec(
                config.model_copy(update={"num_steps": 4}), source, MODELS["segmentation"], task_model,
                scenes, Seeds(0, 0), LocalWorker(tmp_path / str(id(task_model))), "t", 1e9,
            )  # fmt: skip
            assert all(values["task_loss"] == 0 for _, values in training.curve)
            return found.adapter_state()

        ones, others = adapted(RedOrBlue()), adapted(RedOrBlue(-1.0))
        assert all(value.equal(others[name]) for name, value in ones.items())


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"codecs": ("webp",)}, "adapts a codec by training, and webp has nothing that learns"),
            ({"task_methods": ("finetune",)}, "--task-methods finetune: source streams must stay"),
            ({"task_methods": ("continue_source",)}, "--task-methods continue_source: "),
            ({"task_methods": ("loar",)}, "--task-methods: unknown 'loar'.*lora"),
            ({"task_methods": ()}, "--task-methods is empty"),
            ({"task_weights": (-1.0,)}, "--task-weights must be 0 or more"),
            ({"task_steps": 0}, "--task-steps must be"),
            ({"task_size": 5000}, "--task-size must be at most 1024, got 5000"),
        ],
    )
    def test_what_cannot_be_run(self, changes, said):
        with pytest.raises(ConfigError, match=said):
            plan_of(**(TASK | changes))

    def test_a_restorer_may_learn_from_a_classical_codec(self):
        configurations = ("OT", "RO")
        plan = plan_of(**(TASK | {"configurations": configurations, "restorer_codecs": ("webp",)}))
        assert {cell.configuration for cell in plan.cells} == set(configurations)

    def test_an_adapter_that_the_codec_cannot_have(self, tmp_path):
        """Before anything is trained: the adapter would be the last thing to be built."""
        shape, path = Shape("mbt2018", 8, 12), tmp_path / "context.safetensors"
        save_codec(freeze_codec(build_model(shape), shape, 0.013, "context", {}), path)
        plan = plan_of(**(TASK | {"codecs": (str(path),), "task_methods": ("cawf",)}))
        with pytest.raises(CodecError, match="cawf does not adapt 'mbt2018'"):
            Runner.of_restoration(plan)

    def test_the_smallest_run_has_it(self):
        given = parse_options(RestorationOptions(), ["--configurations", "OT", "--smoke"], "Why?")
        small = given.smallest()
        assert (small.task_steps, small.task_weights, small.task_methods) == (2, (3.0,), ("lora",))
