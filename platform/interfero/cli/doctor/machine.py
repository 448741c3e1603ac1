"""Storage, disk, shared memory and memory of this machine."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

import psutil

from interfero.cli.doctor.finding import GIB, Finding

DISK_GIB = 1.0
"""Records, adapters and samples of an ordinary sweep."""
SHARED_MEMORY_GIB = 1.0
"""Ray's object store and the exchange between training processes lie there."""
MEMORY_GIB = 4.0
"""The driver, the tracking store and two warm trials."""
FREE_REMEDY = "free the disk, or choose a --storage on a larger one"
CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")


def check_storage(storage: Path) -> Finding:
    """Whether a sweep could keep its results there; nothing is left behind."""
    remedy = "choose a --storage below a folder that you may write to, or change its owner or mode"
    folder = existing_folder(storage)
    if not folder.is_dir():
        return Finding("storage", f"{storage}: {folder} is a file", remedy)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"interfero")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        found = f"{storage} cannot be written ({error.strerror})"
        return Finding("storage", found, FREE_REMEDY if full else remedy)
    there = "writable" if folder == storage else f"can be made in {folder}"
    return Finding("storage", f"{storage}: {there}")


def check_disk(storage: Path) -> Finding:
    """Free space where the results go."""
    folder = existing_folder(storage)
    free = shutil.disk_usage(folder).free / GIB
    found = f"{free:.1f} GiB free for {storage}"
    if free >= DISK_GIB:
        return Finding("disk", found)
    return Finding("disk", f"{found}, a sweep needs {DISK_GIB:g} GiB", FREE_REMEDY)


def check_shared_memory(folder: Path = SHARED_MEMORY) -> Finding:
    """Free shared memory; without it Ray falls back to files, and training processes may die."""
    if not folder.is_dir():
        return Finding("shared memory", f"no {folder} on this system: Ray uses files")
    free = shutil.disk_usage(folder).free / GIB
    found = f"{free:.2f} GiB free in {folder}"
    if free >= SHARED_MEMORY_GIB:
        return Finding("shared memory", found)
    return Finding(
        "shared memory",
        f"{found}, Ray needs {SHARED_MEMORY_GIB:g} GiB",
        f"docker run --shm-size=4g, or mount -o remount,size=4g {folder}; look there for files of "
        "dead processes",
    )


def check_memory(cgroup: Path = CGROUP) -> Finding:
    """Memory that the machine and the container still give, the smaller of the two."""
    limits = [psutil.virtual_memory().available, _cgroup_available(cgroup)]
    available = min(value for value in limits if value is not None) / GIB
    found = f"{available:.1f} GiB available"
    if available >= MEMORY_GIB:
        return Finding("memory", found)
    return Finding(
        "memory",
        f"{found}, a sweep needs {MEMORY_GIB:g} GiB",
        "close other programs, raise the container's limit, or lower --max-concurrent",
    )


def _cgroup_available(cgroup: Path) -> int | None:
    """Bytes that a version 2 control group still allows; file cache is given back on demand."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        current = int((cgroup / "memory.current").read_text())
        stat = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return None
    if limit == "max":
        return None
    cache = next((int(line.split()[1]) for line in stat if line.startswith("inactive_file ")), 0)
    return int(limit) - current + cache


def existing_folder(path: Path) -> Path:
    """The path itself, or the nearest above it that exists."""
    path = path.expanduser().absolute()
    return next(p for p in (path, *path.parents) if p.exists())
