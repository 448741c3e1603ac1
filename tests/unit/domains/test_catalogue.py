"""From a specification to a domain, and back from a Parquet file."""

import numpy as np
import pytest
from PIL import Image

from interfero.domains import packaged, rendered
from interfero.domains.bundled import BUNDLED
from interfero.domains.catalogue import known_domains, load_domain
from interfero.domains.images import ImageRules
from interfero.domains.ingest import load_parquet
from interfero.domains.photographs import photographs
from interfero.domains.specs import DATA_VARIABLE
from interfero.errors import DomainError
from tests.parquet import write_parquet


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def write_images(folder, count=6, value=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(value + i).integers(0, 256, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i}.png")
    return folder


def test_two_sources_and_at_least_four_targets():
    roles = [d.role for d in BUNDLED.values()]
    assert {name for name, d in BUNDLED.items() if d.role == "source"} == {"photographs", "photos"}
    assert roles.count("target") >= 4
    assert all(len(d.description) < 60 and "\n" not in d.description for d in BUNDLED.values())


@pytest.mark.parametrize(
    "name", ["photographs", "photos", "histology", "fundus", "astronomy", "textures"]
)
def test_a_bundled_name_gives_the_domain_of_that_name(name):
    assert load_domain(name).name == name


def test_no_two_bundled_domains_share_an_image():
    loaders = (
        photographs,
        packaged.photos,
        packaged.histology,
        packaged.fundus,
        packaged.astronomy,
    )
    domains = [load() for load in (*loaders, packaged.textures)]
    digests = [{s.digest for s in d.train + d.test} for d in domains]
    assert len(set().union(*digests)) == sum(len(d) for d in digests)


def test_a_folder_by_name_and_path(tmp_path):
    domain = load_domain(f"thing={write_images(tmp_path / 'somewhere')}")
    assert domain.name == "thing"
    assert len(domain.train) + len(domain.test) == 6


def test_a_path_may_hold_an_equals_sign(tmp_path):
    folder = write_images(tmp_path / "scale=2")
    assert load_domain(f"thing={folder}").name == "thing"


def test_rules_reach_the_files(tmp_path):
    folder = write_images(tmp_path / "f")
    with pytest.raises(DomainError, match="under 75 pixels"):
        load_domain(f"thing={folder}", ImageRules(min_side=75))


def test_a_path_beats_a_bundled_name(tmp_path):
    domain = load_domain(f"text={write_images(tmp_path / 'f')}")
    assert len(domain.train) + len(domain.test) == 6


def test_the_data_folder_serves_names_that_are_not_bundled(tmp_path, monkeypatch):
    write_images(tmp_path / "street")
    write_images(tmp_path / "photos")
    (tmp_path / ".hidden").mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load_domain("street").name == "street"
    assert load_domain("photos").unit == "crops", "the bundled domain wins"
    assert known_domains() == (*BUNDLED, "street")


def test_without_the_variable_the_folder_is_unknown(tmp_path):
    write_images(tmp_path / "street")
    with pytest.raises(DomainError, match="no domain is called 'street'"):
        load_domain("street")


def test_a_data_variable_that_is_no_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DomainError, match=r"INTERFERO_DATA .*nowhere.*no folder"):
        load_domain("street")
    assert load_domain("histology").name == "histology"


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(DomainError, match=r"'histolgy': did you mean 'histology'\? known: .*text"):
        load_domain("histolgy")


@pytest.mark.parametrize("spec", ["", "=x", "a b", "a/b", "../up", ".", "..", "a:b=x", "ä", "a\n"])
def test_malformed_names_are_refused(spec):
    with pytest.raises(DomainError, match="letters, digits"):
        load_domain(spec)


def test_an_empty_path_is_refused():
    with pytest.raises(DomainError, match="path is empty; write thing=PATH"):
        load_domain("thing=")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere.parquet", "no*.parquet"])
def test_a_missing_path_is_named(tmp_path, missing):
    with pytest.raises(DomainError, match=r"there is no .*nowhere|there is no .*no\*"):
        load_domain(f"thing={tmp_path / missing}")


@pytest.mark.parametrize("name", ["link", "link.parquet"])
def test_a_link_that_points_nowhere_says_so(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(
        DomainError, match=r"link.* is a link to .*nowhere, which is not there"
    ) as e:
        load_domain(f"thing={tmp_path / name}")
    assert "pattern" not in str(e.value)


@pytest.mark.parametrize("name", ["text", "windows"])
def test_rendered_domains_have_as_many_images_as_are_wanted(name):
    domain = load_domain(name, num_images=56, data_seeds=(3,))
    subset = domain.split(56, 3).training
    assert len({s.digest for s in subset}) == 56
    assert len(domain.train) == rendered.NUM_TRAIN
    assert load_domain(name, num_images=domain.max_images).reserve == {}


def test_other_domains_have_what_they_have():
    domain = load_domain("histology", num_images=500)
    assert domain.reserve == {}
    with pytest.raises(DomainError, match=r"training crops beside .* asked for 500"):
        domain.split(500, 0)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(DomainError, match=r"a\.zip is neither a folder nor a \.parquet"):
        load_domain(f"thing={tmp_path / 'a.zip'}")
    with pytest.raises(DomainError, match=r"a\.zip, which is no \.parquet"):
        load_domain(f"thing={tmp_path / '*'}")


def test_parquet_by_file_folder_and_pattern(tmp_path):
    first = rendered.text(num_train=3, num_test=1)
    second = rendered.windows(num_train=2, num_test=2)
    write_parquet(first, tmp_path / "a.parquet")
    write_parquet(second, tmp_path / "b.parquet")
    (tmp_path / "README.md").touch()
    assert load_domain(f"x={tmp_path / 'a.parquet'}").fingerprint == first.fingerprint
    both = load_domain(f"x={tmp_path}")
    assert [s.name for s in both.train] == [s.name for s in first.train + second.train]
    assert load_domain(f"x={tmp_path / '?.parquet'}").fingerprint == both.fingerprint


@pytest.mark.parametrize("load", [packaged.photos, packaged.textures, packaged.histology])
def test_export_reads_back_to_the_same_fingerprint(tmp_path, load):
    domain = load()
    write_parquet(domain, tmp_path / "d.parquet")
    again = load_parquet("other", tmp_path / "d.parquet")
    assert again.fingerprint == domain.fingerprint
    assert [s.group for s in again.test] == [s.group for s in domain.test]
    assert [s.source_image for s in again.test] == [s.source_image for s in domain.test]
    assert again.unit == domain.unit == "crops"


def test_a_changed_pixel_changes_the_fingerprint(tmp_path):
    domain = rendered.text(num_train=2, num_test=1)
    pixels = domain.train[0].pixels_HWC.copy()
    pixels[3, 4, 1] ^= 1
    changed = type(domain)(
        domain.name,
        (type(domain.train[0])(domain.train[0].name, domain.train[0].group, pixels),
         domain.train[1]),
        domain.test,
    )  # fmt: skip
    write_parquet(changed, tmp_path / "d.parquet")
    assert load_parquet("t", tmp_path / "d.parquet").fingerprint != domain.fingerprint
