"""Writers: the labels of a result as OME-Zarr or GeoJSON, from napari's Save dialog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ExportError
from napari_twostage.viewer.settings import KEY

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:  # noqa: ANN401, ARG001
    """Export the result that a labels layer belongs to.

    Parameters
    ----------
    path : str
        Its ending chooses the format, as for `export`.
    data : array or list of array
        What the layer shows; the result itself is exported.
    meta : dict
        Of the layer, with ours in its metadata.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    ExportError
        If the layer shows no result, or `path` cannot be written.
    """
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.export import export

    return [str(export(Segmentation.open(_result(meta)), path))]


def _result(meta: dict[str, Any]) -> Location:
    ours = meta.get("metadata", {}).get(KEY, {})
    if ours.get("role") != "labels" or not ours.get("result"):
        raise ExportError(
            f"layer {meta.get('name')} shows no saved result of a two-stage segmentation; "
            "save that result's labels layer, or choose another format"
        )
    found: Location = ours["result"]
    return found
