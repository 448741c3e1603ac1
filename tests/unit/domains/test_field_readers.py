"""Each reader, on files that its field's own library wrote: numbers, axes, order and refusals."""

import io
import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from interfero.domains.images import ImageRules, SkippedImageError
from interfero.domains.mapped_values import CLIPPED, GREY, MISSING, map_values
from interfero.domains.pixel_mapping import _FIELDS, NOTHING_DECLARED, PixelMapping, parse_mapping
from interfero.domains.readers.raw import LEFT_OUT
from interfero.domains.readers.table import READERS, read_raw, suffix_of
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.errors import DomainError
from tests.unit.domains.field_files import (
    HEIGHT,
    WIDTH,
    dicom_bytes,
    expected_levels,
    waves,
    write_geotiff,
)


def read(data, label="f/a.x", words="", counts=None):
    mapping = parse_mapping("d", words) if words else NOTHING_DECLARED
    return list(read_raw(data, label, mapping, Counter() if counts is None else counts))


def only(data, label="f/a.x", words="", counts=None):
    (image,) = read(data, label, words, counts)
    return image


def test_suffixes_are_unique_and_compound_ones_are_known():
    suffixes = [s for r in READERS for s in r.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert suffix_of("a/b.c/Brain.NII.gz") == ".nii.gz"
    assert suffix_of("scan.1.2.840") == suffix_of("README") == suffix_of("x.nii/plain") == ""


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint8"])
@pytest.mark.parametrize("options", [{}, {"interleave": "band"}, {"compress": "deflate"}], ids=str)
def test_every_band_of_a_geotiff_in_its_order(tmp_path, dtype, options):
    pytest.importorskip("rasterio")
    values = waves(4, 250, dtype)
    write_geotiff(tmp_path / "a.tif", values, **options)
    for data in (tmp_path / "a.tif", (tmp_path / "a.tif").read_bytes()):
        assert np.array_equal(only(data, "a.tif").values_HWB, values)


def test_a_geotiff_says_which_pixels_have_no_value(tmp_path):
    pytest.importorskip("rasterio")
    values = waves(3, 3000, np.int16)
    values[:9] = -9999
    write_geotiff(tmp_path / "a.tif", values, nodata=-9999)
    assert np.array_equal(
        only(tmp_path / "a.tif").missing_HW, np.arange(HEIGHT)[:, None] < np.full((1, WIDTH), 9)
    )


def test_pages_of_a_tiff_are_frames_and_white_is_zero_is_turned():
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.stack([waves(seed=i)[:, :, 0] for i in range(5)]), photometric="minisblack"
    )
    counts = Counter()
    found = read(buffer.getvalue(), "a.tif", ":frames=2", counts)
    assert [image.place for image in found] == ["1", "3"]
    assert np.array_equal(found[1].values_HWB, waves(seed=3))
    assert counts == {LEFT_OUT: 3}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, waves()[:, :, 0], photometric="miniswhite")
    assert only(buffer.getvalue()).low_is_white


def test_axes_of_a_tiff_can_be_declared():
    buffer = io.BytesIO()
    # Without planarconfig, tifffile takes bands for the width of 80 pages.
    tifffile.imwrite(buffer, waves(4), photometric="minisblack")
    assert np.array_equal(only(buffer.getvalue(), "a.tif", ":axes=yxc").values_HWB, waves(4))


def test_a_tiff_of_numbers_that_are_no_bands_is_refused():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, waves(4, 255, np.uint8), photometric="separated")
    with pytest.raises(DomainError, match="separated values, which are no bands"):
        read(buffer.getvalue(), "a.tif")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_of_16_bits_keeps_all_of_them(channels):
    imagecodecs = pytest.importorskip("imagecodecs")
    values = waves(channels, 65535)
    data = imagecodecs.png_encode(values if channels > 1 else values[:, :, 0])
    assert np.array_equal(only(data).values_HWB, values)


def test_a_picture_is_turned_as_its_exif_data_say():
    pixels = waves(3, 255, np.uint8)
    for orientation in range(1, 9):
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
        from interfero.domains.images import decode_image

        upright = decode_image(buffer.getvalue(), "a", ImageRules(), Counter())
        assert np.array_equal(only(buffer.getvalue()).values_HWB, upright)


@pytest.mark.parametrize(
    ("axes", "order"), [("YXC", (0, 1, 2)), ("CYX", (2, 0, 1))], ids=["last", "first"]
)
def test_bands_of_an_array_are_the_short_axis(tmp_path, axes, order):
    values, counts = waves(5), Counter()
    np.save(tmp_path / "a.npy", values.transpose(order))
    assert np.array_equal(only(tmp_path / "a.npy", "a.npy", "", counts).values_HWB, values)
    assert any(f"taken for {axes}" in line for line in counts)


def test_axes_that_sizes_do_not_tell_have_to_be_declared(tmp_path):
    stack = np.stack([waves(seed=i)[:, :, 0] for i in range(40)])
    np.save(tmp_path / "a.npy", stack)
    with pytest.raises(DomainError, match=r"a.npy has the shape \(40, 80, 96\).*axes=NYX"):
        read(tmp_path / "a.npy", "a.npy")
    found = read(tmp_path / "a.npy", "a.npy", ":axes=nyx:frames=40")
    assert len(found) == 40
    assert np.array_equal(found[7].values_HWB[:, :, 0], stack[7])
    with pytest.raises(DomainError, match="axes=YX names 2 axes"):
        read(tmp_path / "a.npy", "a.npy", ":axes=YX")


def test_one_array_of_several_has_to_be_named_and_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", image=waves(), mask=waves(1, 2))
    with pytest.raises(DomainError, match=r"2 arrays \(image, mask\).*array=image"):
        read(tmp_path / "a.npz", "a.npz")
    found = only((tmp_path / "a.npz").read_bytes(), "a.npz", ":array=image")
    assert np.array_equal(found.values_HWB, waves())
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SkippedImageError, match=r"p.npy: cannot be read as a NumPy array"):
        read(tmp_path / "p.npy", "p.npy")


def test_a_scan_has_its_modality_values_and_its_patient():
    pytest.importorskip("pydicom")
    stored = waves(1, 4000, np.uint16)[:, :, 0]
    data = dicom_bytes(stored, RescaleSlope="2", RescaleIntercept="-1024", patient="Jane Doe")
    image = only(data)
    assert np.array_equal(image.values_HWB[:, :, 0], stored * 2.0 - 1024)
    assert image.group.startswith("patient-")
    assert "Jane" not in image.group
    assert image.group == only(dicom_bytes(stored, patient="Jane Doe")).group
    assert image.group != only(dicom_bytes(stored, patient="Joan Doe")).group


def test_a_scan_in_which_low_is_white_is_shown_as_radiologists_see_it():
    pytest.importorskip("pydicom")
    stored = waves(1, 4095, np.uint16)[:, :, 0]
    rules = ImageRules(mapping=PixelMapping(pixel_range=(0, 4095)))
    light, dark = (
        map_values(only(dicom_bytes(stored, kind)), "a", rules, Counter())[0].astype(int)
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    assert np.abs(light + dark - 255).max() <= 1
    assert np.abs(light[:, :, 0] - expected_levels(stored, 0, 4095)).max() <= 0.51


def test_frames_and_padding_of_a_scan():
    pytest.importorskip("pydicom")
    frames = np.stack([waves(seed=i, dtype=np.int16)[:, :, 0] for i in range(3)])
    frames[:, :5] = -2000
    counts = Counter()
    found = read(dicom_bytes(frames, PixelPaddingValue=-2000), "a.dcm", ":frames=1", counts)
    assert [image.place for image in found] == ["1"]
    assert counts == {LEFT_OUT: 2}
    assert found[0].missing_HW[:5].all()
    assert not found[0].missing_HW[5:].any()


def test_a_dicom_file_without_pixels_is_refused():
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.dcmread(io.BytesIO(dicom_bytes(waves()[:, :, 0])))
    del file.PixelData
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    with pytest.raises(DomainError, match=r"a.dcm is a DICOM file without pixels"):
        read(buffer.getvalue(), "a.dcm")


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SRA", "ALI"])
def test_slices_of_a_volume_lie_upright_however_it_was_stored(tmp_path, axes):
    nibabel = pytest.importorskip("nibabel")
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    body_RAS = np.stack([waves(seed=i, dtype=np.int16)[:, :, 0] for i in range(4)], axis=2)
    there = nibabel.Nifti1Image(body_RAS, np.eye(4))
    turn = ornt_transform(io_orientation(there.affine), axcodes2ornt(axes))
    stored = there.as_reoriented(turn)
    stored.header.set_slope_inter(2.0, -1000)
    nibabel.save(stored, tmp_path / "v.nii.gz")
    found = read(tmp_path / "v.nii.gz", "v.nii.gz")
    assert len(found) == 4
    for height, image in enumerate(found):
        # Anterior at the top, right on the right.
        expected = body_RAS[:, :, height].T[::-1] * 2.0 - 1000
        assert np.array_equal(image.values_HWB[:, :, 0], expected)


def test_of_a_series_of_volumes_the_first_is_taken_and_colours_are_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    series = np.stack([waves(70, seed=i, dtype=np.int16) for i in range(3)], axis=3)
    counts = Counter()
    nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), tmp_path / "v.nii")
    found = read(tmp_path / "v.nii", "v.nii", ":frames=2", counts)
    assert np.array_equal(found[0].values_HWB[:, :, 0], series[:, :, 17, 0].T[::-1])
    assert counts["further volume of a series left out"] == 2
    assert counts[LEFT_OUT] == 68


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint8"])
def test_fits_in_physical_values_with_its_first_row_at_the_bottom(tmp_path, dtype):
    fits = pytest.importorskip("astropy.io.fits")
    values = waves(1, 250, dtype)[:, :, 0]
    fits.PrimaryHDU(values).writeto(tmp_path / "a.fits")
    image = only(tmp_path / "a.fits", "a.fits")
    assert np.array_equal(image.values_HWB[:, :, 0], values[::-1])
    assert image.values_HWB.dtype.isnative


def test_the_extension_of_a_fits_file_is_found_or_asked_for(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    first, second = (waves(seed=i)[:, :, 0] for i in range(2))
    units = [
        fits.PrimaryHDU(),
        fits.CompImageHDU(first, name="SCI"),
        fits.ImageHDU(second, name="ERR"),
    ]
    fits.HDUList(units[:2]).writeto(tmp_path / "a.fits")
    assert np.array_equal(only(tmp_path / "a.fits").values_HWB[::-1, :, 0], first)
    fits.HDUList(units).writeto(tmp_path / "b.fits")
    with pytest.raises(DomainError, match=r"2 pictures \(SCI, ERR\)"):
        read(tmp_path / "b.fits", "b.fits")
    found = only((tmp_path / "b.fits").read_bytes(), "b.fits", ":array=ERR")
    assert np.array_equal(found.values_HWB[::-1, :, 0], second)
    fits.HDUList(units[:1]).writeto(tmp_path / "c.fits")
    with pytest.raises(DomainError, match="without a picture"):
        read(tmp_path / "c.fits", "c.fits")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_arrays_and_ome_pictures(tmp_path, version):
    zarr = pytest.importorskip("zarr")
    values = waves(3)
    place = tmp_path / "a.zarr"
    array = zarr.create_array(
        str(place), shape=values.shape, chunks=(40, 96, 1), dtype=">u2", zarr_format=version
    )
    array[:] = values
    assert np.array_equal(only(place, "a.zarr").values_HWB, values)
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w", zarr_format=version)
    for path, step in (("0", 1), ("1", 2)):
        level = values[::step, ::step].transpose(2, 0, 1)[None]
        group.create_array(path, shape=level.shape, chunks=level.shape, dtype="u2")[:] = level
    with pytest.raises(DomainError, match=r"2 arrays \(0, 1\)"):
        read(tmp_path / "g.zarr", "g.zarr")
    scales = [{"axes": [{"name": n} for n in "tcyx"], "datasets": [{"path": "0"}, {"path": "1"}]}]
    group.attrs.update(
        {"multiscales": scales} if version == 2 else {"ome": {"multiscales": scales}}
    )
    assert np.array_equal(only(tmp_path / "g.zarr").values_HWB, values)
    halved = only(tmp_path / "g.zarr", "g.zarr", ":level=1")
    assert np.array_equal(halved.values_HWB, values[::2, ::2])


def stained(height, width):
    """A pink disc on white glass."""
    y, x = np.mgrid[0:height, 0:width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 2.2) ** 2
    pixels = np.full((height, width, 3), 240, np.uint8)
    pixels[inside] = waves(3, 60, np.uint8, height=height, width=width)[inside] + np.uint8(
        [180, 60, 120]
    )
    return pixels


def test_regions_of_a_slide_show_tissue(tmp_path):
    pytest.importorskip("openslide")
    slide = stained(2560, 2560)
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        options = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate"}
        file.write(slide, **options)
        file.write(slide[::2, ::2], subfiletype=1, **options)
    counts = Counter()
    found = read(tmp_path / "s.tif", "s.tif", ":level=0:frames=4", counts)
    assert [image.values_HWB.shape for image in found] == [(512, 512, 3)] * 4
    for image in found:
        column, row = (512 * int(n) for n in image.place.split("x"))
        assert np.array_equal(image.values_HWB, slide[row : row + 512, column : column + 512])
    assert counts["region of glass without tissue left out"] >= 4
    halved = read(tmp_path / "s.tif", "s.tif", ":level=1:frames=1")
    column, row = (1024 * int(n) for n in halved[0].place.split("x"))
    assert np.array_equal(
        halved[0].values_HWB, slide[row : row + 1024 : 2, column : column + 1024 : 2]
    )
    with pytest.raises(DomainError, match="has the levels 0 to 1, level=2"):
        read(tmp_path / "s.tif", "s.tif", ":level=2")


def yuv_of(pixels, is_full=False):
    """One 8-bit 4:2:0 frame of BT.601, and what it shows: colours are equal in blocks of 2x2."""
    rgb = np.repeat(np.repeat(pixels[::2, ::2], 2, 0), 2, 1).astype(np.float64) / 255
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = (b - y) / 1.772, (r - y) / 1.402
    low, luma, chroma = (0, 255, 255) if is_full else (16, 219, 224)
    planes = [low + luma * y, (128 + chroma * cb)[::2, ::2], (128 + chroma * cr)[::2, ::2]]
    return b"".join(np.rint(p).astype(np.uint8).tobytes() for p in planes), rgb * 255


@pytest.mark.parametrize("is_full", [False, True])
def test_frames_of_y4m_and_raw_yuv(is_full):
    made = [yuv_of(waves(3, 255, np.uint8, seed=i), is_full) for i in range(3)]
    header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 C420mpeg2"
    header += " XCOLORRANGE=FULL\n" if is_full else "\n"
    data = header.encode() + b"".join(b"FRAME\n" + frame for frame, _ in made)
    counts = Counter()
    found = read(data, "clip.y4m", "", counts)
    assert [image.place for image in found] == ["0", "1", "2"]
    for image, (_, rgb) in zip(found, made, strict=True):
        assert np.abs(image.values_HWB - rgb).max() < 3
    levels = "full" if is_full else "limited"
    assert counts == {f"YUV file taken as 8-bit 4:2:0, BT.601, {levels} range": 1}
    if not is_full:
        raw = b"".join(frame for frame, _ in made)
        named = read(raw, f"clip_{WIDTH}x{HEIGHT}.yuv")
        declared = read(raw, "clip.yuv", f":size={WIDTH}x{HEIGHT}")
        for a, b, c in zip(found, named, declared, strict=True):
            assert np.array_equal(a.values_HWB, b.values_HWB)
            assert np.array_equal(a.values_HWB, c.values_HWB)


def test_ten_bits_of_yuv_and_its_refusals():
    samples = np.full(WIDTH * HEIGHT * 3 // 2, 512, "<u2")
    samples[: WIDTH * HEIGHT] = 64 + 876 // 2
    data = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} C420p10\nFRAME\n".encode() + samples.tobytes()
    image = only(data, "a.y4m")
    assert image.values_HWB.dtype == np.uint16
    assert np.abs(image.values_HWB.astype(int) - 512).max() <= 1
    assert np.array_equal(only(samples.tobytes(), "a_96x80_10bit.yuv").values_HWB, image.values_HWB)
    with pytest.raises(DomainError, match="does not say its size"):
        read(samples.tobytes(), "a.yuv")
    with pytest.raises(DomainError, match="no whole number of 96x81 frames"):
        read(samples.tobytes(), "a_96x81.yuv")
    with pytest.raises(DomainError, match="C444: write 4:2:0"):
        read(b"YUV4MPEG2 W4 H4 C444\nFRAME\n", "a.y4m")


def test_a_reader_whose_library_is_missing_names_the_extra(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "interfero.domains.readers.dicom", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        DomainError,
        match=r"a.dcm is a DICOM file.*pip install -e '\.\[dicom\]' in the project's folder",
    ):
        read(b"\0" * 128 + b"DICM", "a.dcm")


def test_damaged_files_are_skipped_with_their_name(tmp_path):
    for suffix in (".tif", ".npy", ".png", ".y4m"):
        with pytest.raises(SkippedImageError, match=f"bad{suffix}: cannot be read as"):
            read(b"\x93NUMPY" if suffix == ".npy" else b"II*\0damaged", f"bad{suffix}")
    del tmp_path


def mapped(values, **declared):
    from interfero.domains.readers.raw import RawImage

    counts = Counter()
    rules = ImageRules(mapping=PixelMapping(**declared))
    return *map_values(RawImage(values), "a.tif", rules, counts), counts


def test_values_become_levels_and_what_rounding_left_over():
    values = waves(3, 5000)
    pixels, fine, counts = mapped(values, pixel_range=(100, 4095))
    exact = expected_levels(values, 100, 4095)
    assert np.abs(pixels - exact).max() <= 0.5 + 1 / 512
    assert np.abs(pixels + (fine.astype(float) - 128) / 256 - exact).max() <= 1 / 512
    assert counts == {CLIPPED: 1}


def test_eight_bits_stay_as_they_are():
    values = waves(4, 255, np.uint8)
    pixels, fine, counts = mapped(values, bands=(4, 1, 2))
    assert np.array_equal(pixels, values[:, :, [3, 0, 1]])
    assert fine is None
    assert not counts


def test_windows_one_band_and_missing_values():
    values = waves(1, 400, np.float32)
    values[:7] = np.nan
    pixels, _, counts = mapped(values, window=(200, 400))
    assert counts == {GREY: 1, MISSING: 1}
    assert (pixels[:7] == 0).all()
    assert np.abs(pixels[7:] - expected_levels(values[7:], 0, 400)).max() <= 0.51


@pytest.mark.parametrize(
    ("values", "declared", "said"),
    [
        (waves(4), {"pixel_range": (0, 1)}, "has 4 bands and the codec 3 channels.*bands=1,2,3"),
        (waves(4), {"bands": (5, 1, 2)}, "has 4 bands, band 5 is declared"),
        (waves(4), {"bands": (1, 2)}, "2 bands are declared, the codec has 3 channels"),
        (waves(3), {}, r"holds uint16 values \(\d+ to \d+ here\).*range=LOW,HIGH"),
        (waves(3, 255, np.uint8), {"pixel_range": (0, 4095)}, "up to 255; the declared range ends at 4095"),
        (waves(3).astype(complex), {"pixel_range": (0, 1)}, "holds complex128 values"),
    ],
)  # fmt: skip
def test_what_is_not_declared_or_does_not_fit_is_refused(values, declared, said):
    with pytest.raises(DomainError, match=f"a.tif.*{said}"):
        mapped(values, **declared)


def test_the_documents_have_a_row_for_every_reader_with_its_suffixes_and_extra():
    text = (Path(__file__).resolve().parents[3] / "docs" / "domains.md").read_text()
    table = text[text.index("| format | suffixes") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert len(rows) == len(READERS)
    for (_, suffixes, needs, _), reader in zip(rows, READERS, strict=True):
        assert set(re.findall(r"`([^`]+)`", suffixes)) == set(reader.suffixes)
        assert re.findall(r"`([^`]+)`", needs) == ([reader.extra] if reader.extra else [])


def test_the_documents_have_a_row_for_every_word_with_its_option():
    text = (Path(__file__).resolve().parents[3] / "docs" / "domains.md").read_text()
    table = text[text.index("| word | option |") :].split("\n\n")[0].splitlines()[2:]
    words = [re.findall(r"`([a-z]+)=([^`]+)`", line.split("|")[1])[0] for line in table]
    assert [word for word, _ in words] == list(_FIELDS)
    for word, value in words:
        declared = parse_mapping("d", f":{word}={value}")
        assert declared.text == f"{word}={value.replace('x', ',')}"
        option = line_of(table, word).split("|")[2].strip(" `").split(" ")
        if option != [""]:
            name = option[0].removeprefix("--").replace("-", "_")
            assert getattr(declared, name) == tuple(map(float, option[1:]))
            assert name in AdaptationOptions.model_fields


def line_of(table, word):
    return next(line for line in table if f"`{word}=" in line)


def test_every_extra_of_a_reader_can_be_installed():
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert {r.extra for r in READERS if r.extra} <= extras.keys()
