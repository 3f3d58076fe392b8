"""Writers for napari's Save dialog: labels of a result as OME-Zarr or GeoJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ExportError
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:  # noqa: ANN401, ARG001
    """Export the result that a labels layer shows.

    Parameters
    ----------
    path : str
        Output file; its suffix selects the format, as for `export`.
    data : array or list of array
        Pixels of the layer; not used, the result itself is exported.
    meta : dict
        Layer attributes from napari; ours are under "metadata".

    Returns
    -------
    list of str
        Paths written.

    Raises
    ------
    ExportError
        If the layer shows no result or `path` cannot be written.
    """
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.export import export

    return [str(export(Segmentation.open(_result_path(meta)), path))]


def _result_path(meta: dict[str, Any]) -> Location:
    ours = meta.get("metadata", {}).get(METADATA_KEY, {})
    if ours.get("role") != "labels" or not ours.get("result"):
        raise ExportError(
            f"layer {meta.get('name')} shows no saved result of a two-stage segmentation; "
            "save that result's labels layer, or choose another format"
        )
    found: Location = ours["result"]
    return found
