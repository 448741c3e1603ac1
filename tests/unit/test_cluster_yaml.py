"""cluster.yaml against Ray's own validation, offline, and against what Ray does not check."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_it(config):
    validate_config(prepare_config(config))


def test_ray_refuses_a_misspelled_key(config):
    config["max_worker"] = 4
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(config))


def test_the_head_is_on_demand_and_gpu_workers_are_spot_from_zero(config):
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert "InstanceMarketOptions" not in head["node_config"]
    for worker in types.values():
        assert worker["min_workers"] == 0
        assert worker["max_workers"] <= config["max_workers"]
        assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


def test_the_dashboard_is_private(config):
    starts = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert starts
    assert all("--dashboard-host=127.0.0.1" in line for line in starts)


def test_every_mounted_path_exists(config):
    missing = [path for path in config["file_mounts"].values() if not (ROOT / path).exists()]
    assert missing == []
