"""Annotations that the command line is given to segment, refine and measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import UnfinishedError
from napari_twostage.io.annotations import load_annotations
from napari_twostage.measure.annotations import measured, without_outdated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box, Polygons, Shape
    from napari_twostage.io.annotations import Annotation


def annotations_of(given: Box | Path | None, bounds: Box | None, shape: Shape) -> list[Annotation]:
    """Annotations of a region that is given as a file; none of another.

    Raises
    ------
    AnnotationError
        If it cannot be read, or holds no region of the slide.
    """
    if not isinstance(given, Path):
        return []
    return load_annotations(given, bounds=bounds, shape=shape)[0]


def rings_of(annotations: Sequence[Annotation]) -> Polygons:
    """Outlines of annotations, as polygons to segment or refine."""
    return tuple(ring for one in annotations for ring in one.rings)


def keep_measured(seg: Segmentation, annotations: Sequence[Annotation]) -> None:
    """Measure annotations and keep them with a result, beside or in place of those it has."""
    known = {one.id: one for one in seg.read_annotations()}
    for one in annotations:
        known[one.id] = one
    kept = without_outdated(seg, known.values())
    wanted = {one.id for one in annotations}
    seg.save_annotations([_measured(seg, one) if one.id in wanted else one for one in kept])


def _measured(seg: Segmentation, one: Annotation) -> Annotation:
    try:
        return measured(seg, one)
    except UnfinishedError:  # the run was stopped, which the summary says
        return one


def require_segmented(seg: Segmentation, annotations: Sequence[Annotation]) -> None:
    """Refuse to refine what has no coarse labels.

    Raises
    ------
    UnfinishedError
        With the first such annotation.
    """
    for one in annotations:
        if not seg.is_segmented(one.rings):
            raise UnfinishedError(
                f"{one.name} is not segmented yet; run segment with the same --region first"
            )
