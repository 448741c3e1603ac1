"""`interfero doctor` itself; what it checks has tests of its own."""

from pathlib import Path

import pytest

from interfero.cli.doctor import command
from interfero.cli.doctor.finding import Finding
from interfero.errors import ConfigError


@pytest.fixture
def examined(monkeypatch):
    """The folders that were examined."""
    folders = []

    def examine(address, storage):
        folders.append(storage)
        yield Finding("storage", "writable")

    monkeypatch.setattr(command, "examine", examine)
    return folders


@pytest.mark.parametrize("given", ["/srv/my sweeps", "file:///srv/my%20sweeps"])
def test_a_storage_is_read_as_a_sweep_reads_it(examined, given, capsys):
    command.doctor(storage=given)
    assert examined == [Path("/srv/my sweeps")]


@pytest.mark.parametrize(
    ("given", "remedy"),
    [("file://host/srv", "names an absolute path of this machine"), ("s3://bucket", "mount what s3://")],
)  # fmt: skip
def test_a_storage_that_a_sweep_refuses_is_refused_alike(examined, given, remedy):
    with pytest.raises(ConfigError, match=f"--storage '{given}': .*{remedy}"):
        command.doctor(storage=given)
    assert examined == []
