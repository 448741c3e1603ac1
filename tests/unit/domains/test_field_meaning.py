"""What fields' files state besides their numbers: masks, blanks, scales, several pictures, other orders."""

import io
import json
from collections import Counter

import numpy as np
import pytest
import tifffile
from PIL import Image

from interfero.domains.images import ImageRules, decode_image
from interfero.domains.pixel_meaning import MASKED
from interfero.domains.polygons import read_coco
from interfero.domains.readers.raw import SCALED
from interfero.errors import DomainError
from tests.unit.domains.field_files import HEIGHT, WIDTH, dicom_bytes, waves
from tests.unit.domains.test_field_readers import only, read


def masked_geotiff(path, values, mask):
    rasterio = pytest.importorskip("rasterio")
    height, width, bands = values.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=values.dtype,
            photometric="RGB" if bands == 3 else "MINISBLACK",
        ) as file,
    ):  # fmt: skip
        file.write(values.transpose(2, 0, 1))
        file.write_mask(mask)
    return path


def test_the_mask_page_of_a_geotiff_says_which_pixels_have_no_value(tmp_path):
    """GDAL_TIFF_INTERNAL_MASK: without it masked pixels pass for values."""
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:10] = 0
    image = only(masked_geotiff(tmp_path / "a.tif", waves(4), mask), "a.tif")
    assert np.array_equal(image.values_HWB, waves(4))
    assert np.array_equal(image.missing_HW, mask == 0)
    counts = Counter()
    values = waves(3, 255, np.uint8)
    plain = masked_geotiff(tmp_path / "b.tif", values, mask)
    assert np.array_equal(decode_image(plain, "b.tif", ImageRules(), counts), values)
    assert counts == {MASKED: 1}


def test_no_value_is_told_by_the_bands_that_are_taken():
    values = waves(3, 3000, np.int16)
    values[:2, :, 0] = -9999
    buffer = io.BytesIO()
    tags = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(
        buffer, values, photometric="minisblack", planarconfig="contig", extratags=tags
    )
    assert only(buffer.getvalue(), "a.tif", ":bands=1").missing_HW.sum() == 2 * WIDTH
    assert only(buffer.getvalue(), "a.tif", ":bands=2").missing_HW is None
    assert only(buffer.getvalue(), "a.tif").missing_HW is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_its_tag_says_declared_or_not(orientation):
    buffer = io.BytesIO()
    values = waves(3, 255, np.uint8)
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(buffer, values, photometric="rgb", extratags=tag)
    image = only(buffer.getvalue(), "a.tif")
    plain = decode_image(buffer.getvalue(), "a.tif", ImageRules(), Counter())
    assert np.array_equal(image.values_HWB, plain)
    assert image.orientation == orientation


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_blank_pixels_of_fits_have_no_value_signed_or_not(tmp_path, kind):
    """astropy drops BLANK of unsigned images, whose stored numbers are signed (BZERO = 32768)."""
    fits = pytest.importorskip("astropy.io.fits")
    values = waves(1, 4000)[:, :, 0].astype(kind)
    values[:3] = np.iinfo(kind).max
    unit = fits.PrimaryHDU(values)
    unit.header["BLANK"] = 32767
    unit.writeto(tmp_path / "a.fits")
    found = only(tmp_path / "a.fits", "a.fits").values_HWB[::-1, :, 0]
    assert np.isnan(found[:3]).all()
    assert np.array_equal(found[3:], values[3:])


def test_extensions_of_one_name_are_told_apart(tmp_path):
    """Cameras with two chips have SCI,1 and SCI,2: neither is left out unmentioned."""
    fits = pytest.importorskip("astropy.io.fits")
    chips = [waves(1, 4000, seed=i)[:, :, 0] for i in (1, 2)]
    units = [fits.ImageHDU(chip, name="SCI", ver=i + 1) for i, chip in enumerate(chips)]
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(tmp_path / "a.fits")
    with pytest.raises(DomainError, match=r"2 pictures \(SCI,1, SCI,2\).*array=SCI,1"):
        read(tmp_path / "a.fits", "a.fits")
    for i, chip in enumerate(chips):
        image = only(tmp_path / "a.fits", "a.fits", f":array=SCI,{i + 1}")
        assert np.array_equal(image.values_HWB[::-1, :, 0], chip)


def test_an_enhanced_scan_is_in_its_modality_values_frame_by_frame():
    """Slope and intercept lie in functional groups there, shared or of each frame."""
    pydicom = pytest.importorskip("pydicom")
    frames = np.stack([waves(1, 4000, seed=i)[:, :, 0] for i in range(2)])

    def group(intercept):
        rescaling = pydicom.Dataset()
        rescaling.RescaleSlope, rescaling.RescaleIntercept = 1, intercept
        found = pydicom.Dataset()
        found.PixelValueTransformationSequence = [rescaling]
        return found

    shared = dicom_bytes(frames, SharedFunctionalGroupsSequence=[group(-1024)])
    for image, frame in zip(read(shared, "a.dcm"), frames, strict=True):
        assert np.array_equal(image.values_HWB[:, :, 0], frame - 1024.0)
    own = dicom_bytes(frames, PerFrameFunctionalGroupsSequence=[group(-1), group(-2)])
    for i, image in enumerate(read(own, "a.dcm")):
        assert np.array_equal(image.values_HWB[:, :, 0], frames[i] - (i + 1.0))


def test_a_dicom_segmentation_is_no_picture():
    pytest.importorskip("pydicom")
    data = dicom_bytes(waves()[:, :, 0], SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    with pytest.raises(
        DomainError, match=r"a\.dcm is a DICOM segmentation, whose numbers are labels"
    ):
        read(data, "a.dcm")


@pytest.mark.parametrize("version", [2, 3])
def test_what_xarray_states_of_an_array_is_heeded_or_said(tmp_path, version):
    zarr = pytest.importorskip("zarr")
    values = waves(1, 4000)[:, :, 0].astype(np.int16)
    values[:5] = -1
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), data=values, zarr_format=version,
        attributes={"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -1},
    )  # fmt: skip
    assert array.shape == (HEIGHT, WIDTH)
    counts = Counter()
    image = only(tmp_path / "a.zarr", "a.zarr", counts=counts)
    assert counts == {SCALED: 1}
    assert np.array_equal(image.missing_HW, values == -1)


def test_a_level_that_an_ome_picture_lacks_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3)
    group.create_array("0", data=waves(1)[:, :, 0])
    scales = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": scales}
    assert only(tmp_path / "a.zarr", "a.zarr", ":level=0").values_HWB.shape == (HEIGHT, WIDTH, 1)
    with pytest.raises(DomainError, match="levels 0 to 0, level=1 is declared"):
        read(tmp_path / "a.zarr", "a.zarr", ":level=1")


def test_numbers_of_grey_pictures_are_those_in_the_file():
    """Pillow stretches a PGM of 0 to 4095 and a JPEG 2000 of 12 bits over 16 bits."""
    values = waves(1, 4095)[:, :, 0]
    pgm = f"P5 {WIDTH} {HEIGHT} 4095\n".encode() + values.astype(">u2").tobytes()
    assert np.array_equal(only(pgm, "a.pgm").values_HWB[:, :, 0], values)
    few = (values // 41).astype(np.uint8)
    pgm = f"P5 {WIDTH} {HEIGHT} 100\n".encode() + few.tobytes()
    assert np.array_equal(only(pgm, "a.pgm").values_HWB[:, :, 0], few)
    imagecodecs = pytest.importorskip("imagecodecs")
    coded = imagecodecs.jpeg2k_encode(values, bitspersample=12, reversible=True, level=0)
    assert np.array_equal(only(coded, "a.jp2").values_HWB[:, :, 0], values)
    deep = Image.fromarray(waves(1, 65535)[:, :, 0])
    buffer = io.BytesIO()
    deep.save(buffer, "JPEG2000", irreversible=False)
    assert np.array_equal(only(buffer.getvalue(), "a.jp2").values_HWB[:, :, 0], np.asarray(deep))


@pytest.mark.parametrize(
    "name", ["a_96x80_yuv444p.yuv", "a_96x80_422_10bit.yuv", "a_96x80.NV12.yuv"]
)
def test_raw_yuv_of_other_chroma_is_refused_by_its_name(name):
    """A frame of 4:4:4 is as long as two of 4:2:0."""
    with pytest.raises(DomainError, match=r"its name says .*yuv420p"):
        read(bytes(3 * WIDTH * HEIGHT), name)


def test_outlines_cover_the_pixels_whose_centres_they_hold_and_run_lengths_their_holes(tmp_path):
    """A square of COCO from 10 to 20 has 100 pixels; run lengths of one object are its class, not void."""
    ring = np.zeros((HEIGHT, WIDTH), bool)
    ring[40:60, 40:60] = True
    ring[45:55, 45:55] = False
    flat = np.concatenate([[False], ring.T.reshape(-1), [not ring[-1, -1]]])
    runs = np.diff(np.flatnonzero(np.diff(flat.astype(int))), prepend=0).tolist()
    runs[-1] = HEIGHT * WIDTH - sum(runs[:-1])
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    half = [v + 20.5 for v in square]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": i, "name": str(i)} for i in (1, 2, 3)],
        "annotations": [
            {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 100, "segmentation": [square]},
            {"image_id": 1, "category_id": 2, "iscrowd": 0, "segmentation": {"counts": runs}},
            {"image_id": 1, "category_id": 3, "area": 100, "segmentation": [half]},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    labels = read_coco("d", tmp_path / "a.json")[1]["a.png"].draw(
        (WIDTH, HEIGHT), tmp_path / "a.png"
    )
    expected = np.where(ring, 2, 0)
    expected[10:20, 10:20] = 1
    expected[30:40, 30:40] = 3
    assert np.array_equal(labels, expected)
    assert (labels == 1).sum() == (labels == 3).sum() == 100
