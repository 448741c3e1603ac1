"""Rules for the options of any sweep: each states whether it is broken, and the remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from interfero.errors import ConfigError

if TYPE_CHECKING:
    from interfero.engine.options.base import SweepOptions

Rule = tuple[bool, str]
"""Whether the rule is broken, and the error text."""
SHARED_FOLDERS = ("content", "evaluations", "products")
"""Folders of a storage that are not sweeps."""
MAX_SEED = 2**63 - 1
"""The largest integer that a hash, a table and MLflow can hold."""
MAX_ADAPTER_SIZE = 1024
"""Several times the channels of the widest codec."""


def refuse_broken(rules: Iterable[Rule]) -> None:
    """Refuse options that cannot be run, all problems in one error.

    Raises:
        ConfigError: names each value, its rule and the remedy.
    """
    problems = [text for broken, text in rules if broken]
    if problems:
        raise ConfigError("\n".join(problems))


def list_rules(lists: Mapping[str, Sequence[object]]) -> list[Rule]:
    """Rules for lists: not empty, and no value twice."""
    return [
        *((not v, f"{k} is empty: name at least one") for k, v in lists.items()),
        *((len(set(v)) < len(v), f"{k} names one value twice: {v}") for k, v in lists.items()),
    ]


def number_rules(
    positive: Mapping[str, float], not_negative: Mapping[str, float],
    finite: Mapping[str, Sequence[float]],
) -> list[Rule]:  # fmt: skip
    """Rules for numbers: above 0, not negative, finite."""
    return [
        *(
            (v <= 0, f"{k} must be above 0, got {v}: give more, or leave it out for the default")
            for k, v in positive.items()
        ),
        *((v < 0, f"{k} must not be negative, got {v}") for k, v in not_negative.items()),
        *(
            (not all(map(math.isfinite, v)), f"{k} takes finite numbers, got {v}")
            for k, v in finite.items()
        ),
    ]


def size_rule(option: str, sizes: Sequence[int]) -> Rule:
    """Sizes of adapters are bounded: one that only fills the memory is refused before anything is built."""
    largest = max(sizes, default=0)
    return (
        largest > MAX_ADAPTER_SIZE,
        f"{option} must be at most {MAX_ADAPTER_SIZE}, got {largest}: a size is a rank or a number of "
        "channels, and codecs have 64 to 320 channels",
    )


def seed_rules(seeds: Mapping[str, Sequence[int]]) -> list[Rule]:
    """Rules for seeds, by option."""
    return [
        *(
            (max(v, default=0) > MAX_SEED, f"{k} must be below 2^63, got {v}")
            for k, v in seeds.items()
        ),
        *(
            (min(v, default=0) < 0, f"{k} must not be negative, got {min(v, default=0)}")
            for k, v in seeds.items()
        ),
    ]


def sweep_rules(o: SweepOptions) -> list[Rule]:
    """Rules for the options of every sweep."""
    seeds = {"--data-seeds": o.data_seeds, "--init-seeds": o.init_seeds}
    positive = {
        "--num-steps": min(o.budgets, default=1), "--num-samples": o.num_samples,
        "--cpus-per-trial": o.cpus_per_trial, "--workers-per-trial": o.workers_per_trial,
    }  # fmt: skip
    not_negative = {
        "--max-failed": o.max_failed, "--max-concurrent": o.max_concurrent,
        "--checkpoint-seconds": o.checkpoint_seconds, "--gpus-per-trial": o.gpus_per_trial,
    }  # fmt: skip
    finite = {
        "--cpus-per-trial": (o.cpus_per_trial,), "--gpus-per-trial": (o.gpus_per_trial,),
        "--checkpoint-seconds": (o.checkpoint_seconds,),
        "--max-domain-memory": (o.max_domain_memory or 0,),
    }  # fmt: skip
    return [
        *list_rules({"--domains": o.domains, "--num-steps": o.budgets, **seeds}),
        *number_rules(positive, not_negative, finite),
        *seed_rules(seeds),
        (
            o.max_domain_memory is not None and o.max_domain_memory < 0,
            f"--max-domain-memory must not be negative, got {o.max_domain_memory}; 0 maps every "
            "folder and Parquet file",
        ),
        (
            o.price_per_pack_hour is not None and not 0 <= o.price_per_pack_hour < math.inf,
            f"--price-per-pack-hour must be a number of 0 or more, got {o.price_per_pack_hour}: give what an "
            "instance costs per hour over the packs that fit on it, or leave it out",
        ),
        (
            o.workers_per_trial > 1 and o.gpus_per_trial > 1,
            f"--gpus-per-trial {o.gpus_per_trial:g}: each of several processes trains on one GPU at "
            "most; use 1 or less, and more --workers-per-trial",
        ),
        *_place_rules(o),
    ]


def _place_rules(o: SweepOptions) -> list[Rule]:
    """Rules for the name of a sweep and its storage."""
    return [
        (
            o.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", o.name),
            f"--name may hold letters, digits, dots, dashes and underscores, got {o.name!r}",
        ),
        (
            o.name in SHARED_FOLDERS,
            f"--name {o.name}: the folder of that name holds what sweeps share; choose another",
        ),
        (o.resume and o.name is None, "--resume needs --name: say which sweep goes on"),
        *_storage_rules(o.storage),
    ]


def _storage_rules(storage: str) -> list[Rule]:
    """Rules for `--storage`: a folder, given as a path or as file:///PATH."""
    scheme = storage.partition("://")[0] if "://" in storage else ""
    return [
        (
            _is_file_uri(storage) and folder_of(storage) is None,
            f"--storage {storage!r}: a file URI names an absolute path of this machine, as in "
            "file:///data/sweeps; write it like this, or give only the path",
        ),
        (
            bool(scheme) and not _is_file_uri(storage),
            f"--storage {storage!r}: results are kept in a folder that all nodes see; mount what {scheme}:// "
            "names there and give the folder's path (NFS, say; FUSE mounts such as s3fs or "
            "gcsfuse were not tried)",
        ),
    ]


def _is_file_uri(storage: str) -> bool:
    return storage.lower().startswith("file:/")


def folder_of(storage: str) -> Path | None:
    """The folder that a path or a file URI names; None if a URI names no folder of this machine."""
    if not _is_file_uri(storage):
        return None if "://" in storage else Path(storage).expanduser()
    parts = urlsplit(storage)
    here = parts.netloc in ("", "localhost") and parts.path.startswith("/")
    # A ? or # of a file's name is written as %3F or %23 in a URI.
    if not here or parts.query or parts.fragment:
        return None
    return Path(unquote(parts.path))


def storage_of(storage: str) -> Path:
    """The folder that a `--storage` names, of a sweep or of a command that looks at one.

    Raises:
        ConfigError: it names no folder; with its value, the rule and the remedy.
    """
    refuse_broken(_storage_rules(storage))
    folder = folder_of(storage)
    assert folder is not None, "its rules were checked"
    return folder


def parted_rules(batch_size: int, workers: int) -> list[Rule]:
    """Rule: every process takes the same number of crops of a batch."""
    return [
        (
            workers > 1 and batch_size % workers != 0,
            f"--batch-size {batch_size} cannot be divided equally among --workers-per-trial {workers}: "
            f"choose a multiple of {workers}",
        )
    ]
