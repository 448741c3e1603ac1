"""Domains of deep and banded files: what is declared, what becomes of it; plain ones stay as they were."""

import io
import pickle
import tarfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import tifffile
from PIL import Image

from interfero.domains.catalogue import decided, load_domain
from interfero.domains.contact_sheet import contact_sheet
from interfero.domains.images import ImageRules
from interfero.domains.labelled_catalogue import load_labelled
from interfero.domains.mapped_values import squared_error
from interfero.domains.memory import MemoryBudget
from interfero.domains.pixel_mapping import NOTHING_DECLARED, PixelMapping, parse_mapping
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.domains.specs import DATA_VARIABLE, split_spec
from interfero.errors import DomainError
from interfero.store.content import CACHE_VARIABLE
from tests.unit.domains.field_files import dicom_bytes, expected_levels, waves


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def write_tiffs(folder, count=8, bands=4, top=4000):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        tifffile.imwrite(
            folder / f"scene{i}s.tif", waves(bands, top, seed=i).squeeze(), photometric="minisblack",
            planarconfig="contig" if bands > 1 else None,
        )  # fmt: skip
    return folder


def write_pngs(folder, count=6):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(waves(3, 255, np.uint8, seed=i)).save(folder / f"p{i}p.png")
    return folder


def test_what_is_declared_behind_a_path(tmp_path):
    name, path, mapping = split_spec(f"sat={tmp_path}:bands=4,3,2:range=-1.5,4095:frames=3")
    assert (name, path) == ("sat", tmp_path)
    assert mapping == PixelMapping(bands=(4, 3, 2), pixel_range=(-1.5, 4095), frames=3)
    assert mapping.text == "bands=4,3,2 range=-1.5,4095 frames=3"
    assert split_spec("text").mapping is NOTHING_DECLARED
    assert NOTHING_DECLARED.text == ""
    odd = tmp_path / "a:bands=1"
    odd.mkdir()
    assert split_spec(f"sat={odd}") == ("sat", odd, NOTHING_DECLARED)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (":band=1", "no word 'band': did you mean 'bands'"),
        (":bands=a", "write it as bands=4,3,2"),
        (":bands=0", "bands count from 1"),
        (":range=1", "write it as range=0,4095"),
        (":range=7,7", "two values, got 7 twice"),
        (":window=40,0", "a width above 0"),
        (":range=0,9:window=4,4", "give one of them"),
        (":range=0,9:range=0,8", "declared twice"),
        (":percentiles=98,2", "the smaller first"),
        (":range=0,inf", "must be finite"),
        (":axes=XZ", "Y and X among them"),
        (":frames=0", "1 or more"),
        (":array=", "write it as array=SCI"),
    ],
)
def test_what_cannot_be_declared_is_refused_with_the_remedy(words, said):
    with pytest.raises(DomainError, match=f"domain 'sat': .*{said}"):
        parse_mapping("sat", words)


def test_a_domain_says_more_than_the_options_and_goes_before_them():
    options = PixelMapping(bands=(1,), pixel_range=(0, 10), frames=4)
    own = parse_mapping("d", ":window=40,400")
    assert own.over(options) == PixelMapping(bands=(1,), window=(40, 400), frames=4)
    assert NOTHING_DECLARED.over(options) == options
    assert own.over(NOTHING_DECLARED) == own


def test_a_domain_of_16_bits_is_refused_by_name_until_its_range_is_declared(tmp_path):
    folder = write_tiffs(tmp_path / "a", bands=3)
    with pytest.raises(
        DomainError, match=r"scene0s.tif is a TIFF of 3 bands of uint16.*range=LOW,HIGH"
    ):
        load_domain(f"sat={folder}")
    domain = load_domain(f"sat={folder}:range=0,4095")
    assert len(domain.train) + len(domain.test) == 8
    assert domain.mapping == "range=0,4095"
    assert domain.notes[0] == "values become pixels by range=0,4095"
    for sample in (*domain.train, *domain.test):
        values = waves(3, 4000, seed=int(sample.name[5]))
        exact = expected_levels(values, 0, 4095)
        assert np.abs(sample.pixels_HWC - exact).max() <= 0.51
        assert squared_error(
            sample.pixels_HWC, sample.pixels_HWC, sample.fine_HWC
        ) == pytest.approx(np.mean((sample.pixels_HWC - exact) ** 2), abs=1e-3)


def test_options_hold_for_domains_that_declare_nothing_themselves(tmp_path):
    folder = write_tiffs(tmp_path / "a")
    rules = ImageRules(mapping=PixelMapping(bands=(3, 2, 1), pixel_range=(0, 4095)))
    by_options = load_domain(f"sat={folder}", rules)
    by_words = load_domain(f"sat={folder}:bands=3,2,1:range=0,4095")
    assert by_options.fingerprint == by_words.fingerprint
    assert load_domain(f"sat={folder}:bands=4,2,1", rules).mapping == "bands=4,2,1 range=0,4095"
    assert load_domain("textures", rules).fingerprint == load_domain("textures").fingerprint


def test_what_is_declared_is_part_of_the_fingerprint_and_nothing_else_is(tmp_path):
    folder = write_pngs(tmp_path / "a")
    plain = load_domain(f"d={folder}")
    assert plain.mapping == ""
    declared = load_domain(f"d={folder}:range=0,255")
    pixels = [sorted(s.digest for s in (*d.train, *d.test)) for d in (plain, declared)]
    assert pixels[0] == pixels[1]
    assert plain.fingerprint != declared.fingerprint
    assert declared.fingerprint == load_domain(f"d={folder}:range=0,255").fingerprint
    with pytest.raises(DomainError, match=r"p0p.png holds uint8 .*range ends at 4095"):
        load_domain(f"d={folder}", ImageRules(mapping=PixelMapping(pixel_range=(0, 4095))))


def test_files_of_fields_next_to_pictures_are_left_out_as_before(tmp_path):
    folder = write_pngs(tmp_path / "a")
    before = load_domain(f"d={folder}").fingerprint
    np.save(folder / "features.npy", waves())
    after = load_domain(f"d={folder}")
    assert after.fingerprint == before
    assert "left out: 1 other file (of .npy)" in after.notes


def test_a_folder_of_8_bit_arrays_needs_nothing_declared(tmp_path):
    for i in range(5):
        np.save(tmp_path / f"a{i}a.npy", waves(3, 255, np.uint8, seed=i))
    domain = load_domain(f"d={tmp_path}")
    assert domain.mapping == ""
    assert all(s.fine_HWC is None for s in domain.train)
    np.save(tmp_path / "deep.npy", waves(3))
    with pytest.raises(DomainError, match=r"deep.npy holds uint16 values .*range=LOW,HIGH"):
        load_domain(f"d={tmp_path}")


def test_percentiles_come_from_training_images_and_are_recorded(tmp_path):
    write_tiffs(tmp_path / "train", 5, top=1000)
    write_tiffs(tmp_path / "test", 4, top=60000)
    spec = f"d={tmp_path}:percentiles=2,98:bands=4,1,2"
    domain = load_domain(spec)
    values = np.concatenate([waves(4, 1000, seed=i).reshape(-1, 4) for i in range(5)])
    for band, ends in zip((3, 0, 1), domain.mapping.partition("(")[2][:-1].split(" "), strict=True):
        assert list(map(float, ends.split(","))) == pytest.approx(
            np.percentile(values[:, band], (2, 98)), abs=2
        )
    assert domain.fingerprint == load_domain(spec).fingerprint
    write_tiffs(tmp_path / "test", 4, top=50000)
    assert load_domain(spec).mapping == domain.mapping


def test_percentiles_of_a_folder_that_is_split_here_leave_its_test_images_out(tmp_path):
    folder = write_tiffs(tmp_path / "a", 8, bands=1)
    chosen = load_domain(f"d={folder}:percentiles=0,100")
    for sample in chosen.test:
        number = int(sample.name[5])
        tifffile.imwrite(folder / sample.name, waves(1, 60000, seed=number)[:, :, 0])
    again = load_domain(f"d={folder}:percentiles=0,100")
    assert {s.name for s in again.test} == {s.name for s in chosen.test}
    assert again.mapping == chosen.mapping
    assert again.fingerprint != chosen.fingerprint


def test_mapped_files_and_travelling_domains_hold_the_same(tmp_path):
    spec = f"d={write_tiffs(tmp_path / 'a')}:bands=4,3,2:range=0,4095"
    held = load_domain(spec)
    for mapped in (load_domain(spec, budget=MemoryBudget(0)) for _ in range(2)):
        assert mapped.fingerprint == held.fingerprint
        for a, b in zip(held.train, pickle.loads(pickle.dumps(mapped.train)), strict=True):
            assert np.array_equal(a.pixels_HWC, b.pixels_HWC)
            assert np.array_equal(a.fine_HWC, b.fine_HWC)
    path = tmp_path / "travelled"
    path.write_bytes(b"".join(domain_blocks(held)))
    travelled = read_domain_file(path)
    assert (travelled.fingerprint, travelled.mapping) == (held.fingerprint, held.mapping)
    assert all(
        np.array_equal(a.fine_HWC, b.fine_HWC)
        for a, b in zip(held.test, travelled.test, strict=True)
    )


def test_frames_of_one_file_lie_in_one_split(tmp_path):
    for i in range(5):
        np.save(
            tmp_path / f"stack{i}s.npy",
            np.stack([waves(1, seed=i + j / 9)[:, :, 0] for j in range(40)]),
        )
    domain = load_domain(f"d={tmp_path}:axes=NYX:range=0,4000:frames=4")
    assert len(domain.train) + len(domain.test) == 20
    assert domain.unit == "crops"
    assert {s.name.partition("#")[0] for s in domain.train}.isdisjoint(
        {s.name.partition("#")[0] for s in domain.test}
    )
    assert "180 x further slice, frame or region left out (frames=N takes more)" in domain.notes


def test_scans_of_one_patient_lie_in_one_split(tmp_path):
    pytest.importorskip("pydicom")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(4):
            scan = dicom_bytes(
                waves(seed=i + 9 * (split == "test"))[:, :, 0], patient=f"{split}{i // 2}"
            )
            # As scanners export them: without a suffix, or with the end of an identifier as one.
            (tmp_path / split / ("IM1" if i == 1 else f"1.2.840.{i}")).write_bytes(scan)
    domain = load_domain(f"d={tmp_path}:window=2000,4000")
    assert len({s.group for s in domain.train}) == 2
    scan = dicom_bytes(waves(seed=77)[:, :, 0], patient="train0")
    (tmp_path / "test" / "again.dcm").write_bytes(scan)
    with pytest.raises(DomainError, match="is in train and in test; move all images"):
        load_domain(f"d={tmp_path}:window=2000,4000")


def test_label_maps_of_nnu_net_are_no_pictures(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for folder, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        (tmp_path / folder).mkdir()
        for i in range(4):
            volume = nibabel.Nifti1Image(waves(3, seed=i, dtype=np.int16), np.eye(4))
            nibabel.save(volume, tmp_path / folder / f"case{i}{end}.nii.gz")
    domain = load_domain(f"d={tmp_path}:range=0,4000")
    assert all(s.name.startswith("imagesTr/") for s in (*domain.train, *domain.test))
    assert any("4 label maps" in note or "left out: 4" in note for note in domain.notes)


def test_a_changed_chunk_of_a_zarr_array_is_noticed(tmp_path):
    zarr = pytest.importorskip("zarr")
    for i in range(4):
        array = zarr.create_array(
            str(tmp_path / f"a{i}a.zarr"), shape=(80, 96), chunks=(80, 96), dtype="u1"
        )
        array[:] = waves(1, 255, np.uint8, seed=i)[:, :, 0]
    first = load_domain(f"d={tmp_path}", budget=MemoryBudget(0))
    assert len(first.train) + len(first.test) == 4
    array[:] = waves(1, 255, np.uint8, seed=50)[:, :, 0]
    assert load_domain(f"d={tmp_path}", budget=MemoryBudget(0)).fingerprint != first.fingerprint


def png(seed):
    buffer = io.BytesIO()
    Image.fromarray(waves(3, 255, np.uint8, seed=seed)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def test_shards_of_webdataset(tmp_path):
    for shard, split in enumerate(("train-000000", "train-000001", "test-000000")):
        members = [
            (f"d/{shard}{i}a.{kind}", png(10 * shard + i) if kind == "png" else b"{}")
            for i in range(4)
            for kind in ("png", "json")
        ]
        write_tar(tmp_path / f"{split}.tar", members)
    for spec in (f"d={tmp_path}", f"d={tmp_path}/*.tar"):
        domain = load_domain(spec)
        assert (len(domain.train), len(domain.test)) == (8, 4)
    assert domain.train[0].name.startswith("d/0")
    assert "left out: 12 other members (.json 12)" in domain.notes
    assert load_domain(spec, budget=MemoryBudget(0)).fingerprint == domain.fingerprint
    webdataset = pytest.importorskip("webdataset")
    theirs = webdataset.WebDataset(str(tmp_path / "train-000000.tar"), shardshuffle=False)
    assert [f"{s['__key__']}.png" for s in theirs] == [s.name for s in domain.train[:4]]


def test_a_sample_of_webdataset_with_two_pictures_is_refused_until_one_is_named(tmp_path):
    members = [
        (f"{i}a.{kind}", png(i + 50 * (kind == "seg.png")))
        for i in range(5)
        for kind in ("png", "webp")
    ]
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DomainError, match=r"'0a' in .*a.tar has .png, .webp.*array=png"):
        load_domain(f"d={tmp_path / 'a.tar'}")
    domain = load_domain(f"d={tmp_path / 'a.tar'}:array=png")
    assert domain.mapping == ""
    assert len(domain.train) + len(domain.test) == 5
    (tmp_path / "b.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(DomainError, match=r"b.tar cannot be read as an uncompressed tar"):
        load_domain(f"d={tmp_path / 'b.tar'}")


def test_keys_that_shards_share_are_told_apart(tmp_path):
    for shard in range(2):
        write_tar(
            tmp_path / f"s{shard}.tar", [(f"{i}a.png", png(10 * shard + i)) for i in range(3)]
        )
    domain = load_domain(f"d={tmp_path}")
    assert len({s.name for s in (*domain.train, *domain.test)}) == 6
    assert "shards share keys: images are named by shard and key" in domain.notes


def test_parquet_of_deep_files_and_of_paths_alone(tmp_path):
    rows = []
    for i in range(6):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, waves(3, seed=i), photometric="rgb")
        rows.append({"image": {"bytes": buffer.getvalue(), "path": f"{i}.tif"}})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    domain = load_domain(f"d={tmp_path / 'a.parquet'}:range=0,4000")
    assert len(domain.train) + len(domain.test) == 6
    assert domain.train[0].fine_HWC is not None
    rows = [{"image": {"bytes": None, "path": "x/1.png"}}] * 3
    schema = pyarrow.schema(
        [("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))]
    )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), tmp_path / "b.parquet")
    with pytest.raises(DomainError, match=r"holds the path 'x/1.png' and no bytes"):
        load_domain(f"d={tmp_path / 'b.parquet'}")


def labelled_scenes(root, bands=4):
    """16-bit scenes of several bands, and of each an 8-bit label map: class 1 where columns are past 48."""
    labels = np.tile((np.arange(96) > 48).astype(np.uint8), (80, 1))
    for part, first, count in (("train", 0, 4), ("val", 4, 2), ("test", 6, 2)):
        for i in range(first, first + count):
            for folder in ("images", "labels"):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
            values = waves(bands, 4000, seed=i)
            tifffile.imwrite(
                root / part / "images" / f"s{i}s.tif", values, photometric="minisblack",
                planarconfig="contig",
            )  # fmt: skip
            Image.fromarray(labels).save(root / part / "labels" / f"s{i}s.png")
    return root


def test_images_of_a_labelled_domain_are_mapped_and_their_label_maps_are_not(tmp_path):
    root = labelled_scenes(tmp_path / "a")
    with pytest.raises(DomainError, match=r"s\ds.tif.* declare .*bands=3,2,1.*range=LOW,HIGH"):
        load_labelled(f"d={root}")
    domain = load_labelled(f"d={root}:bands=4,3,2:range=0,4095")
    assert (len(domain.train), len(domain.restoration), len(domain.test)) == (4, 2, 2)
    first = domain.train[0]
    expected = expected_levels(waves(4, 4000, seed=int(first.name[1])), 0, 4095)[:, :, [3, 2, 1]]
    assert np.abs(first.pixels_HWC - expected).max() < 0.51
    assert first.labels_HW[0].tolist() == [0] * 49 + [1] * 47
    assert first.fine_HWC is None
    assert any("values become pixels by bands=4,3,2 range=0,4095" in n for n in domain.notes)
    cut = load_labelled(f"d={root}:bands=4,3,2:range=0,4095", max_side=64)
    again = next(s for s in cut.train if s.name == first.name)
    assert np.array_equal(again.pixels_HWC, first.pixels_HWC[8:72, 16:80])
    assert np.array_equal(again.labels_HW, first.labels_HW[8:72, 16:80])


def test_percentiles_of_a_labelled_domain_are_of_its_training_images(tmp_path):
    root = labelled_scenes(tmp_path / "a")
    domain = load_labelled(f"d={root}:bands=1:percentiles=0,100")
    values = np.stack([waves(4, 4000, seed=i)[:, :, 0] for i in range(4)])
    assert f"bands=1 percentiles=0,100 ({values.min()},{values.max()})" in str(domain.notes)
    tifffile.imwrite(root / "test/images/s6s.tif", np.full((80, 96, 4), 9999, np.uint16))
    assert (
        load_labelled(f"d={root}:bands=1:percentiles=0,100").train[0].digest
        == domain.train[0].digest
    )


def test_a_labelled_image_is_one_image_and_upright(tmp_path):
    root = labelled_scenes(tmp_path / "a")
    path = root / "train/images/s0s.tif"
    tifffile.imwrite(path, np.stack([waves(1)[:, :, 0]] * 2), photometric="minisblack")
    for words in ("range=0,4095", "range=0,4095:frames=1"):
        with pytest.raises(DomainError, match=r"s0s.tif holds 2 images, its label map is of one"):
            load_labelled(f"d={root}:bands=1:{words}")
    tifffile.imwrite(
        path, waves(1)[:, :, 0], photometric="minisblack", extratags=[(274, "H", 1, 6, True)]
    )
    with pytest.raises(DomainError, match=r"s0s.tif is stored turned \(EXIF orientation 6\)"):
        load_labelled(f"d={root}:bands=1:range=0,4095")


def test_arrays_are_images_of_labelled_domains(tmp_path):
    root = labelled_scenes(tmp_path / "a")
    for path in sorted(root.glob("*/images/*.tif")):
        np.save(path.with_suffix(".npy"), tifffile.imread(path))
        path.unlink()
    domain = load_labelled(f"d={root}:bands=1,2,3:range=0,4095")
    expected = expected_levels(waves(4, 4000, seed=0), 0, 4095)[:, :, :3]
    assert np.abs(domain.train[0].pixels_HWC - expected).max() < 0.51


def test_what_was_decided_file_by_file(tmp_path):
    folder = write_tiffs(tmp_path / "a", 4, bands=1)
    tifffile.imwrite(folder / "small.tif", waves(height=20)[:, :, 0])
    lines = list(decided(f"d={folder}:range=0,3000", ImageRules()))
    assert len(lines) == 5
    assert lines[0].startswith("scene0s.tif: to be split; 96x80; image with values outside")
    assert lines[4] == "small.tif: to be split; 96x20 is under 64 pixels a side"


def test_a_contact_sheet_shows_all_images_and_frames_those_for_test(tmp_path):
    domain = load_domain(f"d={write_tiffs(tmp_path / 'a')}:bands=1,2,3:range=0,4000")
    sheet, count = contact_sheet(domain)
    assert count == 8
    assert sheet.size == (6 * 168, 2 * 168)
    tile = np.asarray(sheet)[168 + 4 + 60, 168 + 4 + 60]
    assert np.asarray(sheet)[169, 169].tolist() == [200, 60, 40]
    assert tile.tolist() != [255, 255, 255]
