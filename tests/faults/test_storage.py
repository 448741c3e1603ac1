"""A disk that is full for a while, and for longer; a domain's file that was cut short."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from interfero.domains.catalogue import load_domain
from interfero.engine.sweep import run_sweep
from interfero.errors import DomainError, StorageError
from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests.parquet import write_parquet
from tests.processes import standing_still

SWEEP = [
    "--name", "full", "--methods", "lora", "--adapter-sizes", "1",
    "--learning-rates", "3e-4", "1e-3", "3e-3", "--no-packs", "--max-concurrent", "1",
    "--num-steps", "30",
]  # fmt: skip
NUM_CELLS = 3
DISK_MIB = 260


@pytest.fixture(scope="module")
def place(make_workplace):
    """A workplace whose storage is a small disk of its own."""
    place = make_workplace("full")
    disk = place.folder / "interfero-storage"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and mount")
    yield place
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk):
    """To the last byte; returns the file to remove."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(2**20)):
                pass
        except OSError:
            pass
    assert os.statvfs(disk).f_bavail == 0
    return path


def sleeps(process):
    """Whether a process computes nothing for a while: what trains takes all of a core it can get."""
    before = sum(process.cpu_times()[:2])
    time.sleep(2)
    return sum(process.cpu_times()[:2]) - before < 0.1


@pytest.fixture(scope="module")
def swept(place):
    """The disk is full from the first record on, until a worker waits for it."""
    process = place.start(*SWEEP)
    place.wait_for_records("full", 1, process)
    with standing_still(place, process) as worker:
        filling = fill(place.folder / "interfero-storage")
        full_since, before = time.time(), place.record_files("full")
    place.wait_until(lambda: sleeps(worker), process)
    waited, free_since = place.record_files("full"), time.time()
    filling.unlink()
    done = place.finish(process)
    return place, before, waited, free_since - full_since, done


def test_a_disk_that_is_full_for_a_while_costs_the_waiting(swept, outcome):
    place, before, waited, seconds, done = swept
    assert len(waited) == len(before) < NUM_CELLS
    assert seconds > 2
    assert done.returncode == 0, done.stdout + done.stderr
    outcome(place, "full").check(NUM_CELLS)


def test_nothing_was_trained_twice(swept):
    place = swept[0]
    assert [r["resumed_step"] for r in place.records("full").values()] == NUM_CELLS * [0]


def test_the_numbers_are_those_of_a_sweep_that_nothing_happened_to(swept, outcome, tmp_path):
    outcome(swept[0], "full").check_numbers(tmp_path)


def test_a_sweep_does_not_start_on_a_full_disk_and_takes_no_name(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    disk = place.folder / "interfero-storage"
    filling = fill(disk)
    try:
        with pytest.raises(
            StorageError, match=r"No space left on device.: free the disk or choose a"
        ):
            run_sweep(CAPACITY, [*place.tiny, *SWEEP, "--name", "next"], Console(quiet=True))
    finally:
        filling.unlink()
    assert not (disk / "next/sweep.json").exists()


class FaultyDisk:
    """An ext4 file system in a file, which its kernel mounts read-only once it finds a fault."""

    def __init__(self, folder, place):
        self.image, self.place = folder / "disk.img", place
        with self.image.open("wb") as file:
            file.truncate(DISK_MIB * 2**20)
        self._run("mkfs.ext4", "-q", "-F", self.image)

    def mount(self):
        self._run("mount", "-o", "loop,errors=remount-ro", self.image, self.place)

    def find_fault(self):
        """What writes meanwhile is no hindrance, as it is to a remount."""
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", self.place], check=True, capture_output=True, text=True
        )
        device = Path(found.stdout.strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("of a test")

    def repair(self):
        self._run("umount", self.place)
        # 1: faults were found and mended.
        assert subprocess.run(["e2fsck", "-fy", self.image], capture_output=True).returncode <= 1
        self.mount()

    def _run(self, *command):
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def faulty(make_workplace, tmp_path):
    place = make_workplace("faulty")
    disk = place.folder / "interfero-storage"
    disk.mkdir()
    try:
        made = FaultyDisk(tmp_path, disk)
        made.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs root, ext4 and loop devices: {error}")
    yield place, made
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_becomes_read_only_under_a_sweep_costs_no_cell_that_was_done(faulty, outcome):
    place, disk = faulty
    sweep = place.start(*SWEEP)
    place.wait_for_records("full", 1, sweep)
    disk.find_fault()
    before = {path.name: path.read_bytes() for path in place.record_files("full")}
    done = place.finish(sweep)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 130), said
    # Whatever its lines were broken to.
    assert "mount it for writing" in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
    disk.repair()
    kept = {path.name: path.read_bytes() for path in place.record_files("full")}
    assert before == {name: kept[name] for name in before}
    resumed = place.run(*SWEEP, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    outcome(place, "full").check(NUM_CELLS)
    after = {path.name: path.read_bytes() for path in place.record_files("full")}
    assert {name: after[name] for name in before} == before


@pytest.fixture
def parquet(image_folder, tmp_path):
    path = tmp_path / "thing.parquet"
    write_parquet(load_domain(f"thing={image_folder}"), path)
    return path


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_parquet_file_that_was_cut_short_is_refused_by_its_name(make_workplace, parquet, share):
    content = parquet.read_bytes()
    parquet.write_bytes(content[: int(share * len(content))])
    place = make_workplace("cut")
    with pytest.raises(DomainError, match=f"{parquet} cannot be read as Parquet .* write it again"):
        run_sweep(
            CAPACITY,
            [
                *place.tiny,
                "--domains",
                f"thing={parquet}",
                "--storage",
                str(place.folder / "storage"),
            ],
            Console(quiet=True),
        )
    assert not list(place.folder.rglob("sweep.json")), "a sweep that cannot start takes no name"


def test_a_parquet_file_with_a_damaged_page_is_refused_by_its_name(parquet):
    content = bytearray(parquet.read_bytes())
    # The footer is whole: only reading the images finds it.
    content[8 : len(content) // 2] = bytes(len(content) // 2 - 8)
    parquet.write_bytes(content)
    with pytest.raises(DomainError, match=f"{parquet}"):
        load_domain(f"thing={parquet}")
