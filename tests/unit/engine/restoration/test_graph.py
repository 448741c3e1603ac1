"""The graph of steps: shared ones run once, kept by content, continued where they stopped."""

import numpy as np
import pytest
from PIL import Image

from interfero.domains.mosaics import SOURCE
from interfero.engine import code
from interfero.engine.packs import Pack
from interfero.engine.restoration.nodes import Restored
from interfero.engine.restoration.plan import StepCode
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError
from trainables import restoration_nodes
from trainables.studies import restoration

from .conftest import Local, packs_of, plan_of

EVERYTHING = ("OO", "CC", "CO", "OC", "RO", "RR", "MO")


def kinds(plan):
    return sorted(job.kind for job in plan.behind(plan.cells).values())


def by_configuration(plan):
    return {cell.configuration: cell for cell in plan.cells}


def test_configurations_share_what_they_have_in_common():
    plan = plan_of()
    cells = by_configuration(plan)
    assert cells["OO"].segmenter.key == cells["OC"].segmenter.key
    assert cells["CC"].segmenter.key == cells["CO"].segmenter.key
    assert cells["CC"].tested_on.key == cells["OC"].tested_on.key
    # Two copies (train, test) and two models for four cells.
    assert kinds(plan) == ["compress", "compress", "segmentation", "segmentation"]
    assert len(packs_of(plan)) == 6


def test_originals_are_tested_once_whatever_the_codecs_and_rates():
    plan = plan_of(codecs=("webp", "jpeg"), rates=(0.8, 1.2), configurations=("OO", "CO"))
    found = [cell.configuration for cell in plan.cells]
    assert (found.count("OO"), found.count("CO")) == (1, 4)
    (original,) = [cell for cell in plan.cells if cell.configuration == "OO"]
    assert original.params["codec"] == original.params["rate_bpp"] == "original"


def test_a_disjoint_restorer_never_sees_what_it_restores():
    for split, portion in (("disjoint", "restoration"), ("same", "train")):
        plan = plan_of(configurations=("RO",), restorations=("gan",), restoration_splits=(split,))
        (images,) = plan.cells[0].segmenter.images
        assert isinstance(images, Restored)
        assert images.compressed.originals.portion == "train"
        assert images.restorer.compressed.originals.portion == portion


def test_keys_change_with_what_decides_a_result_and_with_nothing_else():
    def key(configuration="CO", **changes):
        return by_configuration(plan_of(**changes))[configuration].key

    base = key()
    assert key(max_concurrent=3, storage="elsewhere", restoration_steps=9) == base
    changed = [
        key(num_steps=3), key(rates=(0.9,)), key(codecs=("jpeg",)), key(init_seeds=(1,)),
        key(data_seeds=(1,)), key(crop_size=64), key(max_images=2), key(configuration="CC"),
    ]  # fmt: skip
    assert len({base, *changed}) == 9


def test_all_configurations_run_and_are_scored(tmp_path):
    plan = plan_of(configurations=EVERYTHING)
    local = Local(tmp_path)
    records = local.run(plan)
    assert {r.status for r in records.values()} == {"finished"}
    cells = {cell.key: records[cell.key] for cell in plan.cells}
    assert len(cells) == 9  # RO and RR by two restorations each
    for record in cells.values():
        assert 0 <= record.metrics["segmentation/miou"] <= 1
        assert [image.name for image in record.segmented] == [
            s.name for s in plan.domains["mosaics"].test
        ]
        assert {image.group for image in record.segmented} == {SOURCE}
        assert sum(record.segmented[0].labelled) == 128 * 128
        assert Image.open(local.store.folder / record.sample_file).width >= 4 * 128
    restored = [r for r in cells.values() if r.params["configuration"] == "RO"]
    assert {r.params["restoration"] for r in restored} == {"gan", "regression"}
    assert all("restoration/psnr_db" in r.metrics for r in restored)
    compressed = next(r for r in cells.values() if r.params["configuration"] == "CC")
    assert compressed.metrics["rate/train_bpp"] == pytest.approx(0.8, rel=0.25)
    assert local.did.count("restoration") == 2
    assert local.did.count("compress") == 3
    # A second sweep of the same finds everything.
    again = Local(tmp_path, "other")
    again.run(plan)
    assert again.did == ["test"] * len({c.segmenter.key for c in plan.cells})


def test_who_goes_on_repeats_no_step(tmp_path):
    plan = plan_of(configurations=("OO", "CO"))
    first = Local(tmp_path)

    class Killed(BaseException):
        pass

    def dies(node, *given):
        if node.kind == "test":
            raise Killed
        return real(node, *given)

    real = restoration_nodes._do
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restoration_nodes, "_do", dies)
        with pytest.raises(Killed):
            first.run(plan)
    second = Local(tmp_path)
    second.run(plan)
    assert set(first.did) <= {"compress", "segmentation"}
    assert second.did.count("test") == 2
    assert sorted(first.did + second.did) == [
        "compress",
        "segmentation",
        "segmentation",
        "test",
        "test",
    ]


@pytest.mark.parametrize("lost", ["shard", "model", "record"])
def test_a_product_that_is_gone_is_made_again(tmp_path, lost):
    """Error messages say: delete it, and it is made again."""
    plan = plan_of(configurations=("CO",))
    first = Local(tmp_path)
    records = first.run(plan)
    (cell,) = plan.cells
    place = first.products.place
    files = {
        "shard": place(cell.segmenter.images[0].key) / "0000.parquet",
        "model": place(cell.segmenter.key) / "model.safetensors",
        "record": place(cell.segmenter.key) / "record.json",
    }
    files[lost].unlink()
    second = Local(tmp_path, "other")
    again = second.run(plan)
    assert files[lost].exists()
    assert second.did == [{"shard": "compress"}.get(lost, "segmentation"), "test"]
    assert again[cell.key].metrics["segmentation/miou"] == pytest.approx(
        records[cell.key].metrics["segmentation/miou"]
    )


def test_the_libraries_of_the_models_count_in_their_keys(monkeypatch):
    base = by_configuration(plan_of())["OO"]
    version = code.library_version
    for name in ("segmentation-models-pytorch", "timm", "torchmetrics"):
        monkeypatch.setattr(
            code, "library_version", lambda n, own=name: "0" if n == own else version(n)
        )
        assert by_configuration(plan_of())["OO"].segmenter.key != base.segmenter.key, name


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("trainables.restoration_nodes", {"restoration", "segmentation"}),
        ("trainables.restoration_bench", {"restoration", "segmentation"}),
        ("trainables.loop", {"restoration", "segmentation"}),
        ("trainables.scene_training", {"restoration", "segmentation"}),
        ("trainables.segmentation", {"segmentation"}),
        ("trainables.restoration", {"restoration"}),
        ("trainables.segmentation_scores", {"segmentation"}),
        ("interfero.domains.copies", {"copies", "segmentation"}),
        ("interfero.codecs.lossy", {"copies", "segmentation"}),
    ],
)
def test_the_code_that_makes_and_tests_counts_in_the_keys(module, steps, tmp_path, monkeypatch):
    before = StepCode(*restoration().code().split(" "))
    changed = tmp_path / "changed.py"
    changed.write_text("x = 1\n")
    source_of = code._source_of
    monkeypatch.setattr(
        code, "_source_of", lambda name: changed if name == module else source_of(name)
    )
    after = StepCode(*restoration().code().split(" "))
    found = {n for n in ("copies", "restoration", "segmentation")
             if getattr(before, n) != getattr(after, n)}  # fmt: skip
    assert found >= steps


def test_a_cell_names_every_step_behind_it(tmp_path):
    plan = plan_of(configurations=("RR",), restorations=("gan",))
    (cell,) = plan.cells
    assert set(cell.lineage) == {"compress", "restoration", "restore", "segmentation"}
    # Copies of train, restoration and test images; restored train and test images.
    assert len(cell.lineage["compress"].split()) == 3
    assert len(cell.lineage["restore"].split()) == 2
    assert cell.tags["interfero.step_segmentation"] == cell.segmenter.key


def test_packs_survive_their_journey():
    for pack in packs_of(plan_of(configurations=EVERYTHING)):
        back = Pack.model_validate_json(pack.model_dump_json())
        assert [job.key for job in back.nodes] == [job.key for job in pack.nodes]
        assert back.without({back.nodes[0].key}) is None or len(pack.nodes) > 1


def test_a_restored_copy_is_nearer_than_nothing(tmp_path):
    """The untrained generator changes nothing; after two steps the copy still has every image."""
    plan = plan_of(configurations=("RO",), restorations=("regression",))
    local = Local(tmp_path)
    local.run(plan)
    restored = plan.cells[0].segmenter.images[0]
    from trainables.restoration_bench import Bench

    worker = LocalWorker(local.store.folder)
    bench = Bench(plan.domains, plan.codecs, {}, local.products, worker)
    pictures = bench.pixels(restored)
    originals = plan.domains["mosaics"].train
    assert len(pictures) == len(originals)
    far = [
        np.abs(p.astype(int) - s.pixels_HWC).mean()
        for p, s in zip(pictures, originals, strict=True)
    ]
    assert max(far) < 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"configurations": ("OX",)}, "unknown 'OX'; did you mean"),
        ({"rates": (-1.0,)}, "--rates must be above 0 bpp"),
        ({"rates": ()}, "--rates is empty"),
        ({"codecs": ("jpeg", "jpeg")}, "--codecs names one value twice"),
        ({"source": "x"}, "--source x: codecs are named by --codecs"),
        ({"sampler": "tpe"}, "--sampler tpe: there is nothing to search"),
        ({"calibrate": True}, "--calibrate: nodes of a graph are timed"),
        ({"crop_size": 40}, "--crop-size must be a multiple of 32"),
        ({"perceptual_weight": 1.0}, "needs --perceptual-weights FILE"),
        ({"batch_size": 3, "workers_per_trial": 2}, "cannot be divided equally"),
        ({"name": "products"}, "the folder of that name holds what sweeps share"),
        ({"init_seeds": (2**63,)}, "--init-seeds must be below 2"),
        ({"rates": (float("inf"),)}, "--rates takes finite numbers"),
        ({"batch_size": 2, "workers_per_trial": 2}, "leaves a worker fewer than two crops"),
        ({"encoder_weights": "/nowhere"}, "--encoder-weights /nowhere cannot be read"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_run(changes, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        plan_of(**changes)
