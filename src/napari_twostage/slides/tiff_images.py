"""Images of a TIFF file by the words of its maker: scans with their levels, labels, macros."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SlideError
from napari_twostage.slides.tiff_planes import Stack
from napari_twostage.slides.tiff_text import number, parsed, sides, tag_text, xmp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from xml.etree import ElementTree as ET

    import tifffile

    from napari_twostage.geometry import Scale, Shape

_NO_SCAN = re.compile(
    r"(^|[\s\[(_#:-])(label|macro|thumbnail|barcode|slide ?preview)s?"
    r"([\s_-]*(image|picture))?[\s\])]*$",
    re.IGNORECASE,
)
"""Names of images that are no scans: they end with what the image is."""
_MAGNIFICATION = 65421
"""Tag of Hamamatsu; a magnification below 0 marks other pictures."""


class NeedsStitchingError(SlideError):
    """A file with overlapping tiles: OpenSlide can place them, this reader cannot."""

    def __init__(
        self,
        message: str = "has overlapping tiles; install OpenSlide, which places them: "
        "pip install 'napari-twostage[openslide]'",
    ) -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffImage:
    """One image of a file, with its candidates for levels."""

    name: str = ""
    levels: tuple[Stack, ...]
    """Finest first."""
    factors: tuple[Scale | None, ...] = ()
    """Level-0 pixels per pixel of each level, for those of which the file says so."""
    scan: bool = True
    """False for labels, macro pictures and thumbnails."""
    sure: bool = True
    """Whether the file says that the levels show the same picture."""
    about: ET.Element | None = None
    """The file's own XML on this image."""

    @property
    def keyframe(self) -> tifffile.TiffPage:
        """Page whose tags hold for the finest level."""
        return self.levels[0].keyframe

    @property
    def shape(self) -> Shape:
        """Rows and columns of the finest level."""
        return self.levels[0].shape

    def stated(self, level: int) -> Scale | None:
        """Factor of a level, if the file states it."""
        return self.factors[level] if level < len(self.factors) else None


def named_images(tif: tifffile.TiffFile) -> tuple[str, list[TiffImage]] | None:
    """Images of a file whose maker names them.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.

    Returns
    -------
    tifffile's name of the kind of file, and the images in the file's order; None for all others.

    Raises
    ------
    SlideError
        If the file contradicts itself; the message begins with its verb.
    """
    readers: dict[str, Callable[[tifffile.TiffFile], list[TiffImage]]] = {
        "ome": _ome, "svs": _aperio, "scn": _leica, "qpi": _perkin_elmer, "ndpi": _hamamatsu,
        "bif": _ventana, "philips": _philips,
    }  # fmt: skip
    for kind, read in readers.items():
        if getattr(tif, f"is_{kind}"):
            images = read(tif)
            return (kind, images) if images else None
    return None


def is_no_scan(name: str) -> bool:
    """Whether a name is that of a label, macro picture or thumbnail.

    Examples
    --------
    >>> [is_no_scan(name) for name in ("macro image", "CMU-1 [label]", "label-free scan 1")]
    [True, True, False]
    """
    return _NO_SCAN.search(name.strip()) is not None


def pages_of(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """All pages with their own tags, but those without pixels."""
    tif.pages.useframes = False
    tif.pages.cache = True
    pages = [page.aspage() for page in tif.pages]
    return [page for page in pages if page.imagewidth and page.imagelength]


def by_shape(pages: Iterable[Any], axis: str) -> list[Stack]:
    """Pages of one shape as the planes of one level, in the order of their first pages."""
    groups: dict[Any, list[Any]] = {}
    for page in pages:
        groups.setdefault(page.shape, []).append(page)
    return [
        Stack(tuple(group), axis if len(group) > 1 else "", (len(group),) if len(group) > 1 else ())
        for group in groups.values()
    ]


def single(page: tifffile.TiffPage) -> Stack:
    """A page as the only plane of a level."""
    return Stack((page,))


def _others(named: Iterable[tuple[Any, str]]) -> list[TiffImage]:
    """Pages that are no scans, with their names."""
    return [TiffImage(name=name, levels=(single(page),), scan=False) for page, name in named]


def _ome(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Images of OME-XML, in its order; tifffile's series skip those without pixels."""
    root = parsed(tif.ome_metadata)
    series = [one for one in tif.series if one.kind == "ome"]
    if root is None or not series:
        return []
    elements = root.findall("{*}Image")
    images, begin = [], 0
    for one in series:
        found = next((n for n in range(begin, len(elements)) if _is_of(elements[n], one)), None)
        about = None if found is None else elements[found]
        begin = begin if found is None else found + 1
        name = "" if about is None else about.get("Name", "")
        levels = tuple(Stack.of_series(level) for level in one.levels)
        images.append(TiffImage(name=name, levels=levels, scan=not is_no_scan(name), about=about))
    return images


def _is_of(image: ET.Element, series: tifffile.TiffPageSeries) -> bool:
    """Whether an OME image may be that of a series: name and size agree."""
    pixels = image.find("{*}Pixels")
    page = series.keyframe
    return (
        pixels is not None
        and sides(pixels, "SizeY", "SizeX") == (page.imagelength, page.imagewidth)
        and series.name in {image.get("Name", series.name), "Baseline"}
    )


def _aperio(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Tiled pages are the levels and focal planes of the scan, but those said to be others."""
    pages = pages_of(tif)
    if not pages or not pages[0].is_tiled:
        return []
    named = [(page, _aperio_name(page)) for page in pages]
    levels = [page for n, (page, name) in enumerate(named) if n == 0 or not name]
    others = [(page, name) for page, name in named[1:] if name]
    # the scanner says "1000x800 -> 500x400" of its levels; other programs may add anything
    sure = all("->" in page.description for page in levels[1:])
    return [TiffImage(levels=tuple(by_shape(levels, "Z")), sure=sure), *_others(others)]


def _aperio_name(page: tifffile.TiffPage) -> str:
    """Name of a page that is no level; labels and macro pictures say so in their second line."""
    lines = page.description.splitlines()
    words = lines[1].split() if len(lines) > 1 else page.description.split()[1:2]
    word = words[0].lower() if words else ""
    if word in {"label", "macro", "thumbnail"}:
        return word
    if page.is_tiled:
        return ""
    return {1: "label", 9: "macro"}.get(int(page.subfiletype), "thumbnail")


def _leica(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Images of the XML; the one that shows the whole glass is the macro picture."""
    root = parsed(tif.pages.first.description)
    pages = pages_of(tif)
    images = []
    for collection in [] if root is None else root.findall("{*}collection"):
        glass = sides(collection, "sizeY", "sizeX")
        for image in collection.findall("{*}image"):
            pixels, view = image.find("{*}pixels"), image.find("{*}view")
            if pixels is None:
                continue
            levels = _leica_levels(pixels, pages)
            if not levels:
                continue
            is_glass = (
                view is not None
                and sides(view, "sizeY", "sizeX") == glass
                and not any(sides(view, "offsetY", "offsetX"))
            )
            stacks, sizes = zip(*levels, strict=True)
            images.append(
                TiffImage(
                    name="macro" if is_glass else image.get("name", ""),
                    levels=stacks,
                    factors=tuple(
                        (sizes[0][0] / y, sizes[0][1] / x) if y and x else None for y, x in sizes
                    ),
                    scan=not is_glass,
                    about=image,
                )
            )
    return images


def _leica_levels(
    pixels: ET.Element, pages: Sequence[tifffile.TiffPage]
) -> list[tuple[Stack, Shape]]:
    """Planes of each level (r) by channel (c) and focal plane (z), and its size."""
    found: dict[int, dict[tuple[int, int], Any]] = {}
    sizes: dict[int, Shape] = {}
    for part in pixels.findall("{*}dimension"):
        r, c, z, page = (int(number(part.get(key))) for key in ("r", "c", "z", "ifd"))
        if not 0 <= page < len(pages):
            raise SlideError(f"has no image {page}, of which its XML speaks; copy it again")
        found.setdefault(r, {})[c, z] = pages[page]
        sizes[r] = sides(part, "sizeY", "sizeX")
    levels = []
    for r, planes in sorted(found.items()):
        channels, depth = (max(one[n] for one in planes) + 1 for n in (0, 1))
        cells = tuple(planes.get((c, z)) for c in range(channels) for z in range(depth))
        axes = [(axis, n) for axis, n in (("C", channels), ("Z", depth)) if n > 1]
        stack = Stack(cells, "".join(axis for axis, _ in axes), tuple(n for _, n in axes))
        levels.append((stack, sizes[r]))
    return levels


def _perkin_elmer(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Pages by the ImageType of their descriptions; each level has a page for each channel."""
    kinds = [(page, tag_text(page.description, "ImageType").lower()) for page in pages_of(tif)]
    levels = [page for page, kind in kinds if kind in {"fullresolution", "reducedresolution"}]
    if "fullresolution" not in {kind for _, kind in kinds}:
        return []
    names = {"overview": "macro", "": "other"}
    others = [
        (page, names.get(kind, kind)) for page, kind in kinds if not kind.endswith("resolution")
    ]
    return [TiffImage(levels=tuple(by_shape(levels, "C"))), *_others(others)]


def _hamamatsu(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Pages by their magnification, which tells each level's factor; below 0 are others."""
    powers = [(page, float(page.tags.valueof(_MAGNIFICATION, 0) or 0)) for page in pages_of(tif)]
    names = {-1: "macro", -2: "map"}
    others = [(page, names.get(int(power), "other")) for page, power in powers if power < 0]
    scans = [(page, power) for page, power in powers if power >= 0]
    return [_by_power(scans), *_others(others)] if scans else []


def _by_power(pages: Sequence[tuple[Any, float]]) -> TiffImage:
    """Levels and focal planes of a scan, with the factors that their magnifications state."""
    power_of = {page.index: power for page, power in pages}
    stacks = by_shape((page for page, _ in pages), "Z")
    powers = [power_of[stack.pages[0].index] for stack in stacks if stack.pages[0] is not None]
    factors = tuple((powers[0] / one,) * 2 if powers[0] and one else None for one in powers)
    return TiffImage(levels=tuple(stacks), factors=factors)


def _ventana(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Pages whose descriptions name a level and its magnification; others by their own names."""
    levels, others = [], []
    for page in pages_of(tif):
        power = re.search(r"\bmag\s*=\s*([0-9.,]+)", page.description)
        if re.search(r"\blevel\s*=\s*\d", page.description):
            levels.append((page, number(power[1]) if power else 0.0))
        else:
            others.append((page, page.description.split("_")[0].lower() or "other"))
    if not levels:
        return []
    if _overlaps(levels[0][0]):
        raise NeedsStitchingError
    return [_by_power(levels), *_others(others)]


def _overlaps(page: tifffile.TiffPage) -> bool:
    """Whether a Ventana scanner states that neighbouring tiles share pixels."""
    overlaps = re.findall(r"""\bOverlap[XY]\s*=\s*["'](-?\d+)["']""", xmp(page))
    return any(int(overlap) for overlap in overlaps)


def _philips(tif: tifffile.TiffFile) -> list[TiffImage]:
    """Tiled pages are levels; the spacing of each level's pixels tells its factor."""
    levels, others = [], []
    for page in pages_of(tif):
        name = re.match(r"macro|label", page.description.lower())
        if page.is_tiled and name is None:
            levels.append(single(page))
        else:
            others.append((page, name[0] if name else "thumbnail"))
    if not levels:
        return []
    spacings = philips_spacings(tif)
    factors: tuple[Scale | None, ...] = ()
    if len(spacings) == len(levels):
        (y, x), *_ = spacings
        factors = tuple((float(round(v / y)), float(round(h / x))) for v, h in spacings)
    return [TiffImage(levels=tuple(levels), factors=factors), *_others(others)]


def philips_spacings(tif: tifffile.TiffFile) -> list[Scale]:
    """Millimetres between pixels (y, x) of each level, finest first, by Philips' XML."""
    root = parsed(tif.pages.first.description)
    if root is None:
        return []
    texts = [
        attribute.text or ""
        for part in root.iterfind(".//DataObject[@ObjectType='PixelDataRepresentation']")
        for attribute in part.iterfind("Attribute[@Name='DICOM_PIXEL_SPACING']")
    ] or [one.text or "" for one in root.iterfind(".//Attribute[@Name='DICOM_PIXEL_SPACING']")]
    found = [[number(part) for part in text.split()] for text in texts]
    spacings = [(pair[0], pair[1]) for pair in found if len(pair) == 2 and min(pair) > 0]
    return sorted(spacings)
