"""Keys of nodes are on disk in every storage: a release that hashes otherwise makes all of it unknown."""

from interfero.engine.restoration.configs import RestorationConfig, SegmentationConfig
from interfero.engine.restoration.nodes import (
    Compressed,
    FineTuned,
    Originals,
    Restored,
    Restorer,
    Segmenter,
    TestCell,
    Training,
)

RESTORER = Training(data_seed=0, init_seed=0, code="r", versions={"torch": "2"})
SEGMENTER = Training(data_seed=0, init_seed=1, code="s", versions={"torch": "2"})


def originals(portion, count):
    return Originals(domain="d", domain_hash="h", portion=portion, num_images=count)


def compressed(portion, count):
    return Compressed(
        originals=originals(portion, count), codec="webp", codec_name="webp", codec_hash="w",
        rate_bpp=0.8, code="c",
    )  # fmt: skip


def a_cell():
    """RO on a few images, its restorer trained on enough for two parts."""
    restorer = Restorer(
        compressed=compressed("restoration", 70),
        config=RestorationConfig(num_steps=2, learning_rate=1e-3),
        training=RESTORER,
    )
    segmenter = Segmenter(
        images=(Restored(compressed=compressed("train", 3), restorer=restorer),),
        config=SegmentationConfig(num_steps=2, learning_rate=4e-3),
        num_classes=6,
        training=SEGMENTER,
    )
    return TestCell(
        configuration="RO", segmenter=segmenter, tested_on=originals("test", 3), codec="webp",
        rate_bpp=0.8, restoration="gan", restoration_split="disjoint", data_seed=0, init_seed=1,
        code="s",
    )  # fmt: skip


def test_keys_are_those_of_the_releases_before():
    """Computed by release 0.1 as it was before adaptation and restoration had one engine."""
    cell = a_cell()
    (restored,) = cell.segmenter.images
    copy = restored.restorer.compressed
    found = {
        "originals": originals("train", 3).key,
        "compressed": copy.key,
        "parts": [part.key for part in copy.parts],
        "restorer": restored.restorer.key,
        "restored": restored.key,
        "segmenter": cell.segmenter.key,
        "cell": cell.key,
    }
    assert found == {
        "originals": "originals-afab5b893c56c735",
        "compressed": "compress-761182c8b12ffbdb",
        "parts": ["compress-761182c8b12ffbdb.0", "compress-761182c8b12ffbdb.1"],
        "restorer": "restoration-8ed8ca221b361443",
        "restored": "restore-fa367bbb68c761a3",
        "segmenter": "segmentation-fe3bd1b2650c5ead",
        "cell": "74de9d6ae218129c",
    }


def test_keys_of_remedies_are_those_of_their_first_release():
    config = SegmentationConfig(num_steps=2, learning_rate=4e-3)
    deployed = Segmenter(
        images=(originals("train", 3),), config=config, num_classes=6, training=SEGMENTER
    )
    tuned = FineTuned(
        start=deployed, few=2, images=(compressed("train", 3),), config=config, num_classes=6,
        training=SEGMENTER,
    )  # fmt: skip
    scored = Restorer(
        compressed=compressed("restoration", 70), held_out=compressed("train", 3),
        config=RestorationConfig(num_steps=2, learning_rate=1e-3, validations=2),
        training=RESTORER,
    )  # fmt: skip
    assert deployed.key == "segmentation-2968d00fe3ef761d"
    assert tuned.key == "finetune-4151f8a8a2c8a82c"
    assert scored.key == "restoration-ee06261a43b90e34"


def test_a_part_is_not_taken_for_the_whole():
    """The copy is made first, so that whatever it remembers of itself would come along."""
    copy = compressed("restoration", 70)
    assert copy.key == "compress-761182c8b12ffbdb"
    first, second = copy.parts
    assert {copy.key, first.key, second.key} == {f"{copy.key}{end}" for end in ("", ".0", ".1")}
    assert first.product == second.product == copy.product == copy.key
    assert [*first.shards, *second.shards] == list(copy.shards)
