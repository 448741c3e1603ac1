"""What a study sees of the papers' claims: planted cells that show them, refute them, and decide nothing."""

from pathlib import Path

import numpy as np
import pytest

from interfero.analysis.claims import claim_rows, claims_of
from interfero.analysis.records import read_records
from interfero.cli.predict.answer import MAP_FILE
from interfero.records import ImageRow

GAIN, UNROUTED, ROUTED = (
    "target/rd_gain_percent",
    "source/forgetting_unrouted_percent",
    "source/forgetting_percent",
)
KEPT = {
    "source_mode/bytes_exact": 1.0,
    "source_mode/pixels_exact": 1.0,
    "bitstream/old_pixels_exact": 1.0,
}


@pytest.fixture
def study(record):
    """Cells by method with a gain and forgetting, of three seeds and two domains."""

    def build(methods, images=(20, 100), share_of_few=0.8, sd=0.05, seeds=(0, 1, 2), **exact):
        rng = np.random.default_rng(0)
        found = []
        for method, (gain, lost) in methods.items():
            keeps = method in ("cawf", "lora")
            for domain in ("charts", "text"):
                for seed in seeds:
                    for count in images:
                        factor = share_of_few if count < max(images) else 1.0
                        numbers = {
                            "target": -factor * gain,
                            "source_unrouted": lost,
                            "source": 0.0 if keeps else lost,
                        }
                        rows = tuple(
                            ImageRow(
                                role=role, name=f"{i}", group=f"{i}", bpp_before=0.5, psnr_db_before=30.0,
                                rd_loss_before=1.0, bpp=0.5, psnr_db=30.0,
                                rd_loss=1 + (value + (rng.normal(0, sd) if value else 0.0)) / 100,
                            )
                            for role, value in numbers.items()
                            for i in range(8)
                        )  # fmt: skip
                        means = {
                            role: 100 * np.mean([r.rd_loss - 1 for r in rows if r.role == role])
                            for role in numbers
                        }
                        metrics = {
                            "val/rd_gain_percent": factor * gain,
                            GAIN: -means["target"],
                            UNROUTED: means["source_unrouted"],
                            ROUTED: means["source"],
                            "bitstream/old_pixels_exact": 0.0,
                            "bitstream/old_psnr_drop_db": 21.0,
                            "adapter_fraction": 0.05 if keeps else 1.0,
                            **(KEPT | exact if keeps else {}),
                        }
                        cell = record(
                            method, domain=domain, data_seed=seed, num_images=count, metrics=metrics,
                            learning_rate=1e-4,
                        )  # fmt: skip
                        found.append(cell.model_copy(update={"images": rows}))
        return found

    return build


PLANTED = {"finetune": (8.0, 6.0), "cawf": (4.0, 3.0), "continue_source": (0.5, 1.0)}


def verdicts(records):
    return {
        (c.method, c.claim.partition(":")[0].partition(",")[0]): c.verdict
        for c in claims_of(records)
    }


def test_a_study_that_shows_the_claims_says_so(study):
    assert verdicts(study(PLANTED)) == {
        ("finetune", "A codec adapts to a new domain"): "seen",
        ("finetune", "Few target images are enough"): "seen",
        ("finetune", "Naive adaptation forgets the source domain"): "seen",
        ("finetune", "Naive adaptation breaks compatibility with streams coded earlier"): "seen",
        ("cawf", "Adapting without forgetting"): "seen",
        ("cawf", "It gains on the target nevertheless"): "seen",
        # Planted: half of it.
        ("cawf", "A small number of parameters gains what fine-tuning gains"): "refuted",
    }


def test_a_study_that_refutes_them_says_that(study):
    planted = {"finetune": (0.5, 1.0), "cawf": (0.2, 3.0), "continue_source": (2.0, 4.0)}
    found = verdicts(study(planted, share_of_few=0.2))
    assert found["finetune", "A codec adapts to a new domain"] == "refuted"
    assert found["finetune", "Few target images are enough"] == "refuted"
    assert found["finetune", "Naive adaptation forgets the source domain"] == "refuted"
    assert found["cawf", "It gains on the target nevertheless"] == "refuted"


def test_a_single_byte_in_a_single_cell_refutes_the_promise(study):
    records = study(PLANTED)
    last = max(i for i, r in enumerate(records) if r.params["method"] == "cawf")
    for name, value in (
        ("source_mode/bytes_exact", 0.99),
        (ROUTED, 1e-9),
        ("bitstream/old_pixels_exact", 0.0),
    ):
        broken = list(records)
        broken[last] = records[last].model_copy(
            update={"metrics": records[last].metrics | {name: value}}
        )
        (claim,) = (c for c in claims_of(broken) if c.claim.startswith("Adapting without"))
        assert (claim.verdict, claim.measured) == ("refuted", "exactly so in 11 of 12 cells")


def test_few_seeds_and_missing_cells_decide_nothing(study):
    alone = verdicts(study({"finetune": (8.0, 6.0), "cawf": (4.0, 3.0)}, images=(100,)))
    assert set(alone.values()) == {"not measured", "seen", "refuted"}
    assert alone["finetune", "A codec adapts to a new domain"] == "not measured"
    assert alone["finetune", "Few target images are enough"] == "not measured"
    one = verdicts(study(PLANTED, seeds=(0,)))
    assert one["finetune", "A codec adapts to a new domain"] == "undecided"
    scattered = verdicts(study(PLANTED, sd=200.0))
    assert scattered["finetune", "Naive adaptation forgets the source domain"] == "undecided"
    assert claims_of([]) == []


def test_the_page_of_the_map_has_the_claims_of_its_cells():
    page = (Path(__file__).resolve().parents[3] / "docs" / "interference_map.md").read_text()
    header, rows = claim_rows(read_records(MAP_FILE))
    assert len(rows) == 13
    for cells in (header, *rows):
        assert f"| {' | '.join(cells)} |" in page
