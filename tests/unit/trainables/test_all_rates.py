"""One adapter for all rates: its training takes lambdas in turns, and each lambda's cell evaluates it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from interfero.adaptation import METHODS, load_adapter
from interfero.adaptation.lora import LowRank
from interfero.adaptation.lora_all_rates import REFERENCE_LAMBDA, AllRatesCodec, RateConditioned
from interfero.adaptation.method import Batch
from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.noise import NoiseKey
from interfero.domains.ingest import load_folder
from interfero.engine.adaptation.nodes import Rate, Train
from interfero.engine.worker import LocalWorker
from interfero.errors import AdapterError, CodecError
from interfero.store.products import Products
from interfero.store.tensors import load_tensors
from trainables.adaptation import run_pack
from trainables.workbench import Workbench

NAME = "lora_all_rates"
LOW, HIGH = 0.0045, 0.013


@pytest.fixture(scope="module")
def codecs(tiny_codec_file, tmp_path_factory):
    """Files of two codecs by lambda, the second with other weights."""
    codec = read_codec(tiny_codec_file, "tiny")
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in codec.model.g_s.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    other = tmp_path_factory.mktemp("low") / "low.safetensors"
    save_codec(freeze_codec(codec.model, codec.shape, LOW, "tiny", {}), other)
    return {LOW: other, HIGH: Path(tiny_codec_file)}


@pytest.fixture
def read(codecs):
    return lambda value: read_codec(codecs[value], "tiny")


@pytest.fixture
def bench_at(read, image_folder, evaluations):
    """A workbench of a lambda, which may load the other one's codec."""
    domain = load_folder("pictures", image_folder)

    def load(codec_hash, value):
        assert read(value).weights_hash == codec_hash
        return read(value)

    return lambda value: Workbench(
        read(value), lambda: read(value), domain, domain, evaluations, load
    )


@pytest.fixture
def cell_at(cell, read):
    """The cell of a lambda."""
    rates = tuple(Rate(rd_lambda=v, codec_hash=read(v).weights_hash) for v in (LOW, HIGH))

    def build(value, **loop):
        made, codec = cell(NAME, **loop), read(value)
        return made.model_copy(
            update={
                "rates": rates,
                "block": made.block.model_copy(update={"rd_lambda": value}),
                "identity": made.identity.model_copy(
                    update={"codec_hash": codec.weights_hash, "table_hash": codec.table_hash}
                ),
            }
        )

    return build


def test_an_update_follows_lambda_by_a_power_of_each_rank():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1)
    branch, x = RateConditioned(layer, 2), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        branch.up.weight.normal_()
        branch.power.copy_(torch.tensor([0.5, -1.0]))
    plain = LowRank.update(branch)
    assert torch.equal(branch.update(), plain), "at the reference all gains are one"
    branch.log_lambda = float(torch.log(torch.tensor(4.0)))
    assert branch.gains().tolist() == pytest.approx([2.0, 0.25])
    kernel = layer.weight + branch.update()
    expected = nn.functional.conv2d(x, kernel, layer.bias, padding=1)
    assert torch.allclose(branch(x, layer(x)), expected, atol=1e-5)
    assert not torch.allclose(branch.update(), plain)


def test_steps_at_two_lambdas_train_one_set_of_parameters_each_on_its_own_codec(read):
    method, low, high = METHODS[NAME], read(LOW), read(HIGH)
    adapted = method.build(high, 2, 0)
    assert isinstance(adapted, AllRatesCodec)
    image, noise = torch.rand(2, 3, 64, 64), NoiseKey(0, 0, 2)
    with pytest.raises(CodecError, match=r"no source codec of lambda 0\.0045 .* there are 0\.013"):
        method.loss(adapted, Batch({"target": image}, noise, LOW))
    adapted.train_with({LOW: low.model, HIGH: high.model})
    for value, codec in ((LOW, low), (HIGH, high)):
        own = METHODS["lora"].build(codec, 2, 0)
        expected = METHODS["lora"].loss(own, Batch({"target": image}, noise, value))
        loss = method.loss(adapted, Batch({"target": image}, noise, value))
        # It starts as the source codec of that lambda, and so does lora.
        assert loss.total.item() == expected.total.item()
        loss.total.backward()
        assert adapted.branches["g_a/0"].up.weight.grad.abs().sum() > 0
        assert adapted.source is high.model
    assert all(p.grad is None for m in (low.model, high.model) for p in m.parameters())


def test_its_training_is_one_for_all_lambdas_and_depends_on_which_these_are(cell_at):
    low, high = cell_at(LOW), cell_at(HIGH)
    assert low.key != high.key
    assert Train(cell=low).key == Train(cell=high).key
    assert [low.rd_lambda_at(step) for step in range(3)] == [LOW, HIGH, LOW]
    (first, second) = low.rates
    others = (first, second.model_copy(update={"codec_hash": "another"}))
    changed = low.model_copy(update={"rates": others})
    assert Train(cell=changed).key != Train(cell=low).key
    assert changed.key != low.key
    assert high.params["num_rates"] == 2


def test_cells_of_both_lambdas_evaluate_the_adapter_that_was_trained_once(
    cell_at, bench_at, read, tmp_path
):
    low, high = cell_at(LOW, num_steps=8), cell_at(HIGH, num_steps=8)
    worker = LocalWorker(tmp_path / "sweep")
    (trained,) = run_pack([Train(cell=low)], bench_at(LOW), worker)
    assert trained.status == "finished", trained.error
    product = Products(tmp_path).place(trained.key) / "adapter.safetensors"
    files = []
    for cell in (low, high):
        (record,) = run_pack([cell], bench_at(cell.block.rd_lambda), worker)
        assert record.status == "finished", record.error
        assert record.curve == trained.curve, "nothing was trained again"
        files.append(worker.folder / record.adapter_file)
    states = [load_tensors(path)[0] for path in (product, *files)]
    assert all(torch.equal(states[0][n], s[n]) for s in states for n in states[0])
    assert states[0]["branches.g_a/0.power"].abs().sum() > 0
    # Any of the files serves both lambdas, and no other codec.
    for value in (LOW, HIGH):
        adapted, _ = load_adapter(product, read(value))
        assert adapted.branches["g_a/0"].log_lambda == pytest.approx(
            torch.log(torch.tensor(value / REFERENCE_LAMBDA)).item(), rel=1e-5
        )
    foreign = read(HIGH)
    with torch.no_grad():
        foreign.model.g_a[0].weight.add_(1)
    foreign = freeze_codec(foreign.model, foreign.shape, HIGH, "tiny", {})
    with pytest.raises(AdapterError, match="was trained on source codec"):
        load_adapter(product, foreign)


def test_a_cell_that_finds_no_training_trains_on_all_lambdas_itself(cell_at, bench_at, tmp_path):
    both = {}
    for name, value in (("one", LOW), ("other", HIGH)):
        worker = LocalWorker(tmp_path / name / "sweep")
        (record,) = run_pack([cell_at(value, num_steps=4)], bench_at(value), worker)
        assert record.status == "finished", record.error
        both[name] = record
        product = Products(tmp_path / name).place(Train(cell=cell_at(value, num_steps=4)).key)
        assert (product / "adapter.safetensors").exists(), "others find it"
    assert both["one"].curve == both["other"].curve, "whose cell it is decides nothing"
