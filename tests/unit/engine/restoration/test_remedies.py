"""Remedies for what compression does: their nodes, which products they share, and what they make of them."""

import numpy as np
import pytest

from interfero.engine.options.parsing import parse_options
from interfero.engine.options.restoration import RestorationOptions
from interfero.engine.packs import Pack
from interfero.engine.restoration.inputs import inputs_of
from interfero.engine.restoration.nodes import FineTuned
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError, DomainError, InterferoError
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


RATES = {"rates": (1.2, 0.8), "configurations": ("CO", "AO", "AC")}


class TestSeveralRates:
    def test_there_is_one_model_per_codec_and_seed(self):
        plan = plan_of(**RATES, codecs=("webp", "jpeg"), init_seeds=(0, 1))
        trained = {c.segmenter.key for c in plan.cells if c.configuration in ("AO", "AC")}
        assert len(trained) == 4
        counts = [c.configuration for c in plan.cells]
        # On originals it is one cell, whatever the rate.
        assert (counts.count("AO"), counts.count("AC")) == (4, 8)
        images = by_configuration(plan)["AC"].segmenter.images
        assert [image.rate_bpp for image in images] == [0.8, 1.2]
        again = plan_of(
            **(RATES | {"rates": (0.8, 1.2)}), codecs=("webp", "jpeg"), init_seeds=(0, 1)
        )
        assert {c.key for c in again.cells} == {c.key for c in plan.cells}

    def test_it_is_scored_at_each_rate(self, tmp_path):
        plan = plan_of(**RATES)
        records = Local(tmp_path).run(plan)
        cells = [records[cell.key] for cell in plan.cells]
        (on_originals,) = [c for c in cells if c.params["configuration"] == "AO"]
        assert on_originals.params["rate_bpp"] == "several"
        assert on_originals.params["variant"] == "0.8 1.2"
        assert "rate/test_bpp" not in on_originals.metrics
        each = {c.params["rate_bpp"]: c.metrics for c in cells if c.params["configuration"] == "AC"}
        assert each[0.8]["rate/test_bpp"] < each[1.2]["rate/test_bpp"]
        co = [c.metrics["rate/train_bpp"] for c in cells if c.params["configuration"] == "CO"]
        assert on_originals.metrics["rate/train_bpp"] == pytest.approx(np.mean(co))

    def test_one_rate_is_refused_and_the_smallest_run_has_two(self):
        with pytest.raises(ConfigError, match="AO AC train on all --rates: give two or more"):
            plan_of(configurations=("AO",))
        assert RestorationOptions(configurations=("AO",), rates=(1, 2, 3)).smallest().rates == (
            1,
            2,
        )
        assert RestorationOptions(rates=(1, 2, 3)).smallest().rates == (1,)


RO = {"configurations": ("RO",), "restorations": ("regression",)}


def restorers_of(plan):
    return {cell.segmenter.images[0].restorer.key for cell in plan.cells}


class TestRestorers:
    def test_seeds_draw_restorers_that_all_models_meet(self):
        plan = plan_of(**RO, restorer_seeds=(0, 1, 2), init_seeds=(0, 1))
        assert len(plan.cells) == 6
        assert len(restorers_of(plan)) == 3
        assert restorers_of(plan_of(**RO)) < restorers_of(plan)
        assert [c.params["restorer_seed"] for c in plan.cells[:3]] == [0, 1, 2]
        assert "restorer_seed" not in plan_of().cells[0].params
        assert {cell.key for cell in plan_of(**RO).cells} < {cell.key for cell in plan.cells}

    def test_nafnet_is_regression_with_another_generator(self):
        plan = plan_of(configurations=("RO",), restorations=("regression", "nafnet", "gan"))
        configs = {
            c.restoration: c.segmenter.images[0].restorer.config for c in plan.cells
        }  # fmt: skip
        assert configs["nafnet"].generator == "nafnet"
        assert configs["nafnet"].adversary == "none"
        assert (configs["nafnet"].blocks, configs["regression"].blocks) == (4, 4)
        # As the generator of both, it is one restorer less.
        same = plan_of(
            configurations=("RO",), restorations=("regression", "nafnet", "gan"), generator="nafnet"
        )
        assert len(restorers_of(same)) == len(same.cells) == 2
        wider = plan_of(**RO, restorer_width=48, restorer_blocks=6).cells[0].segmenter.images[0]
        assert (wider.restorer.config.width, wider.restorer.config.blocks) == (48, 6)

    @pytest.mark.parametrize(("split", "portion"), [("disjoint", "train"), ("same", "restoration")])
    def test_it_is_scored_on_images_that_it_does_not_learn_from(self, split, portion):
        plan = plan_of(**RO, restorer_validations=2, restoration_splits=(split,))
        restorer = plan.cells[0].segmenter.images[0].restorer
        assert restorer.held_out.originals.portion == portion
        assert restorer.compressed.originals.portion != portion
        assert restorer.held_out in restorer.inputs

    def test_what_it_did_to_them_is_in_the_cell(self, tmp_path):
        plan = plan_of(**RO, restorer_validations=2)
        (record,) = (Local(tmp_path).run(plan)[cell.key] for cell in plan.cells)
        gains = [
            (s, v["restorer_val_gain_db"]) for s, v in record.curve if "restorer_val_gain_db" in v
        ]
        assert [step for step, _ in gains] == [1, 2]
        assert record.metrics["restoration/val_gain_db"] == gains[-1][1]
        assert record.metrics["restoration/val_gain_db_late"] == pytest.approx(
            gains[1][1] - gains[0][1]
        )

    def test_one_of_another_codec_restores(self, tmp_path):
        """jpeg's restorer on webp's images: the codec is in no sweep of its own, and has no other cell."""
        plan = plan_of(**RO, restorer_codecs=("own", "jpeg"))
        own, foreign = plan.cells
        assert (own.params.get("variant"), foreign.params["variant"]) == (None, "restorer of jpeg")
        restored = foreign.segmenter.images[0]
        assert (restored.compressed.codec, restored.restorer.compressed.codec) == ("webp", "jpeg")
        assert restored.compressed.key == own.segmenter.images[0].compressed.key
        records = Local(tmp_path).run(plan)
        assert {r.status for r in records.values()} == {"finished"}
        # Where jpeg's images are restored too, it is the restorer that they have.
        both = plan_of(**RO, restorer_codecs=("own", "jpeg"), codecs=("webp", "jpeg"))
        assert len(restorers_of(both)) == 2
        assert foreign.key in {cell.key for cell in both.cells}
        assert len(both.cells) == 3

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"restorer_seeds": ()}, "--restorer-seeds is empty"),
            ({"restorer_seeds": (-1,)}, "--restorer-seeds must not be negative, got -1"),
            ({"restorer_seeds": (2**63,)}, "--restorer-seeds must be below 2"),
            ({"restorer_blocks": 0}, "--restorer-blocks must be above 0"),
            ({"restorer_width": 0}, "--restorer-width must be above 0"),
            ({"restorer_codecs": ("jpg2k",)}, "jpg2k"),
        ],
    )
    def test_what_cannot_be_run(self, changes, said):
        with pytest.raises(InterferoError, match=said):
            plan_of(**changes)


BOTH = {
    "configurations": ("OO", "CO", "RO"), "restorations": ("regression",),
    "tasks": ("own", "dominant", "edges"),
}  # fmt: skip


class TestTasks:
    def test_one_tasks_restored_images_serve_the_other(self, tmp_path):
        plan = plan_of(**BOTH)
        own = plan_of(**(BOTH | {"tasks": ("own",)}))
        more = kinds(plan)
        for kind in ("compress", "restoration", "restore"):
            assert more.count(kind) == kinds(own).count(kind), kind
        assert more.count("segmentation") == 3 * kinds(own).count("segmentation")
        assert {c.key for c in own.cells} < {c.key for c in plan.cells}
        local = Local(tmp_path)
        local.run(own)
        local.did.clear()
        records = local.run(plan)
        assert set(local.did) == {"segmentation", "test"}
        scored = [records[c.key] for c in plan.cells if c.params["domain"] == "mosaics-dominant"]
        assert len(scored) == 3
        for record in scored:
            assert record.params["task"] == "classification"
            assert 0 <= record.metrics["classification/accuracy"] <= 1
            assert all(sum(image.labelled) == 1 for image in record.segmented)
        scored = [records[c.key] for c in plan.cells if c.params["domain"] == "mosaics-edges"]
        assert len(scored) == 3
        for record in scored:
            assert record.params["task"] == "edges"
            assert 0 <= record.metrics["edges/f_score"] <= 1
            assert 0 < record.metrics["edges/iou_edge"] <= 1

    def test_its_labels_count_in_the_keys_of_its_models(self):
        plan = plan_of(**BOTH)
        second = [c for c in plan.cells if c.params["domain"] == "mosaics-dominant"]
        assert {c.segmenter.labels_hash for c in second} == {
            plan.domains["mosaics-dominant"].fingerprint
        }

    def test_a_domain_with_a_class_per_image_has_no_second_task(self):
        with pytest.raises(DomainError, match="'digits' has a class for every image"):
            plan_of(**BOTH, domains=("digits",), max_images=6)
