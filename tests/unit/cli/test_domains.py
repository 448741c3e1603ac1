"""`interfero domains` on a domain of deep files: notes, contact sheet, files."""

import numpy as np
import pytest
from PIL import Image

from interfero.cli.domains import domains
from interfero.errors import ConfigError, DomainError
from tests.unit.domains.field_files import waves


@pytest.fixture
def folder(tmp_path):
    for i in range(5):
        np.save(tmp_path / f"a{i}a.npy", waves(4, seed=i))
    return tmp_path


def test_it_shows_a_contact_sheet_and_what_was_decided(folder, capsys, tmp_path_factory):
    sheets = tmp_path_factory.mktemp("sheets")
    domains((f"d={folder}:bands=4,3,2",), files=True, sheet=sheets, pixel_range=(0, 4095))
    said = " ".join(capsys.readouterr().out.split())
    assert "bands=4,3,2" in said
    assert f"{sheets}/d.sheet.png: 5 images as the codec sees them" in said
    assert "a0a.npy: to be split; 96x80; array whose axes are taken for YXC by their sizes" in said
    assert Image.open(sheets / "d.sheet.png").size == (6 * 168, 168)


def test_it_writes_no_sheet_of_what_has_no_path_or_is_not_asked_for(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    domains(("textures",))
    domains((f"d={folder}:bands=1:range=0,9",), sheet=None)
    assert "sheet" not in capsys.readouterr().out
    domains((f"d={folder}:bands=1:range=0,9",))
    assert (
        "no contact sheet of d: in its own folder it would be an image" in capsys.readouterr().out
    )
    assert not list(folder.glob("*.png"))


def test_corrupted_domains_are_named_and_shown(tmp_path, capsys):
    domains()
    assert "photographs.fog-3" in " ".join(capsys.readouterr().out.split())
    domains(("photos.contrast",), sheet=tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        f"photos.contrast-{severity}.sheet.png" for severity in range(1, 6)
    }


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(ConfigError, match="give one of them"):
        domains((f"d={folder}",), pixel_range=(0, 1), window=(3, 4))
    with pytest.raises(DomainError, match=r"a0a.npy has 4 bands and the codec 3 channels"):
        domains((f"d={folder}",), sheet=None)
