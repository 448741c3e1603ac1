"""Small valid files of the formats that fields keep their images in, written by those fields' libraries."""

import io

import numpy as np

HEIGHT, WIDTH = 80, 96


def waves(bands=1, top=4000, dtype=np.uint16, seed=0, height=HEIGHT, width=WIDTH):
    """(height, width, bands), smooth and different by seed, from 0 to `top`."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        (np.sin(x / (6 + k) + seed) + np.cos(y / (8 + k) - 2 * seed) + 2) / 4 * top
        for k in range(bands)
    ]
    return np.stack(planes, axis=2).astype(dtype)


def expected_levels(values_HWB, low, high):
    """The rule in one line: 8-bit levels as a float."""
    return ((values_HWB.astype(np.float64) - low) / (high - low)).clip(0, 1) * 255


def write_geotiff(path, values_HWB, **options):
    import rasterio
    from rasterio.transform import from_origin

    height, width, bands = values_HWB.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=values_HWB.dtype,
        crs="EPSG:32633", transform=from_origin(0, 0, 10, 10), **options,
    ) as file:  # fmt: skip
        file.write(values_HWB.transpose(2, 0, 1))


def dicom_bytes(values, photometric="MONOCHROME2", patient="p", **tags):
    """An uncompressed secondary capture, (height, width) or (frames, height, width) of 16 bits, or RGB."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.Modality, file.PatientID = "CT", patient
    is_colour = values.dtype == np.uint8
    if values.ndim == 3 and not is_colour:
        file.NumberOfFrames = len(values)
    file.Rows, file.Columns = values.shape[:2] if is_colour else values.shape[-2:]
    file.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = photometric
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    for tag, value in tags.items():
        setattr(file, tag, value)
    file.PixelData = values.tobytes()
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
