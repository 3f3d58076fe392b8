"""The user's annotations of a slide, kept in its result folder."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari_twostage.errors import AnnotationError
from napari_twostage.io.annotations import read_annotations, written_annotations
from napari_twostage.io.paths import read_whole, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Box
    from napari_twostage.io.annotations import Annotation
    from napari_twostage.io.paths import Location

log = logging.getLogger(__name__)

FILE = "annotations.geojson"


def kept_annotations(folder: Location, bounds: Box | None) -> list[Annotation]:
    """Annotations of a result folder; none if there is no file, or it cannot be read.

    Parameters
    ----------
    folder : Path or Url
    bounds : Box, optional
        Scanned area of the slide.
    """
    try:
        content = read_whole(folder / FILE)
    except FileNotFoundError:
        return []
    try:
        return read_annotations(content, FILE, bounds=bounds)[0] if content.strip() else []
    except AnnotationError as error:
        log.warning("%s: %s; its regions are not shown", folder, error)
        return []


def save_annotations(
    folder: Location, annotations: Sequence[Annotation], bounds: Box | None
) -> None:
    """Replace the annotations of a result folder; with none, the file becomes an empty one."""
    write_whole(folder / FILE, written_annotations(annotations, bounds) if annotations else b"\n")
