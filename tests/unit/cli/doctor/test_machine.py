"""Preconditions that are really broken: full disks, files for folders, small shared memory."""

import os
import subprocess
from pathlib import Path

import pytest

from interfero.cli.doctor.machine import (
    check_disk,
    check_memory,
    check_shared_memory,
    check_storage,
)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root and mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_can_be_made_is_fine_and_nothing_is_left(tmp_path):
    finding = check_storage(tmp_path / "a" / "b")
    assert finding.ok
    assert str(tmp_path) in finding.found
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "taken").write_text("x")
    finding = check_storage(tmp_path / "taken" / "results")
    assert not finding.ok
    assert f"{tmp_path}/taken is a file" in finding.found
    assert "--storage" in finding.remedy


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_folder_that_nobody_can_write():
    finding = check_storage(Path("/proc/self/results"))
    assert not finding.ok
    assert "cannot be written" in finding.found
    assert "--storage" in finding.remedy


def test_a_full_disk(small_disk):
    finding = check_disk(small_disk / "results")
    assert not finding.ok
    assert "0.0 GiB free" in finding.found
    assert "--storage" in finding.remedy


def test_a_disk_that_is_full_to_the_last_byte_is_no_matter_of_rights(small_disk):
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filling").write_bytes(bytes(2 * 2**20))
    finding = check_storage(small_disk / "results")
    assert "No space left on device" in finding.found
    assert finding.remedy.startswith("free the disk")


def test_a_disk_that_is_mounted_read_only(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    finding = check_storage(small_disk / "results")
    assert "Read-only file system" in finding.found
    assert "--storage" in finding.remedy


def test_little_shared_memory(small_disk):
    finding = check_shared_memory(small_disk)
    assert not finding.ok
    assert "--shm-size" in finding.remedy


def test_no_shared_memory_at_all(tmp_path):
    assert check_shared_memory(tmp_path / "missing").ok


@pytest.mark.parametrize(
    ("limit", "current", "cache", "ok"),
    [("max", 0, 0, True), (6, 5, 0, False), (6, 5, 4, True), (2, 0, 0, False)],
)
def test_a_containers_limit_counts_and_its_file_cache_does_not(tmp_path, limit, current, cache, ok):
    gib = 1024**3
    (tmp_path / "memory.max").write_text(f"{limit if limit == 'max' else limit * gib}\n")
    (tmp_path / "memory.current").write_text(f"{current * gib}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cache * gib}\n")
    finding = check_memory(tmp_path)
    machine = check_memory(tmp_path / "no cgroup").ok
    assert finding.ok == (ok and machine)
    assert ok or "--max-concurrent" in finding.remedy
