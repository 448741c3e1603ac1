"""Keys of nodes are on disk in every storage: a release that hashes otherwise makes all of it unknown."""

from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.sequence.nodes import Archive, Memory, Merged, Stage, StageRow, Tested


def cell(domain="d"):
    return Cell(
        block=Block(domain=domain, rd_lambda=0.013, num_images=5, data_seed=0),
        hyperparameters=Hyperparameters(method="replay", adapter_size=0, learning_rate=1e-3),
        loop=LoopConfig(num_steps=10),
        identity=Identity(
            codec="tiny", codec_hash="c", table_hash="t", domain_hash=f"hash of {domain}",
            source_domain="s", source_domain_hash="sh", loop_hash="l", versions={"torch": "2"},
        ),
    )  # fmt: skip


MEMORY = Memory(buffer="reservoir", num_images=8)
FIRST = Stage(cell=cell(), memory=MEMORY)
SECOND = Stage(cell=cell("e"), before=FIRST, memory=MEMORY)


def archive(trained):
    tested = (Tested(domain="s", domain_hash="sh", num_images=8, source=True),
              Tested(domain="d", domain_hash="hash of d", num_images=8))  # fmt: skip
    return Archive(
        trained=trained, codec_hash="c", rd_lambda=0.013, tested=tested, data_seed=0, code="l",
        versions={"torch": "2"},
    )  # fmt: skip


def test_keys_are_what_they_were():
    row = StageRow(
        method="replay", sequence=("d", "e"), cell=cell("e"), images_asked="5", memory=MEMORY, codec="tiny",
        source_domain="s", banks=((archive(None),), (archive(FIRST),), (archive(SECOND),)),
    )  # fmt: skip
    found = {
        "first": FIRST.key, "second": SECOND.key, "archive": archive(SECOND).key, "row": row.key,
        "source": archive(None).key, "merged": Merged(parts=(FIRST,), weights="mean").key,
    }  # fmt: skip
    assert found == KEPT


KEPT = {
    "first": "stage-08c6ae848db71b1b",
    "second": "stage-407fc49dc9f16994",
    "archive": "archive-3f534d8774296765",
    "row": "b768c6990ad94050",
    "source": "archive-eb25a00ec87633fd",
    "merged": "merged-0ee5e97bf4d39198",
}
