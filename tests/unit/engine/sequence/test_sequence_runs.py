"""Sequences run from end to end in this process: rows, old streams, routes, and going on after a crash."""

import numpy as np
import pytest

from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.report.sequence import SequenceReport, sequence_html
from interfero.analysis.sequence.archive import old_streams, routing_costs
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.domains.batches import draw_batch
from interfero.engine.adaptation.nodes import ADAPTER_FILE
from interfero.engine.packs import Pack
from interfero.engine.sequence.nodes import STREAMS_FILE, Stage
from interfero.engine.worker import LocalWorker
from interfero.store.products import Products
from interfero.store.tensors import load_tensors
from trainables.archives import read_streams
from trainables.runner import Runner
from trainables.sequence_bench import SequenceBench

from .conftest import Local, rows_of

pytestmark = pytest.mark.usefixtures("short_ewc")

ORDER = "pages>clouds"
CHAINS = ("finetune", "freeze_entropy", "replay", "ewc", "distill", "l2_sp", "l2_sp_source")
BANKS = ("lora", "cawf", "cawf_growing", "codec_per_domain")
MERGED = ("merge_mean", "task_arithmetic", "merge_mean_lora", "task_arithmetic_lora")
OTHERS = (*MERGED, "joint")


@pytest.fixture(scope="module")
def every(plan, tmp_path_factory):
    """All methods over one order of two domains, a third one not met: (plan, what ran it, rows by name)."""
    made = plan(methods=(*CHAINS, *BANKS, *OTHERS), orders=("given",), length=2, num_steps=2,
                memory_images=(6,))  # fmt: skip
    local = Local(tmp_path_factory.mktemp("every"))
    return made, local, rows_of(made, local.run(made))


def adapter_hash(storage, stage):
    path = Products(storage).place(stage.key) / ADAPTER_FILE
    return load_tensors(path)[1]["adapter_hash"]


def stages_of(plan):
    return [node for node in plan.behind(plan.rows).values() if isinstance(node, Stage)]


def test_every_row_is_a_row_of_the_matrix(every):
    _plan, _, rows = every
    assert len(rows) == 1 + 2 * 16
    for (method, sequence), record in rows.items():
        metrics = record.metrics
        for domain in ("other", "pages", "clouds", "notes"):
            loss = metrics[f"row/{domain}/bpp"]
            assert metrics[f"row/{domain}/rd_loss"] > loss > 0
            assert metrics[f"row/{domain}/val_rd_loss"] > 0
        assert metrics["archive/0/pixels_exact"] == metrics["archive/0/symbols_exact"] == 1.0
        assert {i.role for i in record.images} == {
            "domain:other", "domain:pages", "domain:clouds", "domain:notes",
        }  # fmt: skip
        stage = record.params["stage"]
        assert stage == (len(sequence.split(">")) if sequence else 0)
        ages = {name.split("/")[1] for name in metrics if name.startswith("archive/")}
        assert ages == {str(age) for age in range(stage + 1)}
        assert record.params["codec"] == "tiny"
        if stage:
            assert metrics["distance/feature_sd"] >= 0
            assert "distance/before/feature_sd" in metrics
            assert record.params["method"] == method
    before, after = rows["source", ""].metrics, rows["finetune", ORDER]
    pictures = [i for i in after.images if i.role == "domain:other"]
    assert pictures[0].rd_loss_before == pytest.approx(before["row/other/rd_loss"])
    assert pictures[0].rd_loss == pytest.approx(after.metrics["row/other/rd_loss"])


@pytest.mark.parametrize("method", CHAINS)
def test_one_codec_that_is_trained_on_reads_no_older_stream(every, method):
    metrics = every[2][method, ORDER].metrics
    for age in (1, 2):
        assert metrics[f"archive/{age}/pixels_exact"] < 1
    assert metrics["archive/2/psnr_drop_db"] != 0
    assert "row/other/rd_loss_auto" not in metrics


def test_a_codec_that_leaves_its_entropy_model_reads_the_symbols_of_every_older_stream(every):
    metrics = every[2]["freeze_entropy", ORDER].metrics
    for age in (1, 2):
        assert metrics[f"archive/{age}/symbols_exact"] == 1.0
        assert metrics[f"archive/{age}/pixels_exact"] < 1


@pytest.mark.parametrize("method", BANKS)
def test_a_bank_reads_every_older_stream_to_the_pixel(every, method):
    metrics = every[2][method, ORDER].metrics
    for age in (0, 1, 2):
        said = {
            n: metrics[f"archive/{age}/{n}"] for n in ("symbols_exact", "pixels_exact", "refused")
        }
        assert said == {"symbols_exact": 1.0, "pixels_exact": 1.0, "refused": 0.0}
        assert metrics[f"archive/{age}/psnr_drop_db"] == 0


@pytest.mark.parametrize("method", BANKS)
def test_routes_of_a_bank(every, method):
    rows = every[2]
    metrics, source = rows[method, ORDER].metrics, rows["source", ""].metrics
    # Images of the source domain and of one that was not met go to the source codec, if the oracle has a say.
    for domain in ("other", "notes"):
        assert metrics[f"row/{domain}/rd_loss"] == source[f"row/{domain}/rd_loss"]
    assert metrics["row/pages/rd_loss"] == rows[method, "pages"].metrics["row/pages/rd_loss"]
    for domain in ("other", "pages", "clouds", "notes"):
        assert metrics[f"row/{domain}/rd_loss_auto"] <= metrics[f"row/{domain}/rd_loss"]
        assert metrics[f"row/{domain}/rd_loss_auto"] <= metrics[f"row/{domain}/rd_loss_gate"]
        assert 0 <= metrics[f"row/{domain}/wrong_route_share_gate"] <= 1


def test_what_has_to_be_stored(every):
    rows = every[2]
    stored = {n: rows[n, ORDER].metrics["stored/bytes"] for n in (*CHAINS, *BANKS, *MERGED)}
    # One codec, whatever it has met: its tables are a little longer or shorter.
    before = rows["finetune", "pages"].metrics["stored/bytes"]
    assert stored["finetune"] == pytest.approx(before, rel=0.02)
    memory = rows["replay", ORDER].metrics["stored/memory_bytes"]
    assert memory == 6 * 160 * 144 * 3
    assert stored["replay"] == pytest.approx(stored["finetune"] + memory, rel=0.02)
    assert stored["ewc"] > 1.2 * stored["finetune"]
    # The weights of the source codec are exact in half precision, those of one that was trained on are not.
    source = rows["source", ""].metrics["stored/bytes"]
    assert source < 0.9 * stored["finetune"]
    assert stored["l2_sp_source"] == pytest.approx(stored["l2_sp"] + source, rel=0.02)
    assert stored["codec_per_domain"] > stored["lora"]
    assert stored["lora"] > rows["lora", "pages"].metrics["stored/bytes"]
    # The next part is trained from the source codec; joint training needs every image again.
    for name in MERGED:
        assert stored[name] == pytest.approx(stored["finetune"] + source, rel=0.02)
    assert not [n for n in rows["joint", ORDER].metrics if n.startswith("stored/")]


@pytest.mark.parametrize("suffix", ["", "_lora"])
def test_what_task_arithmetic_chose_is_in_its_row(every, suffix):
    """Of factors of the sum that lie on both sides of the mean's, one half here."""
    made, _, rows = every
    (merged,) = (
        r.bank[-1].trained
        for r in made.rows
        if (r.method, len(r.sequence)) == (f"task_arithmetic{suffix}", 2)
    )
    assert merged.scales == (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    assert rows[f"task_arithmetic{suffix}", ORDER].metrics["merge/scale"] in merged.scales
    assert rows[f"merge_mean{suffix}", ORDER].metrics["merge/scale"] == 0.5


def test_of_one_domain_merged_adapters_code_as_the_adapter_does(every):
    """The update that its factors come to, as kernels of one codec; but for rounding."""
    rows = every[2]
    merged, bank = (rows[name, "pages"].metrics for name in ("merge_mean_lora", "lora"))
    assert merged["row/pages/rd_loss"] == pytest.approx(bank["row/pages/rd_loss"], rel=1e-3)
    assert merged["row/pages/rd_loss"] != rows["source", ""].metrics["row/pages/rd_loss"]


def test_a_memory_of_streams_keeps_what_codecs_in_service_coded(plan, tmp_path):
    made = plan(methods=("replay",), orders=("pages>clouds",), num_steps=2, memory_images=(9,),
                memory_forms=("images", "streams"))  # fmt: skip
    local = Local(tmp_path)
    records = local.run(made)
    rows = {(r.memory.form, len(r.sequence)): r for r in made.rows if r.memory}
    assert (
        len({key: records[row.key].metrics["row/clouds/rd_loss"] for key, row in rows.items()}) == 4
    )
    assert {records[row.key].params["memory_form"] for row in rows.values()} == {
        "images",
        "streams",
    }
    last = rows["streams", 2]
    newest = last.bank[-1].trained
    bench = SequenceBench(
        made.base.domains, made.base.source_domain, lambda _, value: made.base.codecs[value],
        local.store.storage, EvaluationStore(tmp_path / "evaluations"), 0.0,
    )  # fmt: skip
    kept = bench.remembered(newest.cell, newest, last.memory)
    stored = records[last.key].metrics["stored/memory_bytes"]
    assert (
        stored == kept.num_bytes < records[rows["images", 2].key].metrics["stored/memory_bytes"] / 4
    )
    # What is rehearsed is what each codec showed when its domain was met, not what the newest one shows.
    coders = {
        "other": SourceCoder(bench.first_codec(newest)),
        "pages": bench.adapted(newest.before),
        "clouds": bench.adapted(newest),
    }
    domains = {**made.base.domains, "other": made.base.source_domain}
    met = {s.digest: n for n in coders for s in domains[n].split("all", 0).training}
    originals = bench.remembered(newest.cell, newest, rows["images", 2].memory).samples
    assert {met[sample.digest] for sample in originals} == set(coders)
    sizes = 0
    for original, sample in zip(originals, kept.samples, strict=True):
        coder = coders[met[original.digest]]
        coded = encode(coder, original.pixels_HWC)
        assert np.array_equal(decode(coder, coded.data).pixels_HWC, sample.pixels_HWC)
        assert not np.array_equal(original.pixels_HWC, sample.pixels_HWC)
        sizes += len(coded.data)
    assert sizes == kept.num_bytes


def test_methods_part_at_the_second_stage_where_they_are_to(every):
    _plan, _local, rows = every
    ends = {method: rows[method, ORDER].metrics["row/clouds/rd_loss"] for method in CHAINS}
    assert len(set(ends.values())) == len(CHAINS)
    first = [
        rows[method, "pages"].metrics["row/pages/rd_loss"] for method in ("l2_sp", "l2_sp_source")
    ]
    assert first[0] == first[1]
    one = [rows[m, "pages"].metrics["row/pages/rd_loss"] for m in ("finetune", "merge_mean")]
    assert one[0] == one[1], "the mean of one codec is that codec"


def test_importances_add_up(every):
    plan, local, _ = every
    second = next(s for s in stages_of(plan) if s.before and "importance" in s.files[-1])
    files = [local.products.place(s.key) / s.files[-1] for s in (second.before, second)]
    earlier, later = (load_tensors(f)[0] for f in files)
    assert earlier.keys() == later.keys()
    assert all((later[n] >= earlier[n]).all() for n in earlier)
    assert any((later[n] > earlier[n]).any() for n in earlier)


def test_the_archive_has_streams_that_its_own_codec_decodes(every):
    plan, local, rows = every
    row = next(r for r in plan.rows if r.method == "finetune" and len(r.sequence) == 2)
    for bank in row.banks:
        (archive,) = bank
        streams = read_streams(local.products.place(archive.key) / STREAMS_FILE)
        assert list(streams) == ["other", "clouds", "notes", "pages"]
        assert all(image.data[:2] == b"if" for images in streams.values() for image in images)
    assert rows["finetune", ORDER].metrics["archive/0/refused"] == 0


def test_another_sweep_of_the_storage_repeats_nothing_but_rows(every, plan):
    _made, local, _ = every
    again = Local(local.store.storage, "other")
    # Another order of the first stages: the chains begin with another domain, the adapters are there.
    other = plan(methods=("lora", "joint"), orders=("clouds>pages",), num_steps=2)
    again.run(other)
    # Joint training on `clouds` alone is new; that on both is not.
    assert (again.did.count("stage"), again.did.count("archive")) == (1, 1)
    assert again.did.count("row") == len(other.rows)


@pytest.mark.parametrize("method", ["finetune", "ewc", "replay", "distill", "l2_sp", "lora"])
def test_a_sequence_of_one_domain_is_the_ordinary_cell(plan, tmp_path, method):
    """To the bit: what a sweep of one adaptation and a sequence's first stage come to can be compared."""
    memory = {"memory_images": (99,)} if method == "replay" else {}
    made = plan(methods=(method,), orders=("given",), length=1, num_steps=3, **memory)
    local = Local(tmp_path)
    rows = rows_of(made, local.run(made))
    cell = next(c for c in made.base.cells if c.block.domain == "pages")
    (record,) = Runner.of_adaptation(made.base)(Pack.of([cell]), LocalWorker(local.store.folder))
    assert record.error is None
    (stage,) = stages_of(made)
    own = load_tensors(local.store.folder / "adapters" / f"{cell.key}.safetensors")[1][
        "adapter_hash"
    ]
    assert adapter_hash(local.store.storage, stage) == own
    row, source = rows[method, "pages"].metrics, rows["source", ""].metrics
    for name in ("target/rd_gain_percent", "source/forgetting_percent", "val/rd_gain_percent"):
        assert row[name] == record.metrics[name], name
    assert row["row/pages/rd_loss"] == record.metrics["target/rd_loss"]
    assert source["row/pages/rd_loss"] == record.metrics["target/rd_loss_before"]
    old = ("symbols_exact", "pixels_exact", "psnr_drop_db")
    assert [row[f"archive/1/{n}"] for n in old] == [
        record.metrics[f"bitstream/old_{n}"] for n in old
    ]


class PowerCut(BaseException):
    """Nothing of ours catches it."""


@pytest.mark.parametrize("method", ["finetune", "ewc", "replay"])
def test_a_chain_that_was_cut_goes_on_inside_it(plan, tmp_path, monkeypatch, method):
    memory = {"memory_images": (5,)} if method == "replay" else {}
    made = plan(methods=(method,), orders=("clouds>notes>pages",), num_steps=4, **memory)
    whole = Local(tmp_path / "whole")
    wanted = rows_of(made, whole.run(made))
    cut = Local(tmp_path / "cut")
    second = {s.digest for s in made.base.domains["notes"].split("all", 0).training}

    def dies(samples, *, step, label="", **given):
        if not label and step == 2 and {s.digest for s in samples} == second:
            raise PowerCut
        return draw_batch(samples, step=step, label=label, **given)

    with monkeypatch.context() as patch:
        patch.setattr("trainables.adaptation.draw_batch", dies)
        with pytest.raises(PowerCut):
            cut.run(made)
    assert cut.did.count("stage") == 1
    resumed = Local(tmp_path / "cut")
    found = rows_of(made, resumed.run(made))
    assert resumed.did.count("stage") == 2
    chain = sorted(stages_of(made), key=lambda s: len(s.met))
    records = [resumed.products.record(stage.key) for stage in chain]
    assert [record.resumed_step for record in records] == [0, 2, 0]
    for stage in chain:
        hashes = {adapter_hash(tmp_path / place, stage) for place in ("whole", "cut")}
        assert len(hashes) == 1
    # The file of an adapter says how long it was trained.
    told = ("train/steps_per_second", "adapter/file_bytes")
    for name, record in found.items():
        ours, theirs = (
            {k: v for k, v in r.metrics.items() if k not in told} for r in (record, wanted[name])
        )
        assert ours == theirs


def test_an_archive_that_is_gone_is_made_again(plan, tmp_path):
    made = plan(orders=("given",), length=1, num_steps=1)
    local = Local(tmp_path)
    local.run(made)
    archive = next(n for n in made.behind(made.rows).values() if n.kind == "archive" and n.trained)
    (local.products.place(archive.key) / STREAMS_FILE).unlink()
    again = Local(tmp_path, "other")
    again.run(made)
    assert again.did.count("archive") == 1
    assert again.did.count("stage") == 0


def test_what_fails_is_a_record_and_the_others_are_done(plan, tmp_path):
    made = plan(orders=("given",), length=1)
    archives = [n for n in made.behind(made.rows).values() if n.kind == "archive"]
    # The stage that the second one needs was never trained.
    pack = Pack.of(sorted(archives, key=lambda a: a.trained is None))
    records = list(Runner.of_adaptation(made.base)(pack, LocalWorker(tmp_path / "s")))
    assert [record.status for record in records] == ["failed", "finished"]
    assert "there is no file" in records[0].error


def test_analysis_reads_what_stages_write(every):
    """The rows of real stages make whole chains, and a page with every figure but laws: there is one seed."""
    records = [*every[2].values()]
    found = SequenceFindings(records)
    assert found.chains.problems == ()
    summary = found.cases[0]
    assert set(summary.best) == {*CHAINS, *BANKS, *OTHERS}
    assert {row.setting.method for row in summary.routed} == set(BANKS) - {"codec_per_domain"}
    assert summary.best["lora"].means["forgetting"].value == 0
    assert len(old_streams(summary.best["finetune"])) == 3
    assert {cost.router for cost in routing_costs(summary.best["lora"])} == {"auto", "gate"}
    figures = sequence_figures(found)
    names = {"growth", "measures", "matrix", "stages", "storage", "archive"}
    assert {figure.name for figure in figures} == names
    page = sequence_html(SequenceReport("s", found), figures)
    assert "add --data-seeds" in page
    assert found.answer[0].startswith("After 2 domains, finetune forgets ")
