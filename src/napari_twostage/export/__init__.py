"""Export of results: labels, objects, tables and a figure; the file name selects the format."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from napari_twostage.errors import ExportError, UnfinishedError, brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from napari_twostage.io.paths import Location
    from napari_twostage.io.url import Url
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

    Writer = Callable[..., None]
    """Takes the result, the file, where to report progress, and options of the format."""

__all__ = ["check_targets", "export", "left_out_of"]

_WRITERS = {
    ".geojson": "geojson.write_geojson",
    ".geojson.gz": "geojson.write_geojson_gz",
    ".parquet": "parquet.write_parquet",
    ".geoparquet": "parquet.write_parquet",
    ".ome.zarr": "zarr_labels.write_zarr",
    ".ome.tif": "tiff_labels.write_tiff",
    ".ome.tiff": "tiff_labels.write_tiff",
    "areas.csv": "tables.write_areas",
    "objects.csv": "tables.write_objects",
    ".h5ad": "anndata_table.write_h5ad",
    "density.tif": "density_files.write_density",
    "density.png": "density_files.draw_density",
    ".png": "figure.write_figure",
}
"""Ending of a file name to the module and function that write the format.

Modules are imported when they are used: `import napari_twostage` imports this package.
"""

_MEASURED = (".geojson", ".geojson.gz", ".parquet", ".geoparquet", "objects.csv", ".h5ad")
"""Endings of formats that hold measurements of objects."""
_DENSITY = ("density.tif", "density.png")
_OF_OBJECTS = (*_MEASURED, "areas.csv", *_DENSITY)
"""Endings of formats that follow from objects."""
_CROPPED = (".geojson", ".geojson.gz")


def export(
    seg: Result,
    path: str | PathLike[str] | Url,
    *,
    progress: ProgressCallback | None = None,
    crop: bool = True,
    least_object_um2: float | None = None,
    measure: str | None = None,
    cell_um: float | None = None,
) -> Location:
    """Write a result in the format that the file name selects.

    Parameters
    ----------
    seg : Result
        Result to export. Tiles not yet refined have their coarse labels. If its run was stopped,
        what there is is written, and the file says what is missing, but for a table of objects,
        which has no place for it.
    path : path or URL
        Name that ends in one of

        - ``.geojson``, ``.geojson.gz``: objects as polygons in level-0 pixels, for QuPath; see
          `crop`;
        - ``.parquet``, ``.geoparquet``: the same as GeoParquet, for geopandas, QGIS and DuckDB;
        - ``.ome.zarr``: labels of every level, OME-Zarr 0.5, in micrometres;
        - ``.ome.tif``, ``.ome.tiff``: labels of every level, a tiled pyramidal OME-TIFF;
        - ``.h5ad``: the table of objects as AnnData, for scanpy and squidpy;
        - ``areas.csv``, ``objects.csv``: one row per class, one row per object;
        - ``density.tif``, ``density.png``: objects per square millimetre, as numbers and drawn;
        - ``.png``: a figure: slide, uncertainty, refined tiles and labels side by side.

        An existing file is replaced only once the new one is complete. An export to a URL is
        written to a temporary folder first.
    progress : callable, optional
        Called with the share done, in [0, 1].
    crop : bool
        In GeoJSON, count pixels from the corner of the scanned area (`Slide.bounds`), if the slide
        states one, as MIRAX does: QuPath shows only that area of it. False counts from the slide's
        corner, for QuPath with ``--no-crop``. All other formats cover the whole slide.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own; 0 keeps all.
        Labels are exported as they are.
    measure : str, optional
        ``shape`` leaves out, of formats with objects, what pixels of the slide are read for.
    cell_um : float, optional
        Side of the cells of a density map, in micrometres.

    Returns
    -------
    Path or Url
        Location that was written.

    Raises
    ------
    ExportError
        If the ending is unknown, or `path` cannot be written or must not be replaced.
    SelectionError
        If `least_object_um2` is no possible area, `measure` or `cell_um` unknown.
    UnfinishedError
        If there is nothing yet that could be written.
    """
    from napari_twostage.export.atomic import replacing
    from napari_twostage.io.paths import locate
    from napari_twostage.measure.density import checked_cell
    from napari_twostage.measure.object_table import checked_extent
    from napari_twostage.measure.objects import checked_least_object

    path = locate(path)
    _check_arguments(seg, progress)
    check_targets(seg, [path])
    options: dict[str, object] = {"crop": False} if not crop else {}
    options["least_object_um2"] = checked_least_object(least_object_um2)
    options["measure"] = checked_extent(measure)
    options["cell_um"] = checked_cell(cell_um)
    known = _options_of(path)
    given = {name: value for name, value in options.items() if name in known and value is not None}
    write = partial(_writer(path), **given)
    with replacing(path) as place:
        write(seg, place, progress or _ignore)
    return path


def left_out_of(seg: Result, path: Location, measure: str | None = None) -> str:
    """Columns that an exported file lacks since the slide cannot be read, in a line; or empty.

    Parameters
    ----------
    seg, path, measure
        As for `export`.
    """
    if measure == "shape" or not path.name.lower().endswith(_MEASURED):
        return ""
    from napari_twostage.measure.pixel_means import unread_slide

    reason = unread_slide(seg)
    return f"stains and channels of objects are left out: {reason}" if reason else ""


def _check_arguments(seg: object, progress: object) -> None:
    """Refuse what is no result, such as its path, and progress that cannot be called."""
    if not hasattr(seg, "windows_done"):
        raise ExportError(
            f"a result was expected, as segment returns; found {brief(seg)}; "
            "open a folder with Segmentation.open"
        )
    if progress is not None and not callable(progress):
        raise ExportError(
            f"progress must be a function of the share done; found {brief(progress)}; leave it out"
        )


def check_targets(seg: Result, paths: Sequence[Location]) -> None:
    """Check that a result can be exported under all these names, before the first is computed.

    Raises
    ------
    ExportError
        If a name says no format, stands twice, is the result or its slide, or cannot be written.
    UnfinishedError
        If there is nothing yet that could be written.
    """
    from napari_twostage.export.atomic import check_target

    if not seg.windows_done:
        raise UnfinishedError(
            f"{seg.path} holds no labels yet, so there is nothing to export; "
            "segment the slide to its end first"
        )
    seen: list[Location] = []
    for path in paths:
        _writer(path)
        _check_place(seg, path)
        if path.resolve() in seen:
            raise ExportError(f"{path} is named twice; name each file once")
        seen.append(path.resolve())
        check_target(path)


def _check_place(seg: Result, path: Location) -> None:
    """Refuse to replace the result or its slide, and to write into the result."""
    from pathlib import Path

    from napari_twostage.io.paths import locate

    place, result, slide = path.resolve(), seg.path.resolve(), seg.record.slide.path
    if place == result:
        raise ExportError(f"{path} is the segmentation itself; choose another name to export to")
    if slide is not None and place == locate(slide).resolve():
        raise ExportError(f"{path} is the slide itself; choose another name to export to")
    if isinstance(place, Path) and isinstance(result, Path) and place.is_relative_to(result):
        raise ExportError(f"{path} lies inside the segmentation; choose another folder")


def _options_of(path: Location) -> set[str]:
    """Options that the format of a file has."""
    name = path.name.lower()
    endings = {
        "crop": _CROPPED,
        "least_object_um2": _OF_OBJECTS,
        "measure": _MEASURED,
        "cell_um": _DENSITY,
    }
    return {option for option, some in endings.items() if name.endswith(some)}


def _writer(path: Location) -> Writer:
    for ending, writer in _WRITERS.items():
        if path.name.lower().endswith(ending):
            module, function = writer.split(".")
            return cast("Writer", getattr(import_module(f"{__name__}.{module}"), function))
    raise ExportError(
        f"{path.name} does not say what to write; expected a name that ends in "
        f"{', '.join(_WRITERS)}"
    )


def _ignore(_done: float) -> None:
    """Ignore progress."""
