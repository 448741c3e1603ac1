"""Remedies for what compression does: their nodes, which products they share, and what they make of them."""

import numpy as np
import pytest

from interfero.engine.options.parsing import parse_options
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.packs import Pack
from interfero.engine.restoration.inputs import inputs_of
from interfero.engine.restoration.nodes import FineTuned
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError
from interfero.store.tensors import load_hashed, state_hash
from trainables import restoration_nodes
from trainables.restoration_bench import Bench

from .conftest import Local, packs_of, plan_of
from .test_graph import kinds
from .test_plan_text import shown


def by_configuration(plan):
    """The first cell of each."""
    return {cell.configuration: cell for cell in reversed(plan.cells)}


def bench_of(plan, local):
    return Bench(plan.domains, plan.codecs, {}, local.products, LocalWorker(local.store.folder))


FEW = {"configurations": ("OO", "OC", "FC", "FO"), "finetune_images": (2,), "finetune_steps": 1}


class TestFineTuning:
    def test_it_goes_on_from_the_model_of_oo(self):
        plan = plan_of(**FEW)
        cells = by_configuration(plan)
        tuned = cells["FC"].segmenter
        assert isinstance(tuned, FineTuned)
        assert tuned.key == cells["FO"].segmenter.key
        assert tuned.start.key == cells["OO"].segmenter.key == cells["OC"].segmenter.key
        assert kinds(plan) == ["compress", "compress", "finetune", "segmentation"]
        assert cells["FC"].lineage["segmentation"] == tuned.start.key
        assert cells["FO"].tested_on.key == cells["OO"].tested_on.key

    def test_its_key_knows_what_decides_it_and_the_model_of_oo_nothing_of_it(self):
        def keys(**changes):
            cells = by_configuration(plan_of(**(FEW | changes)))
            return cells["FC"].segmenter.key, cells["OO"].key

        base = keys()
        changed = [keys(**c) for c in ({"finetune_images": (3,)}, {"finetune_steps": 2},
                                       {"finetune_rate": 0.2})]  # fmt: skip
        assert {oo for _, oo in changed} == {base[1]}
        assert len({base[0], *(fc for fc, _ in changed)}) == 4
        # All images by their number, or by 0.
        assert (
            keys(finetune_images=(0,)) == keys(finetune_images=(3,)) == keys(finetune_images=(9,))
        )

    def test_numbers_of_images_are_lines_of_their_own(self):
        plan = plan_of(**(FEW | {"finetune_images": (1, 2, 0)}))
        told = [cell.params["variant"] for cell in plan.cells if cell.configuration == "FC"]
        assert told == ["1 images", "2 images", "3 images"]
        assert [c.params["num_images"] for c in plan.cells if c.configuration == "FC"] == [1, 2, 3]
        assert all("variant" not in c.params for c in plan.cells if c.configuration == "OC")

    def test_it_trains_on_the_drawn_images_from_the_given_weights(self, tmp_path, monkeypatch):
        seen = {}
        train = restoration_nodes.train_segmenter

        def spied(config, scenes, *given):
            seen[config.learning_rate] = (scenes, given[-1])
            return train(config, scenes, *given)

        monkeypatch.setattr(restoration_nodes, "train_segmenter", spied)
        plan = plan_of(**FEW, validations=1)
        local = Local(tmp_path)
        records = local.run(plan)
        assert {r.status for r in records.values()} == {"finished"}
        tuned = by_configuration(plan)["FC"].segmenter
        scenes, start = seen[tuned.config.learning_rate]
        bench = bench_of(plan, local)
        compressed = [p.tobytes() for p in bench.pixels(tuned.images[0])]
        places = [compressed.index(s.pictures[0].tobytes()) for s in scenes]
        assert len(places) == 2
        labels = [bench.samples(tuned.images[0].originals)[i].labels_HW for i in places]
        assert all(np.array_equal(s.labels_HW, x) for s, x in zip(scenes, labels, strict=True))
        deployed, _ = load_hashed(local.products.place(tuned.start.key) / "model.safetensors")
        assert state_hash(start.items()) == state_hash(deployed.items())
        after, _ = load_hashed(local.products.place(tuned.key) / "model.safetensors")
        assert state_hash(after.items()) != state_hash(deployed.items())
        cells = [records[cell.key] for cell in plan.cells]
        assert all("val/score" in cell.metrics for cell in cells)
        fc = next(c for c in cells if c.params["configuration"] == "FC")
        assert {"rate/train_bpp", "rate/test_bpp"} <= set(fc.metrics)
        assert set(fc.provenance) >= {"finetune", "segmentation", "compress"}
        # A sweep without it finds the deployed model there, and one with it finds all.
        again = Local(tmp_path, "other")
        again.run(plan)
        assert set(again.did) == {"test"}

    def test_its_cell_names_originals_and_compressed_images(self, tmp_path):
        plan = plan_of(**FEW)
        local = Local(tmp_path)
        local.run(plan)
        cell = by_configuration(plan)["FC"]
        used = inputs_of(plan, local.store)(cell.key, cell.params)
        assert [use.context for use in used] == ["train", "train", "test"]

    def test_a_dry_run_names_and_prices_it(self, tmp_path):
        plan = plan_of(**FEW, dry_run=True)
        text = shown(plan, tmp_path)
        assert "1 to fine-tune one" in text
        assert "1 finetune" in text
        assert "configuration=FC codec=webp rate_bpp=0.8 variant=2 images" in text
        assert text.count("weights drawn by seeds") == 1

    def test_packs_survive_their_journey(self):
        for pack in packs_of(plan_of(**FEW)):
            back = Pack.from_text(pack.text)
            assert back.keys == pack.keys

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"finetune_images": ()}, "--finetune-images is empty"),
            ({"finetune_images": (-1,)}, r"--finetune-images must be 0 \(all\) or more"),
            ({"finetune_steps": 0}, "--finetune-steps must be"),
            ({"finetune_rate": 0.0}, "must lie between 0 and 1"),
        ],
    )
    def test_what_cannot_be_run(self, changes, said):
        with pytest.raises(ConfigError, match=said):
            plan_of(**changes)

    def test_the_smallest_run_has_it(self):
        given = parse_options(RestorationOptions(), ["--configurations", "FC", "--smoke"], "Why?")
        small = given.smallest()
        assert (small.finetune_images, small.finetune_steps) == ((2,), 2)
