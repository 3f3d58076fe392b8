"""Script that reproduces a result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_twostage.result.folder_names import SUFFIX

if TYPE_CHECKING:
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Scale
    from napari_twostage.result.record import Record
    from napari_twostage.result.record_parts import RunRecord

_ROUNDING = 1e-6
"""Tolerance in pixels; as in `Box.scaled`."""


def script(seg: Segmentation) -> str:
    """Write Python that repeats the runs of a result, in their order.

    Parameters
    ----------
    seg : Segmentation
        Result whose record lists the runs.

    Returns
    -------
    str
        Runs unchanged, unless the slide was an array: then a comment says what to fill in. Edits
        by hand cannot be repeated: a comment counts them.
    """
    record, parameters = seg.record, seg.record.parameters
    lines = ["import napari_twostage as ts", "", _open_slide(seg)]
    options = ['refine="none"', "progress=True"]
    if not _is_default_search(record):
        options.append(f"tissue={parameters.tissue}")
    if parameters.uncertainty != seg.card.uncertainty:
        options.append(f"uncertainty={parameters.uncertainty!r}")
    if (region := parameters.region) is not None:
        options.append(f"region=ts.Box{tuple(region.as_list())}")
    elif record.scope:
        options.append(f"region={[list(polygon) for polygon in record.scope]}")
    if record.least_object_um2 is not None:
        options.append(f"least_object_um2={record.least_object_um2!r}")
    lines += [
        f"model = ts.load_model({record.model.source!r}{_precision(record)})",
        f"seg = ts.segment(slide, model, {str(seg.path)!r}, {', '.join(options)})",
    ]
    lines += [
        f"seg.refine(seg.plan({arguments}), progress=True){_remark(run)}"
        for run in record.runs
        if not run.undone and (arguments := _arguments(run.wanted, seg.grid.downsample))
    ]
    if edits := seg.edit_boxes:
        lines.append(f"# {len(edits)} edits by hand are in {seg.path.name}")
    if accepted := seg.acceptances:
        places = f"{len(accepted)} place{'s' * (len(accepted) > 1)}"
        lines.append(f"# {places} accepted by hand in {seg.path.name} were not refined")
    exported = str(seg.path).removesuffix(SUFFIX) + ".geojson"
    lines.append(f"ts.export(seg, {exported!r})")
    return "\n".join(lines) + "\n"


def _precision(record: Record) -> str:
    """Argument that makes the labels the same on another machine."""
    return "" if record.precision is None else f", precision={record.precision!r}"


def _is_default_search(record: Record) -> bool:
    """Whether `segment` would search for tissue alike without being asked."""
    wanted, found = record.parameters.tissue, record.tissue
    return wanted is None or (wanted and (found is None or found.bright_field))


def _remark(run: RunRecord) -> str:
    """Comment on a run that was stopped or met damage: the script would refine all its tiles."""
    planned = run.planned_tiles
    return f"  # {run.refined} of {planned} tiles were refined" if run.refined < planned else ""


def _open_slide(seg: Segmentation) -> str:
    slide = seg.record.slide
    y, x = seg.slide_mpp
    given = slide.mpp_source.startswith("given") or slide.path is None
    extras = f", mpp=({y}, {x})" if given else ""
    for name, value in seg.record.parameters.picture.as_dict().items():
        extras += f", {name}={value!r}"
    if slide.path is None:
        return f"slide = ts.open_slide(array{extras})  # the pixels of {slide.name}"
    return f"slide = ts.open_slide({slide.path!r}{extras})"


def _arguments(wanted: dict[str, Any], downsample: Scale) -> str:
    """Arguments of `Segmentation.plan`; empty if nothing was to be refined."""
    if wanted.get("fraction") == 0:
        return ""
    words = [f"{name}={value}" for name, value in wanted.items() if name != "region"]
    region = wanted.get("region")
    if region is not None:
        words.append(f"region={_region(region, downsample)}")
    return ", ".join(words)


def _region(region: list[Any], downsample: Scale) -> str:
    """Source of a box or polygons of the fine grid, in level-0 pixels."""
    y, x = downsample
    if isinstance(region[0], list):
        polygons = [[(a * y, b * x) for a, b in polygon] for polygon in region]
        return repr(polygons)
    top, left, bottom, right = region
    # inwards: growing to whole pixels again gives the same box
    first = math.ceil(top * y - _ROUNDING), math.ceil(left * x - _ROUNDING)
    last = math.floor(bottom * y + _ROUNDING), math.floor(right * x + _ROUNDING)
    return f"ts.Box{(*first, *last)}"
