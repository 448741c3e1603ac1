"""What would fail in the last step of a graph is refused before the first one, and by --dry-run."""

import pytest
import safetensors.torch

from interfero.codecs.classical import quality_for_rate
from interfero.codecs.lossy import LossyClassical
from interfero.engine.restoration.rates import match_rates, refuse_rates
from interfero.engine.sweep import main
from interfero.errors import CodecError
from interfero.store.content import CACHE_VARIABLE
from interfero.store.products import Products
from sweeps.dataset_restoration import SWEEP
from trainables.runner import Runner

from .conftest import Local, packs_of, plan_of

SMALL = ("--smoke", "--codecs", "webp", "--rates", "0.8", "--configurations", "RO", "CO",
         "--restorations", "gan")  # fmt: skip


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run the sweep with changes; returns the message after checking that nothing has begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("interfero.engine.sweep._drive", never)

    def run(*changes):
        with pytest.raises(SystemExit) as ended:
            main(SWEEP, [*SMALL, *map(str, changes)])
        assert ended.value.code == 2
        assert not list(tmp_path.rglob("sweep.json")), "the name is still free"
        assert not (tmp_path / "mlflow.db").exists()
        return " ".join(capsys.readouterr().err.replace("│", " ").split())

    return run


def never(*_):
    pytest.fail("training was about to start")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["for real", "dry"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--architecture", "unett"), "unknown --architecture 'unett': did you mean 'unet'?"),
        (("--encoder", "resnet19"), "unknown --encoder 'resnet19': did you mean"),
        (("--rates", "20"), "--rates 20 on mosaics: webp spends"),
    ],
)
def test_names_and_rates_that_are_not_there(refused, changes, said, dry):
    assert said in refused(*changes, *dry)


@pytest.mark.parametrize("rate", [0.001, 20.0])
def test_rates_out_of_reach_are_found_before_a_search_or_a_model(
    refused, monkeypatch, tmp_path, rate
):
    """Searches of the other rates took minutes before the one that no codec has was named."""
    searched = []

    def search(self, images, rate_bpp):
        searched.append(rate_bpp)
        return quality_for_rate(self.codec, images, rate_bpp)

    monkeypatch.setattr(LossyClassical, "setting_for", search)
    said = f"--rates {rate:g} on mosaics: webp spends"
    plan = plan_of(configurations=("CO",), rates=(0.8, rate))
    with pytest.raises(CodecError, match=said):
        refuse_rates(plan, packs_of(plan), Products(tmp_path), keep=False)
    assert searched == [rate]
    monkeypatch.setattr(Runner, "of_restoration", never)
    assert said in refused("--rates", rate)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["for real", "dry"])
@pytest.mark.parametrize("option", ["--encoder-weights", "--perceptual-weights"])
def test_weights_of_another_network(refused, tmp_path, option, dry):
    import torch

    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    weighed = ("--perceptual-weight", 1) if option == "--perceptual-weights" else ()
    assert option in refused(option, path, *weighed, *dry)


def test_every_model_that_cannot_be_built_is_named(refused, tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    message = refused("--encoder-weights", "no.safetensors", "--perceptual-weights",
                      "no.safetensors", "--perceptual-weight", 1)  # fmt: skip
    assert "--encoder-weights" in message
    assert "--perceptual-weights" in message


def test_a_rate_is_searched_once(tmp_path, monkeypatch):
    """Workers find what the driver found, and the driver what a plan that was only shown found."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    plan = plan_of(configurations=("CO",))
    products = Products(tmp_path)
    codec = type(plan.codecs["webp"])
    asked = []
    search = codec.setting_for

    def counted(self, images, rate_bpp):
        asked.append(rate_bpp)
        return search(self, images, rate_bpp)

    monkeypatch.setattr(codec, "setting_for", counted)
    match_rates(plan, packs_of(plan), Products(tmp_path / "shown"), keep=False)
    assert asked == [0.8]
    match_rates(plan, packs_of(plan), products, keep=True)
    assert asked == [0.8]
    Local(tmp_path).run(plan, Runner.of_restoration(plan))
    assert asked == [0.8]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    plan = plan_of(configurations=("CO",))
    match_rates(plan, packs_of(plan), Products(tmp_path / "storage"), keep=True)
    assert len(list((tmp_path / "storage").rglob("*.json"))) == 1


def test_a_plan_that_is_shown_writes_nothing_into_the_storage(tmp_path):
    plan = plan_of(configurations=("CO",))
    match_rates(plan, packs_of(plan), Products(tmp_path), keep=False)
    assert list(tmp_path.iterdir()) == []


def test_rates_of_copies_that_are_there_are_not_matched_again(tmp_path, monkeypatch):
    plan = plan_of(configurations=("CO",))
    Local(tmp_path).run(plan)
    asked = []
    monkeypatch.setattr(type(plan.codecs["webp"]), "setting_for", lambda *_: asked.append(1))
    packs = packs_of(plan, plan.behind(plan.cells).keys())
    match_rates(plan, packs, Products(tmp_path), keep=False)
    assert asked == []
