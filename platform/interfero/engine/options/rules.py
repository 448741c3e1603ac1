"""What must hold of options, whatever the sweep: each rule says whether it is broken, and how to mend it."""

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
"""Whether it is broken, and what is said then."""
SHARED_FOLDERS = ("content", "evaluations", "products")
"""Names below a storage that are no sweep's."""
MAX_SEED = 2**63 - 1
"""What a hash, a table and MLflow hold."""


def refuse_broken(rules: Iterable[Rule]) -> None:
    """Refuse what cannot be run, all problems at once.

    Raises:
        ConfigError: names each value, its rule and the remedy.
    """
    problems = [text for broken, text in rules if broken]
    if problems:
        raise ConfigError("\n".join(problems))


def list_rules(lists: Mapping[str, Sequence[object]]) -> list[Rule]:
    """Axes name something, and nothing twice."""
    return [
        *((not v, f"{k} is empty: name at least one") for k, v in lists.items()),
        *((len(set(v)) < len(v), f"{k} names one value twice: {v}") for k, v in lists.items()),
    ]


def number_rules(
    positive: Mapping[str, float], not_negative: Mapping[str, float],
    finite: Mapping[str, Sequence[float]],
) -> list[Rule]:  # fmt: skip
    """Numbers above 0, from 0 on, and no infinite ones."""
    return [
        *((v <= 0, f"{k} must be above 0, got {v}") for k, v in positive.items()),
        *((v < 0, f"{k} must not be negative, got {v}") for k, v in not_negative.items()),
        *(
            (not all(map(math.isfinite, v)), f"{k} takes finite numbers, got {v}")
            for k, v in finite.items()
        ),
    ]


def sweep_rules(o: SweepOptions) -> list[Rule]:
    """Of the options that every sweep has."""
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
        *(
            (max(v, default=0) > MAX_SEED, f"{k} must be below 2^63, got {v}")
            for k, v in seeds.items()
        ),
        (any(v < 0 for v in (*o.data_seeds, *o.init_seeds)), "seeds must not be negative"),
        (
            o.max_domain_memory is not None and o.max_domain_memory < 0,
            f"--max-domain-memory must not be negative, got {o.max_domain_memory}; 0 maps every "
            "folder and Parquet file",
        ),
        (
            o.workers_per_trial > 1 and o.gpus_per_trial > 1,
            f"--gpus-per-trial {o.gpus_per_trial:g}: each of several processes trains on one GPU at "
            "most; use 1 or less, and more --workers-per-trial",
        ),
        *_place_rules(o),
    ]


def _place_rules(o: SweepOptions) -> list[Rule]:
    """Where a sweep is kept, and under which name."""
    return [
        (
            o.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", o.name),
            f"--name may hold letters, digits, dots, dashes and underscores, got {o.name!r}",
        ),
        (
            o.name in SHARED_FOLDERS,
            f"--name {o.name}: a folder of that name beside the sweeps holds what they share; choose "
            "another",
        ),
        (o.resume and o.name is None, "--resume needs --name: say which sweep goes on"),
        *_storage_rules(o.storage),
    ]


def _storage_rules(storage: str) -> list[Rule]:
    """Results are kept in a folder: by its path, or as file:///PATH."""
    scheme = storage.partition("://")[0] if "://" in storage else ""
    return [
        (
            _is_file_uri(storage) and folder_of(storage) is None,
            f"--storage {storage!r}: a file URI names an absolute path of this machine, as in "
            "file:///data/sweeps; write it so, or give the path alone",
        ),
        (
            bool(scheme) and not _is_file_uri(storage),
            f"--storage {storage!r}: results are kept in a folder that all nodes see; mount what {scheme}:// "
            "names there (NFS, or a FUSE mount such as s3fs or gcsfuse) and give the folder's path",
        ),
    ]


def _is_file_uri(storage: str) -> bool:
    return storage.lower().startswith("file:/")


def folder_of(storage: str) -> Path | None:
    """The folder that a path or a file URI names; None if it is a URI of no folder of this machine."""
    if not _is_file_uri(storage):
        return None if "://" in storage else Path(storage).expanduser()
    parts = urlsplit(storage)
    here = parts.netloc in ("", "localhost") and parts.path.startswith("/")
    # A ? or # of a file's name is written as %3F or %23 in a URI.
    if not here or parts.query or parts.fragment:
        return None
    return Path(unquote(parts.path))


def parted_rules(batch_size: int, workers: int) -> list[Rule]:
    """Every process takes equally many crops of a batch."""
    return [
        (
            workers > 1 and batch_size % workers != 0,
            f"--batch-size {batch_size} cannot be parted equally among --workers-per-trial {workers}: "
            f"choose a multiple of {workers}",
        )
    ]
