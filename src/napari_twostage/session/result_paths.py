"""Folders of results: where those of a slide and a model go, and which are there already."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import count
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import DamagedFileError, SegmentationError
from napari_twostage.io.paths import is_vacant
from napari_twostage.result.folder_names import SUFFIX, has_room, result_folder
from napari_twostage.result.record import FILE, read_record
from napari_twostage.slides import formats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.engine.options import RunOptions
    from napari_twostage.io.paths import Location
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.result.record import Record
    from napari_twostage.slides.base import Slide

_SAME_SIZE = 1e-3
"""Relative difference up to which two pixel sizes are one."""


def find_result(
    slide: Slide,
    bundle: Bundle,
    out: Location | None = None,
    last: Location | None = None,
) -> tuple[Location, Segmentation | None]:
    """Find the result of an earlier run on this slide with this model.

    Parameters
    ----------
    slide, bundle : Slide, Bundle
        The slide and the model that a result must have been made with.
    out : Path or Url, optional
        Look here only; else beside the slide, where earlier runs are numbered.
    last : Path or Url, optional
        The result of this slide and model that was opened last; taken if `out` is not given, and
        it can still be opened.

    Returns
    -------
    (Path or Url, Segmentation or None)
        The last or newest result, or where a new one may be put.

    Raises
    ------
    SegmentationError
        If `out` holds something else.
    DamagedFileError
        If none is found, but one that cannot be read.
    """
    if out is not None:
        return out, None if is_vacant(out) else _open_made_by(out, slide, bundle)
    if last is not None:
        with suppress(SegmentationError, DamagedFileError, OSError):
            if is_of(read_record(last), slide, bundle):
                return last, Segmentation.open(last, slide=slide)
    newest, vacant = _newest(slide, bundle)
    return (vacant, None) if newest is None else (newest, Segmentation.open(newest, slide=slide))


def _open_made_by(out: Location, slide: Slide, bundle: Bundle) -> Segmentation:
    """Open a result that must have been made with this model."""
    seg = Segmentation.open(out, slide=slide)
    made_with = seg.record.model
    if made_with.sha256 != bundle.sha256:
        raise SegmentationError(
            f"{out.name} was made with the model {made_with.name} "
            f"{made_with.version}, not {bundle.card.name} {bundle.card.version}; "
            "choose that model, or another result folder"
        )
    return seg


def _newest(slide: Slide, bundle: Bundle) -> tuple[Location | None, Location]:
    """The newest result of a slide and a model, or None, and the first vacant place."""
    newest, damaged = None, None
    for path in _candidates(slide, bundle):
        if is_vacant(path):
            break
        try:
            if (record := _record_in(path)) is not None and is_of(record, slide, bundle):
                newest = path
        except DamagedFileError as error:
            damaged = error
    if newest is None and damaged is not None:  # it may be the one that is looked for
        raise damaged
    return newest, path


def is_of(record: Record, slide: Slide, bundle: Bundle | None = None) -> bool:
    """Whether a result is of a slide, at its pixel size, and of a model if one is given."""
    model = bundle is None or record.model.sha256 == bundle.sha256
    return model and has_size_of(record, slide) and record.slide.fingerprint == slide.fingerprint()


def has_size_of(record: Record, slide: Slide) -> bool:
    """Whether a result was made at the pixel size that a slide has now; a user may change it."""
    pairs = zip(record.slide.mpp, slide.mpp, strict=True)
    return all(isclose(before, now, rel_tol=_SAME_SIZE) for before, now in pairs)


def folders_for(slide: Slide) -> list[Path]:
    """Folders that may hold results of a slide: its own, if it has one, and one of the home."""
    beside = [slide.path.absolute().parent] if isinstance(slide.path, Path) else []
    return [*beside, Path.home() / "napari-twostage"]


def vacant_path(slide: Slide, bundle: Bundle, beside: Location | None = None) -> Location:
    """Name a folder for a new result: the first of its kind that is not taken."""
    paths = _candidates(slide, bundle) if beside is None else _numbered(beside)
    return next(path for path in paths if is_vacant(path))


def find_made_with(
    slide: Slide, bundle: Bundle, options: RunOptions, beside: Location
) -> Segmentation | None:
    """Find the result of other options among the numbered ones beside a result."""
    for path in _numbered(beside):
        if is_vacant(path):
            return None
        with suppress(DamagedFileError):  # left alone
            record = _record_in(path)
            if record is not None and is_of(record, slide, bundle) and options.fit(record):
                return Segmentation.open(path, slide=slide)
    raise AssertionError("numbers have no end")


def _candidates(slide: Slide, bundle: Bundle) -> Iterator[Location]:
    """Beside the slide, or in the home folder for arrays, URLs and slides on read-only disks."""
    beside, home = folders_for(slide)[0], folders_for(slide)[-1]
    folder = beside if beside is home or (has_room(beside) and _can_write(beside)) else home
    name = formats.stem(slide.path.name) if slide.path else slide.name
    name = re.sub(r"[^\w.-]+", "_", name) or "slide"
    return _numbered(result_folder(folder, f"{name}.{bundle.card.name}"))


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, found by trying: permissions alone do not tell."""
    attempt = folder / f".{uuid4().hex}.tmp"
    try:
        attempt.touch(exist_ok=False)
        attempt.unlink()
    except OSError:
        return False
    return True


def _numbered(path: Location) -> Iterator[Location]:
    stem = re.sub(r"-\d+$", "", path.name.removesuffix(SUFFIX))
    yield path.with_name(f"{stem}{SUFFIX}")
    for number in count(2):
        yield path.with_name(f"{stem}-{number}{SUFFIX}")


def _record_in(path: Location) -> Record | None:
    """Record of a folder; None if it is no result, or one of another version of this program."""
    if not (path / FILE).exists():
        return None
    try:
        return read_record(path)
    except DamagedFileError:
        raise
    except SegmentationError:
        return None
