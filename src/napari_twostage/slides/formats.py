"""Slide formats: one table of names, endings, first bytes and readers.

`open_slide`, napari's reader and manifest, the command line's help and the data sets of training
all take their formats from here: a new format is a new line of `FORMATS`, and, where no reader
below opens it, a module beside this one and a branch in `open_slide`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_twostage.io.regular import read_regular

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location

Reader = Literal["tiff", "ome_zarr", "dicom", "czi", "bioio", "openslide", "image"]
"""Module of this package that opens a file: `bioio` is `bioio_images`, `image` `plain_images`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of files or folders that `open_slide` opens."""

    name: str
    """Name that users know."""
    reader: Reader
    endings: tuple[str, ...]
    """Endings of its names, in lower case, with their dots."""
    magic: re.Pattern[bytes] | None = None
    """Pattern of the first bytes of a file; None where the ending or `marks` decide."""
    marks: tuple[str, ...] = ()
    """Names of files of which a folder holds at least one; empty for formats of single files."""
    kind: str = ""
    """Name in the library that decodes it: tifffile's series kind, or imagecodecs' codec."""
    extra: str | None = None
    """Extra to install, ``napari-twostage[extra]``."""
    by_openslide: bool = False
    """Whether OpenSlide reads it too, where the extra is not installed."""


_MODULES = {"dicom": "wsidicom", "czi": "pylibCZIrw"}
"""Modules that the extras bring, where their names differ."""
MAGIC_BYTES = 132
"""Length of a file's beginning that tells its format."""

_TIFF = re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")
"""Classic TIFF and BigTIFF, in either byte order."""
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)

FORMATS = (
    Format(name="Aperio SVS", reader="tiff", endings=(".svs",), magic=_TIFF, kind="svs"),
    Format(name="Hamamatsu NDPI", reader="tiff", endings=(".ndpi",), magic=_TIFF, kind="ndpi"),
    Format(name="Leica SCN", reader="tiff", endings=(".scn",), magic=_TIFF, kind="scn"),
    Format(name="Ventana BIF", reader="tiff", endings=(".bif",), magic=_TIFF, kind="bif"),
    Format(
        name="OME-TIFF", reader="tiff", endings=(".ome.tif", ".ome.tiff"), magic=_TIFF, kind="ome"
    ),
    Format(name="Philips TIFF", reader="tiff", endings=(".tiff",), magic=_TIFF, kind="philips"),
    Format(name="PerkinElmer QPTIFF", reader="tiff", endings=(".qptiff",), magic=_TIFF, kind="qpi"),
    Format(name="ImageJ TIFF", reader="tiff", endings=(".tif",), magic=_TIFF, kind="imagej"),
    Format(name="TIFF", reader="tiff", endings=(".tif", ".tiff"), magic=_TIFF),
    Format(
        name="OME-Zarr",
        reader="ome_zarr",
        endings=(".ome.zarr", ".zarr"),
        marks=("zarr.json", ".zattrs", ".zgroup", ".zarray"),
    ),
    Format(name="MIRAX", reader="openslide", endings=(".mrxs",), extra="openslide"),
    Format(name="Hamamatsu VMS", reader="openslide", endings=(".vms", ".vmu"), extra="openslide"),
    Format(name="Sakura", reader="openslide", endings=(".svslide",), extra="openslide"),
    Format(
        name="DICOM",
        reader="dicom",
        endings=(".dcm",),
        magic=re.compile(rb".{128}DICM", re.DOTALL),
        extra="dicom",
        by_openslide=True,
    ),
    Format(
        name="Zeiss CZI",
        reader="czi",
        endings=(".czi",),
        magic=re.compile(rb"ZISRAWFILE"),
        extra="czi",
        by_openslide=True,
    ),
    Format(
        name="Leica LIF",
        reader="bioio",
        endings=(".lif",),
        magic=re.compile(rb"\x70\0\0\0.{4}\x2a", re.DOTALL),
        extra="bioio",
    ),
    Format(
        name="Nikon ND2",
        reader="bioio",
        endings=(".nd2",),
        magic=re.compile(rb"\xda\xce\xbe\x0a"),
        extra="bioio",
    ),
    Format(
        name="PNG",
        reader="image",
        endings=(".png",),
        magic=re.compile(rb"\x89PNG\r\n\x1a\n"),
        kind="png",
    ),
    Format(
        name="JPEG",
        reader="image",
        endings=(".jpg", ".jpeg"),
        magic=re.compile(rb"\xff\xd8\xff"),
        kind="jpeg8",
    ),
    Format(
        name="JPEG 2000",
        reader="image",
        endings=(".jp2", ".j2k"),
        magic=re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"),
        kind="jpeg2k",
    ),
    Format(name="BMP", reader="image", endings=(".bmp",), magic=re.compile(rb"BM"), kind="bmp"),
    Format(name="WebP", reader="image", endings=(".webp",), magic=_WEBP, kind="webp"),
)
"""All formats; a format of OpenSlide may begin like another: a MIRAX slide's file is a JPEG."""

_BY_NAME = {one.name: one for one in FORMATS}
_LOOKED_AT = 16
"""Files of a folder that are looked at to tell its format."""

_GROUPS: dict[Reader, str] = {
    "tiff": "TIFF",
    "ome_zarr": "folders",
    "openslide": "with OpenSlide",
    "dicom": "with wsidicom or OpenSlide",
    "czi": "with pylibCZIrw or OpenSlide",
    "bioio": "with bioio",
    "image": "plain images",
}
_TO_OPEN_FORMATS = "convert it to OME-Zarr with bioformats2raw, or to OME-TIFF with QuPath"
_BY_VENDOR = "export it as DICOM, SVS or TIFF with the program of the scanner's maker"
_CLOSED = {
    ".vsi": (
        "an Olympus or Evident index (VSI), whose pixels are in the folder _{stem}_ beside it",
        _TO_OPEN_FORMATS,
    ),
    ".ets": ("a part of an Olympus or Evident VSI", _TO_OPEN_FORMATS),
    ".oir": ("an Olympus OIR", _TO_OPEN_FORMATS),
    ".oib": ("an Olympus OIB", _TO_OPEN_FORMATS),
    ".oif": ("an Olympus OIF", _TO_OPEN_FORMATS),
    ".lof": ("a Leica LOF", _TO_OPEN_FORMATS),
    ".xlef": ("a Leica XLEF", _TO_OPEN_FORMATS),
    ".zvi": ("a Zeiss ZVI", _TO_OPEN_FORMATS),
    ".ims": ("an Imaris file", _TO_OPEN_FORMATS),
    ".dzi": ("a Deep Zoom image, pictures for web pages", "open the slide that it was made from"),
    ".afi": ("an Aperio AFI, a list of one SVS for each channel", "open one of these SVS"),
    ".isyntax": ("a Philips iSyntax", f"{_BY_VENDOR}, or {_TO_OPEN_FORMATS}"),
    ".i2syntax": ("a Philips iSyntax", _BY_VENDOR),
    ".kfb": ("a KFBio slide", _BY_VENDOR),
    ".sdpc": ("a Sqray slide", _BY_VENDOR),
    ".tmap": ("a UNIC slide", _BY_VENDOR),
    ".mdsx": ("a Motic slide", _BY_VENDOR),
    ".mds": ("a Motic slide", _BY_VENDOR),
}
"""Formats that are not read, by the ending of the file: their names, and what to do."""


def refusal(name: str) -> str | None:
    """What a file is whose format is not read, and what to do, by its name; else None.

    Examples
    --------
    >>> refusal("slide.OIR")
    'an Olympus OIR; convert it to OME-Zarr with bioformats2raw, or to OME-TIFF with QuPath'
    """
    stem, _, ending = name.rpartition(".")
    closed = _CLOSED.get(f".{ending.lower()}")
    return "; ".join(closed).replace("{stem}", stem) if closed else None


def by_ending(name: str) -> Format | None:
    """Format of a file or folder by its name, of which the longest ending counts.

    Examples
    --------
    >>> by_ending("Slide 1.OME.TIF").name
    'OME-TIFF'
    >>> by_ending("notes.txt") is None
    True
    """
    known = [(ending, one) for one in FORMATS for ending in one.endings]
    fitting = [(ending, one) for ending, one in known if name.lower().endswith(ending)]
    return max(fitting, key=lambda pair: len(pair[0]), default=("", None))[1]


def stem(name: str) -> str:
    """Name of a file without the ending of its format, or else what follows its last dot.

    Examples
    --------
    >>> stem("Slide 1.2.OME.TIF"), stem("2026.11.05 skin.svs"), stem("notes.txt")
    ('Slide 1.2', '2026.11.05 skin', 'notes')
    """
    found = by_ending(name)
    if found is None:
        return name.rpartition(".")[0] or name
    length = max(len(ending) for ending in found.endings if name.lower().endswith(ending))
    return name[:-length] or name


def by_first_bytes(start: bytes) -> Format | None:
    """Format of a file by its first `MAGIC_BYTES` bytes; all TIFF variants share one entry."""
    return next((one for one in FORMATS if one.magic and one.magic.match(start)), None)


def by_contents(folder: Location) -> Format | None:
    """Format of a folder by the files in it: OME-Zarr, or DICOM on this machine."""
    for one in FORMATS:
        if any((folder / mark).exists() for mark in one.marks):
            return one
    if isinstance(folder, Path):
        first = islice((one for one in folder.iterdir() if one.is_file()), _LOOKED_AT)
        return next((_BY_NAME["DICOM"] for file in first if is_dicom(file)), None)
    return None


def is_dicom(file: Path) -> bool:
    """Whether a file begins like DICOM."""
    try:
        start = read_regular(file, 0, MAGIC_BYTES, MAGIC_BYTES)
    except (OSError, ValueError):
        return False
    magic = _BY_NAME["DICOM"].magic
    return magic is not None and magic.match(start) is not None


def is_installed(extra: str | None) -> bool:
    """Whether an extra of the table is installed; None stands for formats that need none."""
    return extra is None or find_spec(_MODULES.get(extra, extra)) is not None


def is_readable(one: Format) -> bool:
    """Whether what reads a format is installed."""
    return is_installed(one.extra) or (one.by_openslide and is_installed("openslide"))


def tiff_name(kind: str) -> str:
    """Name of a TIFF file's format, from tifffile's kind."""
    named = (one.name for one in FORMATS if one.reader == "tiff" and one.kind == kind)
    return next(named, "TIFF")


def endings(*readers: Reader) -> list[str]:
    """Endings of all formats that these readers open, each once, in the table's order."""
    return list(
        dict.fromkeys(end for one in FORMATS if one.reader in readers for end in one.endings)
    )


def viewer_patterns() -> list[str]:
    """Patterns of file names for napari's manifest; folders are asked about whatever their name.

    Plain images are left to napari's own reader, which needs no pixel size.

    Examples
    --------
    >>> viewer_patterns()[:3]
    ['*.svs', '*.ndpi', '*.scn']
    """
    named = endings("tiff", "openslide", "dicom", "czi", "bioio")
    last = (ending.rpartition(".")[2] for ending in named)
    return [f"*.{suffix}" for suffix in dict.fromkeys(last)]


def described() -> str:
    """All formats by name, in one line, for help and messages.

    Examples
    --------
    >>> described().partition(";")[0]  # doctest: +ELLIPSIS
    'TIFF (Aperio SVS, Hamamatsu NDPI, Leica SCN, ...)'
    """
    return "; ".join(
        f"{_GROUPS[reader]} ({', '.join(one.name for one in group)})"
        for reader, group in groupby(FORMATS, key=lambda one: one.reader)
    )
