"""Layout ``slides``: annotated slides, cut into pieces that are read on demand."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from napari_twostage.engine.api import working_grid
from napari_twostage.errors import MissingPixelSizeError, TwoStageError
from napari_twostage.geometry import Box, Grid
from napari_twostage.slides import formats, open_slide
from napari_twostage.slides.view import View
from napari_twostage.training.datasets.label_images import LabelImage
from napari_twostage.training.datasets.qupath import (
    Drawing,
    is_region,
    read_annotations,
    region_bounds,
)
from napari_twostage.training.datasets.samples import DatasetError, Samples
from napari_twostage.training.datasets.splits import choose_split
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale
    from napari_twostage.models import ModelCard
    from napari_twostage.slides.base import Slide
    from napari_twostage.training.datasets.classes import Classes
    from napari_twostage.training.datasets.qupath import Feature
    from napari_twostage.training.datasets.samples import Pair

    Bounds = tuple[float, float, float, float]

PIECE_PX = 1024
"""Longest side of a piece."""
MARGIN_PX = 64
"""Background around the annotations of a slide without regions, in pixels of the grid."""
_RANGE = (0.7, 1.4)
_CACHE_BYTES = 64 << 20
_SLIDE_ENDINGS = sorted(
    formats.endings("tiff", "ome_zarr", "openslide", "dicom", "czi", "bioio"),
    key=len,
    reverse=True,
)
"""Longer ones first: they are cut off to find the stem."""
_POLYGONS = (".geojson", ".geojson.gz")
_LABELS = tuple(
    f".labels{end}" for end in (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")
)


class Annotation(Protocol):
    """Class values over a slide."""

    def draw(self, box: Box, grid: Grid) -> NDArray[np.uint8]:
        """Class values of a box of a grid over the slide."""


class _Resolution(NamedTuple):
    fine_mpp: float
    mpp_range: Scale


def mpp_range(mpp: float) -> Scale:
    """Pixel sizes that a model trained at `mpp` reads without resampling, for its card.

    With this range, inference reads a slide on the same grid as training.
    """
    return _RANGE[0] * mpp, _RANGE[1] * mpp


def slide_samples(
    root: Path, split: str, seed: int, classes: Classes, *, mpp: float | None
) -> Samples:
    """Samples of a folder of slides, each beside its annotation of the same stem.

    The split is by slide: pieces of one slide are never on both sides.

    Parameters
    ----------
    root : Path
        Slides, with ``<stem>.geojson`` from QuPath or ``<stem>.labels.ome.tif`` (or another
        ending in `_LABELS`).
    split, seed
        See `splits.choose_split`.
    classes : Classes
        If empty, all annotations must be of one class.
    mpp : float or None
        Micrometres per pixel of the model; None reads level 0.

    Raises
    ------
    DatasetError
        If the folder or a file cannot be used; the message names the file.
    """
    if mpp is not None and not 0 < mpp < math.inf:
        raise DatasetError(f"{root}: mpp is {mpp}; name micrometres per pixel above 0")
    pairs = annotated_slides(root)
    # of both sides of the split: classes must have the same meaning on both
    drawn = {path: read_annotations(path) for _, path in pairs if path.name.endswith(_POLYGONS)}
    if not classes.names:
        _refuse_several(root, [one.features for one in drawn.values()])
    readers = {}
    for slide_path, path in choose_split(pairs, split, seed, root):
        slide = _open(slide_path)
        view = View(slide, training_grid(slide, mpp))
        annotation: Annotation
        if path in drawn:
            features = drawn[path].on_slide(slide.bounds)
            annotation, areas = _polygons(path, features, classes, view.grid)
        else:
            annotation = LabelImage(path, slide, classes)
            areas = [_around(path, annotation.bounds(), view.grid)]
        for piece in (piece for area in areas for piece in pieces(area)):
            name = f"{slide_path.name} {piece.left},{piece.top} {piece.width}x{piece.height}"
            readers[name] = partial(_read, view, annotation, piece, slide_path)
    return Samples(readers)


def annotated_slides(root: Path) -> list[tuple[Path, Path]]:
    """Pair each slide with its annotation, sorted by name.

    Raises
    ------
    DatasetError
        If one has no partner or more than one, or there is no slide.
    """
    slides: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        for found, endings in ((annotations, (*_POLYGONS, *_LABELS)), (slides, _SLIDE_ENDINGS)):
            ending = next((e for e in endings if path.name.lower().endswith(e)), None)
            if ending is None or path.name.startswith("."):
                continue
            stem = path.name[: -len(ending)]
            if stem in found:
                raise DatasetError(f"{path} and {found[stem].name} have one stem; keep one")
            found[stem] = path
            break
    for stem in sorted(slides.keys() ^ annotations.keys()):
        if stem in slides:
            raise DatasetError(
                f"{slides[stem]} has no annotation; expected {stem}.geojson or "
                f"{stem}.labels.ome.tif beside it"
            )
        raise DatasetError(f"{annotations[stem]} has no slide; expected one named {stem} beside it")
    if not slides:
        raise DatasetError(f"{root} holds no slide; expected slides with .geojson beside them")
    return [(slides[stem], annotations[stem]) for stem in sorted(slides)]


def training_grid(slide: Slide, mpp: float | None) -> Grid:
    """Grid on which a slide is read: the same as for inference with a model of `mpp`."""
    if mpp is None:
        return Grid(slide.level_shapes[0], (1.0, 1.0), slide.mpp)
    wanted = _Resolution(mpp, mpp_range(mpp))
    return working_grid(
        slide, cast("ModelCard", wanted)
    )  # only these two attributes of the card are used


def pieces(area: Box) -> Iterator[Box]:
    """Cut an area into near-equal pieces of at most `PIECE_PX` a side."""
    rows = _cuts(area.top, area.bottom)
    columns = _cuts(area.left, area.right)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Box(top, left, bottom, right)


def _cuts(start: int, stop: int) -> list[int]:
    count = math.ceil((stop - start) / PIECE_PX)
    return [start + (stop - start) * index // count for index in range(count + 1)]


def _open(path: Path) -> Slide:
    try:
        return open_slide(path, cache_bytes=_CACHE_BYTES)
    except MissingPixelSizeError as error:
        raise DatasetError(
            f"{path} states no pixel size; convert it to OME-TIFF with PhysicalSizeX and Y"
        ) from error
    except TwoStageError as error:
        raise DatasetError(f"{path} cannot be used: {error}") from error


def _refuse_several(root: Path, features: list[list[Feature]]) -> None:
    """Raise if several named classes would silently become one."""
    names = {f.name for found in features for f in found if not is_region(f, ())}
    if len(names - {None}) > 1:
        listed = ", ".join(shown(name)[1:-1] for name in sorted(name for name in names if name))
        raise DatasetError(
            f"{root} has annotations of the classes {listed[:150]}; "
            "list those to learn in the order of their values"
        )


def _polygons(
    path: Path, features: list[Feature], classes: Classes, grid: Grid
) -> tuple[Drawing, list[Box]]:
    """Polygons of a GeoJSON file, and the boxes of the grid that they annotate."""
    regions = [feature for feature in features if is_region(feature, classes.names)]
    drawn = [feature for feature in features if not is_region(feature, classes.names)]
    values = [_value(path, feature, classes) for feature in drawn]
    drawing = Drawing([feature.geometry for feature in drawn], values)
    if not features:
        raise DatasetError(f"{path} annotates nothing; remove it, or annotate the slide")
    if not regions:
        return drawing, [_around(path, drawing.bounds(), grid)]
    areas: list[Box] = []
    for feature in regions:
        area = _within(region_bounds(path, feature), grid)
        if not area.area:
            raise DatasetError(
                f"{path}, feature {feature.number} ({feature.name}) covers no pixel of its slide"
            )
        areas.append(area)
    return drawing, areas


def _value(path: Path, feature: Feature, classes: Classes) -> int:
    if not classes.names or (feature.name is None and classes.count == 1):
        return 1
    if feature.name not in classes.names:
        found = f"is of class {shown(feature.name)}" if feature.name else "has no class"
        raise DatasetError(
            f"{path}, feature {feature.number} {found}; the classes are {', '.join(classes.names)}"
        )
    return classes.names.index(feature.name) + 1


def _within(bounds: Bounds, grid: Grid) -> Box:
    """Pixels of a grid that lie entirely within bounds."""
    left, top, right, bottom = bounds
    down, across = grid.downsample
    first = math.ceil(top / down - 1e-6), math.ceil(left / across - 1e-6)
    last = math.floor(bottom / down + 1e-6), math.floor(right / across + 1e-6)
    return Box(*first, max(first[0], last[0]), max(first[1], last[1])).clip(grid.shape)


def _around(path: Path, bounds: Bounds, grid: Grid) -> Box:
    """Pixels of a grid within bounds, plus a margin."""
    left, top, right, bottom = bounds
    down, across = grid.downsample
    box = Box(
        math.floor(top / down), math.floor(left / across),
        math.ceil(bottom / down), math.ceil(right / across),
    )  # fmt: skip
    if not box.clip(grid.shape).area:
        raise DatasetError(
            f"{path} annotates nothing within its slide; export it in pixels of level 0"
        )
    return box.grow(MARGIN_PX).clip(grid.shape)


def _read(view: View, annotation: Annotation, piece: Box, path: Path) -> Pair:
    try:
        pixels = view.read(piece)
    except TwoStageError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    return pixels, annotation.draw(piece, view.grid)
