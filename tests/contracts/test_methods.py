"""What every method must keep, whatever it does: inherited by one line a method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import trainables.adaptation
from interfero.adaptation import METHODS, load_adapter, save_adapter
from interfero.adaptation.method import AdaptedCodec, Batch, Method
from interfero.codecs.bitstream import parse_stream
from interfero.codecs.codec import Codec, rd_parameters
from interfero.codecs.coding import Decoded, SourceCoder, decode, encode
from interfero.codecs.evaluation_store import EvaluationStore
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.domains.batches import draw_batch
from interfero.domains.domain import Domain
from interfero.engine.adaptation.memory import _tensors_in
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.distributed import Group
from interfero.engine.worker import LocalWorker
from interfero.errors import AdapterError
from interfero.records import CellRecord
from interfero.store.tensors import state_hash
from trainables import evaluation
from trainables.adaptation import _member, _train, run_pack
from trainables.evaluation import evaluate, through_source_mode
from trainables.finishing import check_frozen
from trainables.member import Member
from trainables.workbench import ReferenceImage, Workbench

from .conftest import make_bench

pytestmark = pytest.mark.usefixtures("short_ewc")

Trained = Callable[[str], tuple[CellRecord, Path]]
ALL = tuple(METHODS)
TRAINED = tuple(name for name, method in METHODS.items() if method.trains)
DETACHING = tuple(name for name, method in METHODS.items() if method.detaches)
OTHERS = tuple(name for name, method in METHODS.items() if not method.detaches)
SIZE = {"residual_adapter": 3}
"""Adapter size in these tests; 2 for the others that have one."""
RATE = {"latent_refinement": 0.3, "regularised_refinement": 0.3}
"""Learning rate, where a few steps of the usual one change nothing: latents are rounded to integers."""
KEEPS_SYMBOLS = ("freeze_entropy", "finetune_encoder")
"""Methods without source mode that leave the entropy model alone."""
CORRUPTED = {
    "g_a.6.weight": "source_mode/bytes_exact",
    "h_a.4.bias": "source_mode/bytes_exact",
    "h_s.4.bias": "source_mode/bytes_exact",
    "g_s.6.weight": "source_mode/pixels_exact",
    "entropy_bottleneck._offset": "source_mode/bytes_exact",
}
"""Tensors of the source codec, and what is no longer exact when a number of them changes."""


def size_of(name: str) -> int:
    return SIZE.get(name, 2) if METHODS[name].size_unit else 0


def make_cell(
    bench: Workbench, method: str, *, size: int | None = None, rate: float | None = None,
    steps: int = 4,
) -> Cell:  # fmt: skip
    return Cell(
        block=Block(domain="pictures", rd_lambda=0.013, num_images=3, data_seed=0),
        hyperparameters=Hyperparameters(
            method=method,
            adapter_size=size_of(method) if size is None else size,
            strength=1.0 if METHODS[method].strength_unit else 0.0,
            learning_rate=RATE.get(method, 3e-3) if rate is None else rate,
        ),
        loop=LoopConfig(
            num_steps=steps, batch_size=2, crop_size=64, max_source_images=2, max_target_images=2
        ),
        identity=Identity(
            codec="tiny",
            codec_hash=bench.codec.weights_hash,
            table_hash=bench.codec.table_hash,
            domain_hash="0",
            source_domain="pictures",
            source_domain_hash="0",
            loop_hash="0",
            versions={},
        ),
    )


def train(bench: Workbench, folder: Path, *cells: Cell) -> dict[str, CellRecord]:
    """Records by key; the control's training is kept for other sweeps in the folder above."""
    records = list(run_pack(cells, bench, LocalWorker(folder)))
    assert [r.error for r in records] == [None] * len(cells)
    return {r.key: r for r in records}


@pytest.fixture(scope="module")
def trained(
    tiny_codec_file: Path, domain: Domain, evaluations: EvaluationStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:  # fmt: skip
    """One cell a method, trained once for all that is said of it: its record and its adapter's file."""

    @functools.cache
    def of(method: str) -> tuple[CellRecord, Path]:
        bench = make_bench(tiny_codec_file, domain, evaluations)
        folder = tmp_path_factory.mktemp(method) / "s"
        torch.manual_seed(0)
        (record,) = train(bench, folder, make_cell(bench, method)).values()
        return record, folder / "adapters" / f"{record.key}.safetensors"

    return of


@pytest.fixture(scope="module")
def references(tiny_codec_file: Path, domain: Domain) -> tuple[ReferenceImage, ...]:
    """What the source codec makes of two of its images."""
    bench = make_bench(tiny_codec_file, domain)
    return tuple(bench.references(bench.source, 2))


@pytest.fixture
def adapted(name: str, trained: Trained, bench: Workbench) -> AdaptedCodec:
    """That cell's codec, read from its file."""
    return load_adapter(trained(name)[1], bench.reload_codec())[0]


@pytest.mark.parametrize("name", ALL)
class TestEveryMethod:
    def test_training_starts_from_the_source_codec(self, name: str, bench: Workbench) -> None:
        adapted = METHODS[name].build(bench.codec, size_of(name), 0)
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        noise = NoiseKey(0, 0, 1)
        source = bench.reload_codec().model.train()
        with torch.no_grad(), explicit_noise(source, noise):
            x_hat = adapted.forward_noisy(image, noise).x_hat
            expected = source(image)["x_hat"]
        same = torch.allclose(x_hat, expected, atol=1e-6)
        assert same == METHODS[name].starts_at_source

    def test_training_changes_what_target_mode_shows(
        self, name: str, bench: Workbench, adapted: AdaptedCodec
    ) -> None:
        pixels = bench.target.test[0].pixels_HWC
        before = SourceCoder(bench.codec)
        shown = decode(adapted, encode(adapted, pixels).data).pixels_HWC
        assert (shown != decode(before, encode(before, pixels).data).pixels_HWC).any()

    def test_reloaded_file_codes_like_the_trained_codec(
        self, name: str, bench: Workbench, adapted: AdaptedCodec, tmp_path: Path
    ) -> None:
        path = tmp_path / "again.safetensors"
        save_adapter(adapted, path, method=name, adapter_size=size_of(name), record={})
        again, _ = load_adapter(path, bench.reload_codec())
        pixels = bench.target.test[1].pixels_HWC
        first, second = encode(adapted, pixels), encode(again, pixels)
        assert first == second
        assert decode(again, first.data).symbols == first.symbols

    def test_wrong_source_codec_is_refused(
        self, name: str, bench: Workbench, tmp_path: Path
    ) -> None:
        path = tmp_path / "adapter.safetensors"
        adapted = METHODS[name].build(bench.codec, size_of(name), 0)
        adapted.refresh_tables()
        save_adapter(adapted, path, method=name, adapter_size=size_of(name), record={})
        other = bench.reload_codec()
        next(iter(other.model.parameters())).data.view(-1)[0] += 1
        with pytest.raises(AdapterError, match="trained on source codec"):
            load_adapter(path, other)

    def test_damaged_file_is_refused(self, name: str, bench: Workbench, tmp_path: Path) -> None:
        path = tmp_path / "adapter.safetensors"
        adapted = METHODS[name].build(bench.codec, size_of(name), 0)
        adapted.refresh_tables()
        save_adapter(adapted, path, method=name, adapter_size=size_of(name), record={})
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(AdapterError):
            load_adapter(path, bench.codec)

    def test_same_cell_same_adapter_in_any_company(
        self, name: str, bench: Workbench, trained: Trained, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Next to one that is well and one that is not, whatever the global generator holds."""
        first, bad, cell = (make_cell(bench, name, rate=r) for r in (1e-3, 2e-3, None))
        alone, path = trained(name)

        def poison(cell: Cell, bench: Workbench, device: torch.device) -> Member:
            member = _member(cell, bench, device)
            if cell.key == bad.key:
                learning = [p for p in rd_parameters(member.adapted) if p.requires_grad]
                learning[0].data.fill_(float("nan"))
            return member

        monkeypatch.setattr("trainables.adaptation._member", poison)
        torch.manual_seed(1)
        cells = (first, bad, cell) if METHODS[name].trains else (first, cell)
        records = list(run_pack(cells, bench, LocalWorker(tmp_path)))
        assert [r.status for r in records] == ["failed" if c is bad else "finished" for c in cells]
        assert all("step 0" in str(r.error) for r in records if r.status == "failed")
        packed = records[-1]
        assert alone.metrics.keys() == packed.metrics.keys()
        for metric, value in alone.metrics.items():
            # The file holds the training's seconds.
            if metric not in ("train/steps_per_second", "adapter/file_bytes"):
                assert packed.metrics[metric] == value, metric
        (state, told), (other, also) = (
            load_adapter(p, bench.codec) for p in (path, tmp_path / "adapters" / path.name)
        )
        assert state_hash(state.adapter_state().items()) == state_hash(
            other.adapter_state().items()
        )
        assert told["adapter_hash"] == also["adapter_hash"]


@pytest.mark.parametrize("name", TRAINED)
class TestEveryTraining:
    def test_training_goes_on_from_its_state(
        self, name: str, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All that training changes is kept, or comes again from the start: the same bits."""
        cell = make_cell(bench, name)

        def end(folder: Path) -> dict[str, torch.Tensor]:
            member = _member(cell, bench, torch.device("cpu"))
            _train([member], bench, LocalWorker(folder), 0.0)
            assert member.failure is None
            assert member.start == (0 if folder.name == "whole" else 2)
            return member.adapted.state_dict()

        whole = end(tmp_path / "whole")

        def die(samples: object, *, step: int, label: str = "", **given: Any) -> torch.Tensor:
            if step == 2 and not label:
                raise KeyboardInterrupt
            return draw_batch(samples, step=step, label=label, **given)  # type: ignore[arg-type]

        stopped = _member(cell, bench, torch.device("cpu"))
        with monkeypatch.context() as patched:
            patched.setattr("trainables.adaptation.draw_batch", die)
            with pytest.raises(KeyboardInterrupt):
                _train([stopped], bench, LocalWorker(tmp_path), 0.0)
        resumed = end(tmp_path)
        for part, value in whole.items():
            assert torch.equal(value, resumed[part]), part


@pytest.mark.parametrize("name", ["cawf", "lora", "ewc", "replay", "distill"])
def test_a_member_that_turns_nan_on_the_way_changes_nothing_for_the_others(
    name: str, bench: Workbench, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pack of three, on either side of the one that fails: numbers and file as alone."""
    first, bad, last = (make_cell(bench, name, rate=r) for r in (1e-3, 2e-3, 3e-3))
    (record,) = train(bench, tmp_path / "alone", first).values()
    alone = {first.key: (record, tmp_path / "alone" / str(record.adapter_file))}
    alone[last.key] = trained(name)
    step = trainables.adaptation._step

    def poison(member: Member, batch: Batch, group: Group) -> None:
        if member.cell.key == bad.key and batch.noise.step == 2:
            learning = [p for p in rd_parameters(member.adapted) if p.requires_grad]
            learning[0].data.fill_(float("nan"))
        step(member, batch, group)

    monkeypatch.setattr("trainables.adaptation._step", poison)
    records = list(run_pack((first, bad, last), bench, LocalWorker(tmp_path / "pack")))
    assert [r.status for r in records] == ["finished", "failed", "finished"]
    assert "at step 2; last finite loss" in str(records[1].error)
    for record in (records[0], records[2]):
        expected, path = alone[record.key]
        told = ("train/steps_per_second", "adapter/file_bytes")
        assert {k: v for k, v in record.metrics.items() if k not in told} == {
            k: v for k, v in expected.metrics.items() if k not in told
        }
        assert (record.curve, record.images) == (expected.curve, expected.images)
        hashes = {
            load_adapter(p, bench.codec)[1]["adapter_hash"]
            for p in (path, tmp_path / "pack" / "adapters" / path.name)
        }
        assert len(hashes) == 1


@pytest.mark.parametrize("name", ["cawf", "distill"])
def test_the_frozen_source_runs_once_for_all_members(
    name: str, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell(bench, name, rate=r, steps=3) for r in (1e-3, 2e-3, 3e-3)]
    method, asked = type(METHODS[name]), []
    shared_pass = method.shared_pass

    def counted(self: Method, source: Codec, image: torch.Tensor, noise: NoiseKey) -> object:
        asked.append(noise.step)
        given = shared_pass(self, source, image, noise)
        assert not any(t.requires_grad for t in _tensors_in(given))
        return given

    monkeypatch.setattr(method, "shared_pass", counted)
    train(bench, tmp_path, *cells)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("name", DETACHING)
class TestMethodsThatDetach:
    def test_source_mode_is_the_source_codec(
        self, name: str, references: tuple[ReferenceImage, ...], adapted: AdaptedCodec
    ) -> None:
        scores, exact = through_source_mode(adapted, references)
        assert exact == {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}
        assert scores == [r.score for r in references]

    def test_streams_of_source_mode_are_not_decoded_again_as_old_ones(
        self,
        name: str,
        references: tuple[ReferenceImage, ...],
        adapted: AdaptedCodec,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        known: dict[bytes, Decoded] = {}
        through_source_mode(adapted, references, known)
        assert set(known) == {r.coded.data for r in references}
        calls: list[bytes] = []
        decode_old = evaluation.decode_old
        monkeypatch.setattr(
            evaluation, "decode_old", lambda *a: calls.append(a[1]) or decode_old(*a)
        )
        found = evaluation._old_bitstreams(adapted, references, "source", known)
        # All but the first, which is decoded after the switches.
        assert calls == [references[0].coded.data]
        assert found == evaluation._old_bitstreams(adapted, references, "source", {})
        assert len(calls) == 1 + len(references)

    def test_a_corrupted_number_of_the_source_is_seen(
        self, name: str, references: tuple[ReferenceImage, ...], adapted: AdaptedCodec
    ) -> None:
        state = adapted.frozen_source_state()
        assert state is not None
        for part, broken in CORRUPTED.items():
            kept = state[part].clone()
            # A bias in the hyper-transforms, which are nearly silent in the tiny codec.
            numbers = state[part].flatten()
            numbers[numbers.abs().argmax() if numbers.is_floating_point() else slice(None)] += 5
            state[part].copy_(numbers.view(state[part].shape))
            _, exact = through_source_mode(adapted, references)
            assert exact[broken] < 1, part
            state[part].copy_(kept)
        assert all(through_source_mode(adapted, references)[1].values())

    def test_cell_fails_if_a_source_weight_changed_in_training(
        self, name: str, bench: Workbench
    ) -> None:
        member = _member(make_cell(bench, name), bench, torch.device("cpu"))
        check_frozen(member, bench)
        state = member.adapted.frozen_source_state()
        assert state is not None
        state["g_a.0.weight"][0, 0, 0, 0] += 1e-3
        with pytest.raises(Exception, match="changed the source codec"):
            check_frozen(member, bench)

    def test_cell_fails_if_the_source_on_disk_is_another(
        self, name: str, bench: Workbench, trained: Trained, tmp_path: Path
    ) -> None:
        cell = make_cell(bench, name)

        def corrupted() -> Codec:
            codec = bench.reload_codec()
            codec.model.g_s[6].weight.data[0, 0, 0, 0] += 1e-3
            return codec

        other = Workbench(bench.codec, corrupted, bench.target, bench.source)
        with pytest.raises(AdapterError, match="trained on source codec"):
            evaluate(cell, other, trained(name)[1], tmp_path / "sample.png")

    def test_old_bitstreams_decode_as_ever(self, name: str, trained: Trained) -> None:
        metrics = trained(name)[0].metrics
        assert metrics["bitstream/old_symbols_exact"] == 1
        assert metrics["bitstream/old_pixels_exact"] == 1
        assert metrics["bitstream/old_psnr_drop_db"] == 0
        assert metrics["source/forgetting"] == 0
        assert metrics["source/forgetting_unrouted"] != 0

    def test_no_source_parameter_is_trained(self, name: str, bench: Workbench) -> None:
        learns = METHODS[name].trains
        adapted = METHODS[name].build(bench.codec, size_of(name), 0)
        trained = {id(p) for p in adapted.parameters()}
        assert not trained & {id(p) for p in bench.codec.model.parameters()}
        adapted.requires_grad_(True)
        image = torch.rand(1, 3, 64, 64, requires_grad=True)
        output = adapted.forward_noisy(image, NoiseKey(0, 0, 1))
        bits = torch.stack([-p.log2().sum() for p in output.likelihoods.values()]).sum()
        (bits + output.x_hat.square().sum()).backward()
        assert all(p.grad is None for p in bench.codec.model.parameters())
        moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in adapted.parameters())
        assert moved == learns

    def test_stream_names_mode_and_adapter(
        self, name: str, bench: Workbench, adapted: AdaptedCodec
    ) -> None:
        pixels = bench.target.test[0].pixels_HWC
        target = parse_stream(encode(adapted, pixels).data)
        assert target.adapter_id == adapted.adapter_id
        # What only the sender needs is in no header: the stream is the source codec's own.
        assert (target.adapter_id is None) == (not METHODS[name].trains)
        adapted.mode = "source"
        assert parse_stream(encode(adapted, pixels).data).adapter_id is None
        if target.adapter_id is not None:
            with pytest.raises(Exception, match="needs adapter"):
                decode(SourceCoder(bench.codec), target.pack())


def test_a_search_has_the_cells_strength_also_after_a_file(
    bench: Workbench, tmp_path: Path
) -> None:
    cell = make_cell(bench, "regularised_refinement")
    wanted = cell.hyperparameters.model_copy(update={"strength": 3.0})
    cell = cell.model_copy(update={"hyperparameters": wanted})
    member = _member(cell, bench, torch.device("cpu"))
    path = tmp_path / "adapter.safetensors"
    save_adapter(member.adapted, path, method="regularised_refinement", adapter_size=0, record={})
    assert float(load_adapter(path, bench.codec)[0].get_buffer("strength")) == 3


@pytest.mark.parametrize("name", OTHERS)
def test_methods_without_source_mode_do_to_old_bitstreams_what_they_say(
    name: str, trained: Trained
) -> None:
    metrics = trained(name)[0].metrics
    assert (metrics["bitstream/old_symbols_exact"] == 1) == (name in KEEPS_SYMBOLS)
    assert (metrics["bitstream/old_pixels_exact"] == 1) == (name == "finetune_encoder")
    assert (metrics["bitstream/old_psnr_drop_db"] == 0) == (name == "finetune_encoder")
    assert metrics["source/forgetting"] == metrics["source/forgetting_unrouted"] != 0


def test_training_on_the_source_is_done_once_for_all_targets(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second target takes the control's training over, and gets what its own would have given."""
    first = make_cell(bench, "continue_source")
    block = first.block.model_copy(update={"domain": "another"})
    identity = first.identity.model_copy(update={"domain_hash": "1"})
    second = first.model_copy(update={"block": block, "identity": identity})
    assert first.key != second.key
    fresh = train(bench, tmp_path / "one" / "fresh", second)[second.key]
    train(bench, tmp_path / "two" / "shared", first)
    monkeypatch.setattr("trainables.adaptation._step", None)  # Any step would raise now.
    taken = train(bench, tmp_path / "two" / "shared", second)[second.key]
    assert taken.metrics.keys() == fresh.metrics.keys()
    told = ("train/steps_per_second", "adapter/file_bytes")
    same = {k: v for k, v in fresh.metrics.items() if k not in told}
    assert {k: taken.metrics[k] for k in same} == same
    assert taken.curve == fresh.curve
    files = [
        tmp_path / place / "adapters" / f"{second.key}.safetensors"
        for place in ("one/fresh", "two/shared")
    ]
    first_hash, second_hash = (load_adapter(f, bench.codec)[1]["adapter_hash"] for f in files)
    assert first_hash == second_hash


class TestOneWay:
    """What the strict reading of CAwF promises beyond the suite."""

    def test_target_stream_is_the_source_stream_and_an_enhancement(
        self, bench: Workbench, trained: Trained
    ) -> None:
        adapted = load_adapter(trained("cawf")[1], bench.reload_codec())[0]
        coder = SourceCoder(bench.codec)
        for sample in bench.target.test[:2]:
            base = parse_stream(encode(coder, sample.pixels_HWC).data)
            target = parse_stream(encode(adapted, sample.pixels_HWC).data)
            assert target.strings[:2] == base.strings
            assert len(target.strings) == 4

    def test_source_activations_never_read_custom_parameters(self, bench: Workbench) -> None:
        """GDN included: it pools over channels, and must not see custom ones."""
        adapted = METHODS["cawf"].build(bench.codec, 3, 0)
        adapted.refresh_tables()
        image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            before = adapted.compress(image)["strings"][:2]
            for parameter in adapted.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)
            adapted.refresh_tables()
            after = adapted.compress(image)["strings"][:2]
        assert before == after

    def test_shared_source_pass_changes_no_gradient(self, bench: Workbench) -> None:
        image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        noise = NoiseKey(5, 7, 2)
        shared = METHODS["cawf"].shared_pass(bench.codec, image, noise)
        gradients = []
        for given in (shared, None):
            adapted = METHODS["cawf"].build(bench.codec, 2, 0)
            output = adapted.forward_noisy(image, noise, given)
            bits = torch.stack([-p.log2().sum() for p in output.likelihoods.values()]).sum()
            (bits + (output.x_hat - image).square().sum()).backward()
            gradients.append([p.grad for p in rd_parameters(adapted)])
        for first, second in zip(*gradients, strict=True):
            assert (first is None and second is None) or torch.equal(first, second)
