"""What an hour of a pack costs, from an option or the cluster file on the head."""

import json

import pytest

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.options.parsing import parse_options
from interfero.engine.prices import Price, price_for
from interfero.engine.spending import PackShare, Spent
from interfero.errors import ConfigError

TYPES = {
    "head": {"resources": {"CPU": 0}}, "gpu": {"resources": {"CPU": 4, "GPU": 1}},
    "big": {"resources": {"CPU": 32, "GPU": 4}}, "cpu": {"resources": {"CPU": 16}}, "bare": {},
}  # fmt: skip


@pytest.fixture
def priced(tmp_path, monkeypatch):
    """The price that options find on a head whose cluster file has these prices."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def price(prices, **options):
        file = tmp_path / "ray_bootstrap_config.yaml"
        config = {"head_node_type": "head", "available_node_types": TYPES}
        file.write_text(json.dumps({**config, "metadata": {"price_per_hour": prices}}))
        return price_for(AdaptationOptions(**({"address": "auto"} | options)), file)

    return price


@pytest.mark.parametrize(
    ("prices", "options", "low", "high", "head"),
    [
        ({"gpu": 0.8}, {"gpus_per_trial": 0.5}, 0.4, 0.4, 0),
        # CPUs are scarcer than shares of the GPU.
        ({"gpu": 0.8}, {"gpus_per_trial": 0.25, "cpus_per_trial": 2.0}, 0.4, 0.4, 0),
        ({"gpu": 0.8, "head": 0.2}, {"gpus_per_trial": 1.0}, 0.8, 0.8, 0.2),
        # Instances without a GPU run none of these packs.
        ({"gpu": 0.8, "big": 2.4, "cpu": 0.1}, {"gpus_per_trial": 1.0}, 0.6, 0.8, 0),
        ({"big": 2.4}, {"gpus_per_trial": 1.0, "workers_per_trial": 2}, 1.2, 1.2, 0),
        ({"cpu": 0.16}, {}, 0.01, 0.01, 0),
    ],
)
def test_an_instance_hour_is_shared_by_the_packs_that_fit(priced, prices, options, low, high, head):
    found = priced(prices, **options)
    assert (found.low, found.high, found.head) == pytest.approx((low, high, head))


def test_the_option_goes_before_the_file_and_without_both_there_is_no_price(priced):
    assert priced({"gpu": 0.8}, price_per_pack_hour=0.3) == Price(low=0.3, high=0.3)
    assert priced({}) is None
    assert priced({"gpu": 0.8}, cpus_per_trial=64.0) is None
    assert priced({"gpu": 0.8}, address=None) is None, "packs train on this machine alone"


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"gpu": -1}, "the price of 'gpu' must be a number of 0 or more, got -1: correct it and"),
        ({"gpu": "cheap"}, "must be a number of 0 or more, got 'cheap'"),
        ({"gpu": True}, "must be a number of 0 or more, got True"),
        ({"gpu": float("nan")}, "must be a number of 0 or more, got nan"),
        (0.8, "must name a price of an instance hour for node types, as in {gpu: 0.8}, got 0.8"),
        ({"gpus": 1}, "must name node types of the file, got 'gpus': did you mean 'gpu'?"),
        ({"bare": 1}, "`resources` name none: give --price-per-pack-hour"),
    ],
)
def test_a_price_that_cannot_be_used_is_refused_by_value_rule_and_remedy(priced, prices, said):
    with pytest.raises(ConfigError) as refused:
        priced(prices)
    assert said in str(refused.value)
    assert "ray_bootstrap_config.yaml" in str(refused.value)
    assert "--price-per-pack-hour" in str(refused.value)


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_an_option_that_is_no_price_is_refused(value):
    options = parse_options(AdaptationOptions(), [f"--price-per-pack-hour={value}"], "Why?")
    with pytest.raises(ConfigError, match=r"must be a number of 0 or more, got \S+: give what an"):
        options.check()


def test_an_option_that_is_text_is_refused():
    with pytest.raises(ConfigError, match="--price-per-pack-hour 'cheap': takes numbers"):
        parse_options(AdaptationOptions(), ["--price-per-pack-hour", "cheap"], "Why?")


def test_hours_are_those_of_all_processes_of_a_pack():
    share = PackShare.of(
        AdaptationOptions(workers_per_trial=3, cpus_per_trial=2.0, gpus_per_trial=0.5)
    )
    assert share.text([1800.0]) == "3 CPU hours, 0.75 GPU hours"
    both = PackShare(1.0, 0.0, Price(low=0.5, high=1.0, head=0.2))
    assert both.text([7200.0]) == (
        "2 CPU hours, 0 GPU hours, price 1 to 2 (at 0.5 to 1 per pack hour, and 0.2 for each hour of "
        "the head)"
    )


def test_a_cell_tried_again_counts_once_and_one_taken_over_never(record, cell):
    spent = Spent()
    spent.add(record(cell(), status="failed", seconds=10.0))
    spent.add(record(cell(), seconds=30.0))
    spent.add(record(cell(learning_rate=2e-3), seconds=5.0, reused_from="earlier"))
    assert spent.seconds == 30.0
