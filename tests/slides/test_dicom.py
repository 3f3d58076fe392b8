"""DICOM whole slides against OpenSlide's reader of DICOM, pydicom and the same slide as SVS."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import openslide
import pytest
from tests.slide_files import halved, picture

from napari_twostage.errors import MissingPixelSizeError, ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
pytest.importorskip("wsidicom", reason="needs the extra dicom")

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_EXPLICIT = "1.2.840.10008.1.2.1"
_ROOT = "1.2.826.0.1.3680043.8.498."


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def write_instance(
    path: Path,
    planes: np.ndarray,
    *,
    mm: float | None,
    kind: str = "VOLUME",
    series: str = "1",
    container: str = "glass 1",
    paths: tuple[str, ...] = ("brightfield",),
    focal_um: tuple[float, ...] = (0.0,),
    tile: int = 128,
) -> Path:
    """Write uncompressed (path, plane, rows, columns[, 3]) pixels as one instance of a slide."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence

    height, width = planes.shape[2:4]
    colours = planes.shape[4] if planes.ndim == 5 else 1
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _WHOLE_SLIDE
    meta.MediaStorageSOPInstanceUID = f"{_ROOT}{abs(hash(str(path))) % 10**12}"
    meta.TransferSyntaxUID = _EXPLICIT
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = _WHOLE_SLIDE, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{_ROOT}1", f"{_ROOT}2.{series}"
    data.FrameOfReferenceUID, data.ContainerIdentifier = f"{_ROOT}3.{series}", container
    data.Modality, data.InstanceNumber = "SM", "1"
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    data.SamplesPerPixel = colours
    data.PhotometricInterpretation = "RGB" if colours == 3 else "MONOCHROME2"
    if colours == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * planes.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.Rows = data.Columns = tile
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = height, width
    data.TotalPixelMatrixFocalPlanes = len(focal_um)
    data.DimensionOrganizationType = "TILED_FULL"
    data.ImagedVolumeWidth, data.ImagedVolumeHeight = width * (mm or 1), height * (mm or 1)
    data.ImagedVolumeDepth = 0.001
    data.FocusMethod, data.ExtendedDepthOfField = "AUTO", "NO"
    data.SpecimenLabelInImage, data.BurnedInAnnotation = "NO", "NO"
    data.LossyImageCompression = "00"
    data.AcquisitionDateTime = "20260101000000"
    optical = []
    for name in paths:
        one = Dataset()
        one.OpticalPathIdentifier, one.OpticalPathDescription = name[:16], name
        one.IlluminationTypeCodeSequence = Sequence([])
        optical.append(one)
    data.OpticalPathSequence, data.NumberOfOpticalPaths = Sequence(optical), len(paths)
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = "0"
    data.TotalPixelMatrixOriginSequence = Sequence([origin])
    data.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    shared = Dataset()
    if mm:
        measures = Dataset()
        measures.PixelSpacing = [mm, mm]
        measures.SliceThickness, measures.SpacingBetweenSlices = "0.001", "0.001"
        shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = list(_frames(planes, tile))
    data.NumberOfFrames = len(frames)
    data.PixelData = b"".join(frames)
    data.save_as(path, enforce_file_format=True)
    return path


def _frames(planes: np.ndarray, tile: int) -> Any:
    for path in planes:
        for plane in path:
            rows, columns = (-n % tile for n in plane.shape[:2])
            wide = np.pad(plane, ((0, rows), (0, columns), *([(0, 0)] * (plane.ndim - 2))))
            for top in range(0, wide.shape[0], tile):
                for left in range(0, wide.shape[1], tile):
                    yield wide[top : top + tile, left : left + tile].tobytes()


def rgb(height: int, width: int) -> np.ndarray:
    return picture(height, width)[None, None]


def test_the_real_slide_is_read_as_openslide_reads_it(dicom_copy: Path, real_slide: Path) -> None:
    with open_slide(dicom_copy) as slide:
        assert (slide.level_shapes, slide.mpp) == (((2967, 2220),), (0.499, 0.499))
        assert (slide.mpp_source, slide.format) == ("DICOM Pixel Spacing", "DICOM")
        assert slide.tile_shape(0) == (240, 240)
        assert [scene.name for scene in slide.scenes] == ["0", "label", "overview"]
        assert not slide.notices
        files = sorted(dicom_copy.glob("*.dcm"), key=lambda one: one.stat().st_size)
        with openslide.OpenSlide(files[-1]) as other:
            expected = np.asarray(other.read_region((0, 0), 0, (2220, 2967)))[..., :3]
        np.testing.assert_array_equal(whole(slide), expected)
        # its frames were compressed anew, so the SVS is the same but for losses
        svs = open_slide(real_slide).read(Box(700, 700, 1700, 1700))
        assert np.abs(slide.read(Box(700, 700, 1700, 1700)).astype(int) - svs).mean() < 6
        with open_slide(files[-1]) as alone:
            assert alone.fingerprint() == slide.fingerprint()


def test_the_label_is_chosen_by_its_name(dicom_copy: Path) -> None:
    slide = open_slide(dicom_copy, scene="label", mpp=10)
    (file,) = (one for one in dicom_copy.glob("*.dcm") if "LABEL" in pydicom.dcmread(one).ImageType)
    other = pydicom.dcmread(file).pixel_array
    assert slide.level_shapes == (other.shape[:2],)
    assert np.abs(whole(slide).astype(int) - other).mean() < 2  # other rounding of colours
    with pytest.raises(MissingPixelSizeError):
        open_slide(dicom_copy, scene="label")


def test_levels_lie_where_their_sizes_and_spacing_say(tmp_path: Path) -> None:
    levels = [picture(517, 603)]
    levels += [halved(levels[0]), halved(levels[0], 8)]
    for number, (level, factor) in enumerate(zip(levels, (1, 2, 8), strict=True)):
        pixels = level[None, None]
        write_instance(tmp_path / f"{number}.dcm", pixels, mm=0.0005 * factor * 1.0001**number)
    slide = open_slide(tmp_path)
    assert slide.factors == ((1.0, 1.0), (2.0, 2.0), (8.0, 8.0))
    for level, expected in enumerate(levels):
        np.testing.assert_array_equal(whole(slide, level), expected)


def test_optical_paths_are_channels(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 60000, (3, 1, 200, 300), dtype=np.uint16)
    write_instance(tmp_path / "a.dcm", planes, mm=0.0005, paths=("DAPI", "FITC", "TRITC"))
    with pytest.raises(SlideError, match=r"3 channels; choose one of 0 \(DAPI\), 1 \(FITC\)"):
        open_slide(tmp_path)
    for index, name in enumerate(("DAPI", "FITC", "TRITC")):
        slide = open_slide(tmp_path / "a.dcm", channel=name)
        assert (slide.dtype, slide.channels) == (np.uint16, 1)
        np.testing.assert_array_equal(whole(slide)[..., 0], planes[index, 0])
    colours = whole(open_slide(tmp_path, channel="rgb"))
    np.testing.assert_array_equal(colours, np.moveaxis(planes[:, 0], 0, -1))


def test_a_focal_plane_is_chosen(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (1, 3, 150, 170), dtype=np.uint8)
    write_instance(tmp_path / "a.dcm", planes, mm=0.0005, focal_um=(0, 1, 2))
    with pytest.raises(SlideError, match=r"3 focal planes; choose one"):
        open_slide(tmp_path)
    for z in (0, 2, "max"):
        expected = planes[0].max(axis=0) if z == "max" else planes[0, z]
        np.testing.assert_array_equal(whole(open_slide(tmp_path, z=z))[..., 0], expected)


def test_two_slides_in_a_folder_are_scenes_and_one_file_leads_to_its_own(tmp_path: Path) -> None:
    write_instance(tmp_path / "a.dcm", rgb(200, 250), mm=0.0005)
    write_instance(tmp_path / "b", rgb(300, 250), mm=0.0005, series="2", container="glass 2")
    (tmp_path / "notes.txt").write_text("not DICOM")
    slide = open_slide(tmp_path)
    assert slide.level_shapes == ((300, 250),)
    assert "of 2 is read" in slide.notices[0]
    for name, height in (("a.dcm", 200), ("b", 300)):
        one = open_slide(tmp_path / name)
        assert (one.level_shapes, one.scenes) == (((height, 250),), ())


def test_damage_is_told_in_one_line(tmp_path: Path, dicom_copy: Path) -> None:
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\0\0\0UL")
    with pytest.raises(SlideError, match=r"\Acut\.dcm [^\n]*;[^\n]*\Z"):
        open_slide(tmp_path / "cut.dcm")
    folder = tmp_path / "copy"
    shutil.copytree(dicom_copy, folder, copy_function=shutil.copyfile)
    file = max(folder.iterdir(), key=lambda one: one.stat().st_size)
    data = bytearray(file.read_bytes())
    data[600_000:640_000] = bytes(40_000)
    file.write_bytes(data)
    slide = open_slide(folder)
    with pytest.raises(ReadError, match=r"\Acopy cannot be read at [^\n]*\Z"):
        whole(slide)
    slide.read(Box(0, 0, 200, 200))
