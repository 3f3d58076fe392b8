"""DICOM files of whole slides in a folder, by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError, reason_of
from napari_twostage.slides.formats import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class of VL Whole Slide Microscopy Image Storage."""
_FILES = 1 << 13
"""Most files of a folder that are looked at."""
_TAGS = ("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "ContainerIdentifier", "ImageType")


@dataclass(frozen=True, slots=True)
class DicomFile:
    """One instance of a whole slide."""

    path: Path
    series: str
    """UID of its series: the levels of one scan share it."""
    slide: tuple[str, str]
    """UID of the study and identifier of the glass slide."""
    is_volume: bool
    """Whether it is a level of a scan, not a label or overview."""


def scans_of(path: Path) -> list[list[Path]]:
    """Files of each scan of a folder, or of the scan that one file belongs to.

    Labels and overviews of the same glass slide go with each of its scans.

    Parameters
    ----------
    path : Path
        A DICOM file, or a folder of some.

    Raises
    ------
    SlideError
        If there is no whole slide; the message begins with its verb.
    """
    if path.is_dir():
        files = list(_whole_slides(path))
    else:
        own = _read_header(path)
        if own is None:
            raise SlideError(
                "is no whole-slide microscopy image of DICOM; open one, or the folder of its files"
            )
        files = [one for one in _whole_slides(path.parent) if one.slide == own.slide]
        files = [one for one in files if one.series == own.series or not one.is_volume]
    series = {one.series: one.slide for one in files if one.is_volume}
    if not series:
        raise SlideError(
            "holds no scan of a whole slide, but labels or overviews at most; copy all files of "
            "the series into one folder"
        )
    return [
        [
            one.path
            for one in files
            if one.series == uid or (not one.is_volume and one.slide == slide)
        ]
        for uid, slide in series.items()
    ]


def _whole_slides(folder: Path) -> Iterator[DicomFile]:
    files = (one for one in sorted(folder.iterdir()) if one.is_file())
    for _, path in zip(range(_FILES), files, strict=False):
        found = _read_header(path) if is_dicom(path) else None
        if found:
            yield found


def _read_header(path: Path) -> DicomFile | None:
    """Facts of one file; None if it is no image of a whole slide."""
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        # values are parsed when they are asked for
        stated = {tag: header.get(tag) for tag in _TAGS}
    except Exception as error:  # damage raises whatever its parser's next line raises
        raise SlideError(
            f"has an unreadable file {path.name} ({reason_of(error)}); copy it again"
        ) from error
    if stated["SOPClassUID"] != WHOLE_SLIDE:
        return None
    return DicomFile(
        path,
        str(stated["SeriesInstanceUID"]),
        (str(stated["StudyInstanceUID"]), str(stated["ContainerIdentifier"])),
        "VOLUME" in (stated["ImageType"] or ()),
    )
