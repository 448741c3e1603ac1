"""What members keep that step as one computation: their gradients, and everything that is their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interfero.adaptation import METHODS, load_adapter
from interfero.adaptation.method import Batch
from interfero.codecs.catalogue import load_codec
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import Codec
from interfero.codecs.noise import NoiseKey
from interfero.domains.domain import Domain
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters, Identity, LoopConfig
from interfero.engine.worker import LocalWorker
from interfero.records import CellRecord
from trainables.adaptation import _member, _prepare, _train, run_pack
from trainables.fusing import gradients_together
from trainables.loop import Loop
from trainables.member import Member
from trainables.trunks import Trunks
from trainables.workbench import Workbench

FUSING = tuple(name for name, method in METHODS.items() if method.fuses)
OTHERS = tuple(name for name, method in METHODS.items() if not method.fuses)
TOLERANCE = 1e-5
"""Of a gradient in float32, against its largest entry: sums are taken in another order."""
CPU = torch.device("cpu")
RATES = (1e-3, 2e-3, 3e-3)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_cell(
    bench: Workbench, method: str = "cawf", *, size: int = 1, rate: float = 3e-3, seed: int = 0,
    steps: int = 4, fused: bool = True,
) -> Cell:  # fmt: skip
    return Cell(
        block=Block(domain="pictures", rd_lambda=0.013, num_images=3, data_seed=0),
        hyperparameters=Hyperparameters(
            method=method,
            adapter_size=size if METHODS[method].size_unit else 0,
            strength=1.0 if METHODS[method].strength_unit else 0.0,
            learning_rate=rate,
            init_seed=seed,
        ),
        loop=LoopConfig(
            num_steps=steps, batch_size=2, crop_size=64, max_source_images=1, max_target_images=2,
            fused=fused,
        ),
        identity=Identity(
            codec="tiny", codec_hash=bench.codec.weights_hash, table_hash=bench.codec.table_hash,
            domain_hash="0", source_domain="pictures", source_domain_hash="0", loop_hash="0",
            versions={},
        ),
    )  # fmt: skip


def members_of(cells: Sequence[Cell], bench: Workbench, folder: Path) -> list[Member]:
    """Members ready for their first step, a little away from the start: no gradient is zero there."""
    members = [_member(cell, bench, CPU) for cell in cells]
    loop = Loop(members, cells[0].loop.num_steps, LocalWorker(folder))
    samples = bench.source.split("all", 0).training
    for i, member in enumerate(members):
        _prepare(member, samples, CPU, loop, Trunks(folder, loop.group))
        assert member.failure is None
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for parameter in member.learning:
                parameter.add_(1e-2 * torch.randn(parameter.shape, generator=generator))
    return members


def batch_for(member: Member, bench: Workbench) -> Batch:
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    image = image.to(memory_format=torch.channels_last)
    noise = NoiseKey(0, 0, 2)
    given = member.method.shared_pass(bench.codec, image, noise)
    strength = member.cell.hyperparameters.strength
    return Batch({"target": image, "source": image.flip(0)}, noise, 0.013, strength, given)


def gradients(member: Member) -> dict[str, Tensor]:
    named = member.adapted.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def assert_same_gradients(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert expected.keys() == found.keys()
    largest = max(value.abs().max().item() for value in expected.values())
    assert largest > 0
    for name, value in expected.items():
        assert (found[name] - value).abs().max().item() < TOLERANCE * largest, name


@pytest.mark.parametrize("name", FUSING)
class TestMethodsThatFuse:
    def test_gradients_are_those_of_each_alone(
        self, name: str, bench: Workbench, tmp_path: Path
    ) -> None:
        cells = [make_cell(bench, name, rate=r, seed=i) for i, r in enumerate(RATES)]
        members = members_of(cells, bench, tmp_path)
        batch = batch_for(members[0], bench)
        alone, losses = [], []
        for member in members:
            member.begin(0)
            _, _, total = member.loss(batch)
            total.backward()
            torch.nn.utils.clip_grad_norm_(member.learning, member.cell.loop.clip_norm)
            losses.append(total.item())
            alone.append(gradients(member))
        values = gradients_together(members, batch)
        assert values[:, 3].tolist() == pytest.approx(losses, rel=TOLERANCE)
        for member, expected in zip(members, alone, strict=True):
            assert_same_gradients(expected, gradients(member))
        assert len({tuple(next(iter(g.values())).flatten().tolist()) for g in alone}) == 3

    def test_first_gradients_of_a_pack_are_those_of_its_cells(
        self, name: str, bench: Workbench, tmp_path: Path
    ) -> None:
        """From the drawing of the batch on, through the loop itself."""
        trained = []
        for fused in (False, True):
            cells = [
                make_cell(bench, name, rate=r, seed=i, steps=1, fused=fused)
                for i, r in enumerate(RATES)
            ]
            members = [_member(cell, bench, CPU) for cell in cells]
            _train(members, bench, LocalWorker(tmp_path))
            assert [m.failure for m in members] == [None] * 3
            assert {m.fused_members for m in members} == {3 if fused else 1}
            trained.append(members)
        for alone, together in zip(*trained, strict=True):
            assert_same_gradients(gradients(alone), gradients(together))
            expected = alone.curve[0][1]
            assert together.curve[0][1] == pytest.approx(expected, rel=TOLERANCE)

    def test_a_nan_stays_where_it_is(self, name: str, bench: Workbench, tmp_path: Path) -> None:
        cells = [make_cell(bench, name, rate=r, seed=i) for i, r in enumerate(RATES)]
        members = members_of(cells, bench, tmp_path)
        batch = batch_for(members[0], bench)
        gradients_together(members, batch)
        healthy = [gradients(member) for member in members]
        members[1].learning[0].data.fill_(float("nan"))
        values = gradients_together(members, batch)
        assert values.isfinite().all(dim=1).tolist() == [True, False, True]
        for i in (0, 2):
            for part, value in gradients(members[i]).items():
                assert torch.equal(value, healthy[i][part]), part


@pytest.mark.parametrize("size", [1, 8])
def test_first_gradients_agree_on_the_bundled_codec(
    size: int, domain: Domain, tmp_path: Path
) -> None:
    load = partial(load_codec, "mbt2018-mean", 0.013)
    bench = Workbench(load(), load, domain, domain)
    trained = []
    for fused in (False, True):
        cells = [make_cell(bench, size=size, seed=i, steps=1, fused=fused) for i in range(2)]
        members = [_member(cell, bench, CPU) for cell in cells]
        _train(members, bench, LocalWorker(tmp_path))
        assert {m.fused_members for m in members} == {2 if fused else 1}
        trained.append(members)
    for alone, together in zip(*trained, strict=True):
        assert_same_gradients(gradients(alone), gradients(together))


@pytest.mark.parametrize("name", OTHERS)
def test_other_methods_step_alone_to_the_same_bits(
    name: str, bench: Workbench, tmp_path: Path
) -> None:
    states = []
    for fused in (False, True):
        cells = [make_cell(bench, name, rate=r, steps=2, fused=fused) for r in RATES[:2]]
        members = [_member(cell, bench, CPU) for cell in cells]
        _train(members, bench, LocalWorker(tmp_path))
        assert {m.fused_members for m in members} == {1}
        states.append([m.adapted.state_dict() for m in members])
    for one, other in zip(*states, strict=True):
        for part, value in one.items():
            assert torch.equal(value, other[part]), part


def test_sizes_fuse_with_their_like_and_the_odd_one_trains_as_alone(
    bench: Workbench, tmp_path: Path
) -> None:
    sizes = (1, 2, 2, 1, 2, 3)
    cells = [make_cell(bench, size=s, seed=i) for i, s in enumerate(sizes)]
    records = run(cells, bench, tmp_path / "pack")
    assert [r.fused_members for r in records] == [2, 3, 3, 2, 3, 1]
    (alone,) = run(cells[-1:], bench, tmp_path / "alone")
    assert alone.curve == records[-1].curve
    folders = (tmp_path / "pack", tmp_path / "alone")
    assert len({adapter_hash(f, cells[-1], bench) for f in folders}) == 1


def run(cells: Sequence[Cell], bench: Workbench, folder: Path) -> list[CellRecord]:
    records = list(run_pack(cells, bench, LocalWorker(folder)))
    assert [r.error for r in records] == [None] * len(cells)
    return records


def adapter_hash(folder: Path, cell: Cell, bench: Workbench) -> str:
    path = folder / "adapters" / f"{cell.key}.safetensors"
    return str(load_adapter(path, bench.codec)[1]["adapter_hash"])


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Members of every fused step, as they come."""
    found: list[int] = []

    def counted(members: Sequence[Member], batch: Batch) -> Tensor:
        found.append(len(members))
        return gradients_together(members, batch)

    monkeypatch.setattr("trainables.adaptation.gradients_together", counted)
    return found


def test_a_member_that_turns_nan_is_a_record_and_the_others_fuse_on(
    bench: Workbench, tmp_path: Path, bundles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell(bench, rate=r, seed=i) for i, r in enumerate(RATES)]
    healthy = run(cells, bench, tmp_path / "healthy")
    del bundles[:]

    def poisoned(members: Sequence[Member], batch: Batch) -> Tensor:
        bundles.append(len(members))
        if batch.noise.step == 2:
            members[1].learning[0].data.fill_(float("nan"))
        return gradients_together(members, batch)

    monkeypatch.setattr("trainables.adaptation.gradients_together", poisoned)
    records = list(run_pack(cells, bench, LocalWorker(tmp_path / "pack")))
    assert [r.status for r in records] == ["finished", "failed", "finished"]
    assert "at step 2; last finite loss" in str(records[1].error)
    assert [step for step, _ in records[1].curve] == [1, 2]
    assert bundles == [3, 3, 3, 2]
    for i in (0, 2):
        # To the bit up to the step in which it fails: then the company is another.
        assert records[i].curve[:3] == healthy[i].curve[:3]
        assert records[i].curve[3][1] == pytest.approx(healthy[i].curve[3][1], rel=1e-4)


def test_a_member_whose_optimiser_fails_spares_the_others(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell(bench, rate=r, seed=i) for i, r in enumerate(RATES)]

    def broken(cell: Cell, bench: Workbench, device: torch.device) -> Member:
        member = _member(cell, bench, device)
        if cell is cells[0]:

            def step() -> None:
                raise RuntimeError("out of memory")

            monkeypatch.setattr(member.main, "step", step)
        return member

    monkeypatch.setattr("trainables.adaptation._member", broken)
    records = list(run_pack(cells, bench, LocalWorker(tmp_path)))
    assert [r.status for r in records] == ["failed", "finished", "finished"]
    assert "RuntimeError at step 0: out of memory" in str(records[0].error)


def test_a_fused_step_that_fails_is_taken_one_by_one_from_then_on(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    cells = [make_cell(bench, rate=r, seed=i) for i, r in enumerate(RATES)]
    fused = run(cells, bench, tmp_path / "fused")
    asked = []

    def too_large(members: Sequence[Member], batch: Batch) -> Tensor:
        asked.append(batch.noise.step)
        values = gradients_together(members, batch)
        if batch.noise.step == 1:
            raise RuntimeError("out of memory")
        return values

    monkeypatch.setattr("trainables.adaptation.gradients_together", too_large)
    records = run(cells, bench, tmp_path / "pack")
    assert asked == [0, 1]
    assert "3 cells of cawf train one by one from step 1 on" in caplog.text
    for one, other in zip(records, fused, strict=True):
        assert len(one.curve) == 4
        for (_, values), (_, expected) in zip(one.curve, other.curve, strict=True):
            assert values == pytest.approx(expected, rel=1e-3)


class Stops(LocalWorker):
    """A worker that stops one cell at its first rung."""

    stopped: str = ""

    def should_stop(self) -> bool:
        return bool(self.curve) and self.curve[-1][0] == self.stopped


def test_a_member_that_ends_early_drops_out(
    bench: Workbench, tmp_path: Path, bundles: list[int]
) -> None:
    cells = [make_cell(bench, rate=r, seed=i) for i, r in enumerate(RATES)]
    worker = Stops(tmp_path, rungs=(1,))
    worker.stopped = cells[0].key
    records = list(run_pack(cells, bench, worker))
    assert [r.status for r in records] == ["stopped", "finished", "finished"]
    assert bundles == [3, 2, 2, 2]


SEEDS, STEPS = (0, 1, 2), 40


@pytest.fixture(scope="module")
def finals(tiny_codec_file: Path, domain: Domain, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Final metrics of the same seeds, one after the other and fused."""

    def read() -> Codec:
        return read_codec(tiny_codec_file, "tiny")

    bench = Workbench(read(), read, domain, domain)
    found = []
    for fused in (False, True):
        cells = [make_cell(bench, size=2, seed=s, steps=STEPS, fused=fused) for s in SEEDS]
        found.append([r.metrics for r in run(cells, bench, tmp_path_factory.mktemp("finals"))])
    return found


@pytest.mark.parametrize("metric", ["target/rd_loss", "val/rd_gain_percent"])
def test_final_metrics_agree_within_a_tenth_of_the_spread_between_seeds(  # type: ignore[no-untyped-def]
    finals, metric: str
) -> None:
    alone, fused = ([metrics[metric] for metrics in run] for run in finals)
    spread = max(alone) - min(alone)
    assert spread > 0
    worst = max(abs(a - b) for a, b in zip(alone, fused, strict=True))
    assert worst < 0.1 * spread, (alone, fused)
