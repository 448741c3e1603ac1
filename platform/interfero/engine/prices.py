"""What an hour of a pack costs: as an option says, or from the prices of instances in the cluster file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.config import Config
from interfero.errors import ConfigError, nearest

if TYPE_CHECKING:
    from interfero.engine.options.base import SweepOptions

CLUSTER_FILE = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` puts the cluster file on the head, as JSON (Ray 2.60)."""
PRICE = "price"
"""Of a sweep's settings: the price of a pack's hour, if one is known."""
PRICES = "price_per_hour"
"""Of the cluster file's `metadata`: node types to prices of an instance hour."""
REMEDY = "correct it and run `ray up` again, or give --price-per-pack-hour"


class Price(Config):
    """Price of an hour of what one pack holds, in the currency that the user thinks in."""

    low: float
    high: float
    """Above `low` where packs fit on instances of several prices."""
    head: float = 0.0
    """Price of an hour of the head, which runs no pack."""


def price_for(options: SweepOptions, file: Path = CLUSTER_FILE) -> Price | None:
    """What an hour of a pack costs; None where nobody said.

    Args:
        options: Of the sweep.
        file: The cluster file on the head, which counts on a cluster only.

    Raises:
        ConfigError: the cluster file's prices cannot be used; names the value, the rule and the remedy.
    """
    given = options.price_per_pack_hour
    if given is not None:
        return Price(low=given, high=given)
    file = file.expanduser()
    if (options.address is None and not os.environ.get("RAY_ADDRESS")) or not file.is_file():
        return None
    try:
        cluster = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # Not written by `ray up`: it names no prices that could be meant.
    prices = (cluster.get("metadata") or {}).get(PRICES) if isinstance(cluster, dict) else None
    return None if prices is None else _of_cluster(cluster, prices, options, file)


def _of_cluster(
    cluster: Mapping[str, Any], prices: Any, options: SweepOptions, file: Path
) -> Price | None:
    types: dict[str, Any] = cluster.get("available_node_types") or {}
    _check(prices, types, file)
    asked = {"CPU": options.cpus_per_trial, "GPU": options.gpus_per_trial}
    asked = {name: share * options.workers_per_trial for name, share in asked.items() if share > 0}
    head = str(cluster.get("head_node_type"))
    found = []
    for name, price in prices.items():
        has = types[name].get("resources") or {}
        if "CPU" not in has:
            raise ConfigError(
                f"the price of node type {name!r} in {file} needs the CPUs of such an instance, and its "
                "`resources` name none: give --price-per-pack-hour"
            )
        packs = math.floor(min(has.get(kind, 0) / share for kind, share in asked.items()))
        found += [price / packs] if packs else []
    if not found:
        return None
    runs_none = head in prices and not types[head]["resources"]["CPU"]
    return Price(low=min(found), high=max(found), head=prices[head] if runs_none else 0.0)


def _check(prices: Any, types: Mapping[str, Any], file: Path) -> None:
    where = f"`metadata: {PRICES}` in {file}"
    if not isinstance(prices, dict):
        raise ConfigError(
            f"{where} must name a price of an instance hour for node types, as in {{gpu: 0.8}}, got "
            f"{prices!r}: {REMEDY}"
        )
    for name, price in prices.items():
        if name not in types:
            raise ConfigError(
                f"{where} must name node types of the file, got {name!r}: {nearest(name, types)}; {REMEDY}"
            )
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if not number or not 0 <= price < math.inf:
            raise ConfigError(
                f"{where}: the price of {name!r} must be a number of 0 or more, got {price!r}: {REMEDY}"
            )
