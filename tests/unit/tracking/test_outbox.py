import math

import pytest

from interfero.errors import StorageError
from interfero.tracking.first_file import FIRST_FILE
from interfero.tracking.operations import EnsureRun, LogBatch, LogFile, SetStatus
from interfero.tracking.outbox import Outbox

OPERATIONS = [
    EnsureRun(key="a", name="cell a", tags={"x": "é\n"}, time_ms=1),
    LogBatch(key="a", metrics=(("train/loss", 0.1, 5, 1),), params={"p": "1"}),
    LogFile(key="a", path="/tmp/adapter.safetensors"),
    SetStatus(key="a", status="FINISHED", time_ms=9),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep" / "outbox.jsonl"


def test_what_waits_outlives_the_process(path):
    Outbox(path).append(OPERATIONS)
    assert list(Outbox(path)) == OPERATIONS


def test_what_was_delivered_does_not_come_back(path):
    outbox = Outbox(path)
    outbox.append(OPERATIONS)
    outbox.delivered()
    outbox.delivered()
    assert list(Outbox(path)) == OPERATIONS[2:]


def test_an_empty_queue_takes_no_room(path):
    outbox = Outbox(path)
    outbox.append(OPERATIONS[:1])
    outbox.delivered()
    assert path.stat().st_size == 0
    outbox.close()
    assert not path.exists()


def test_a_diverged_loss_survives(path):
    batch = LogBatch(key="a", metrics=(("l", math.nan, 1, 1), ("l", -math.inf, 1, 2)))
    Outbox(path).append([batch])
    (read,) = Outbox(path)
    assert math.isnan(read.metrics[0][1])
    assert read.metrics[1][1] == -math.inf


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_line_cut_by_a_kill_never_counted(path, lost):
    Outbox(path).append(OPERATIONS)
    path.write_bytes(path.read_bytes()[:-lost])
    outbox = Outbox(path)
    assert list(outbox) == OPERATIONS[:3]
    outbox.append(OPERATIONS[3:])
    assert list(Outbox(path)) == OPERATIONS


def test_a_damaged_line_is_named(path):
    Outbox(path).append(OPERATIONS)
    path.write_bytes(path.read_bytes().replace(b'"batch"', b'"botch"'))
    with pytest.raises(StorageError, match=r"line 2 of .*outbox\.jsonl is damaged: move"):
        Outbox(path)


def test_an_acknowledgement_of_nothing_is_damage(path):
    path.parent.mkdir()
    path.write_text("{}\n")
    with pytest.raises(StorageError, match="line 1"):
        Outbox(path)


class FullDisk:
    """A file on a disk with so many bytes left."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def fileno(self):
        return self.file.fileno()

    def truncate(self, size):
        return self.file.truncate(size)

    def write(self, data):
        if self.room == 0:
            raise OSError(28, "No space left on device")
        return self.file.write(data[: self.room])


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("room", [0, 40])
def test_a_full_disk_is_told_after_a_minute_and_leaves_the_file_whole(path, room, monkeypatch):
    outbox, clock = Outbox(path), Clock()
    outbox.append(OPERATIONS[:2])
    outbox._file = FullDisk(outbox._file, room)
    monkeypatch.setattr("interfero.store.files.time", clock)
    with pytest.raises(StorageError, match="free the disk"):
        outbox.append(OPERATIONS[2:])
    assert 50 < clock.now <= 60
    assert list(outbox) == OPERATIONS[:2]
    assert list(Outbox(path)) == OPERATIONS[:2]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "sweep").write_text("a file")
    with pytest.raises(StorageError, match="--storage"):
        Outbox(tmp_path / "sweep" / "outbox.jsonl")


def test_refused_operations_are_kept_with_the_reason(path):
    outbox = Outbox(path)
    outbox.append(OPERATIONS)
    outbox.refused('a "reason"')
    assert list(Outbox(path)) == OPERATIONS[1:]
    assert '"a \\"reason\\""' in outbox.refused_path.read_text()


def test_an_outbox_that_names_a_file_outside_the_storage_gives_nothing_away(place, tmp_path):
    """The file may come from anywhere: only what lies in the storage is sent to the server."""
    secret = tmp_path.parent / f"{tmp_path.name}-secret.txt"
    secret.write_text("secret")
    inside = tmp_path / "note.txt"
    inside.write_text("fine")
    around = place.outbox.parent / ".." / ".." / secret.name
    operations = [LogFile(key=None, path=str(path)) for path in (secret, around, inside)]
    outbox = Outbox(place.outbox)
    outbox.append(operations)
    outbox.close()
    tracker = place.open()
    tracker.close("FINISHED")
    names = {a.path for a in place.client.list_artifacts(place.parent.info.run_id)}
    assert names == {"note.txt", FIRST_FILE}
    assert tracker.num_refused == 2
    refused = place.outbox.with_name("outbox.jsonl.refused").read_text()
    assert str(secret) in refused
    assert f"is not in {tmp_path}" in refused
