"""Batches: many slides with one model, one after the other; finished results are left alone."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from dataclasses import dataclass
from io import StringIO
from itertools import accumulate, chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.engine.api import prepare, run_to_end
from napari_twostage.engine.progress import watch
from napari_twostage.errors import (
    ClusterError,
    SegmentationError,
    explained,
    one_line,
)
from napari_twostage.io.csv_table import TableWriter
from napari_twostage.io.paths import Location, locate, same_file, write_whole
from napari_twostage.measure.summary import summarise
from napari_twostage.result.folder_names import name_on_disk, result_folder
from napari_twostage.result.record import FILE, read_record
from napari_twostage.result.result_files import storage
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_twostage.engine.executor import Executor
    from napari_twostage.engine.options import RunOptions
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Scale
    from napari_twostage.method.selection import Selection
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

log = logging.getLogger(__name__)

TABLE = "summary.csv"
DONE, RESUMED, DONE_BEFORE, FAILED_TILES = "done", "resumed", "done before", "failed tiles"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """The outcome for one slide."""

    slide: Location
    status: str
    """``done``, ``resumed``, ``done before``, ``failed tiles``, or why there is no result."""
    summary: dict[str, Any] | None = None
    """See `summary.summarise`; None if there is no result."""
    error: Exception | None = None
    """The error that `status` names, with its traceback."""

    @property
    def whole(self) -> bool:
        """Whether nothing of the slide failed or is missing."""
        return self.summary is not None and bool(self.summary["complete"])

    def as_dict(self) -> dict[str, Any]:
        """Columns of the table, by name."""
        row: dict[str, Any] = {"slide": str(self.slide), "status": self.status}
        if self.summary is None:
            return row
        row |= {
            "result": self.summary["out"],
            "tissue_mm2": round(self.summary["tissue_mm2"] or 0.0, 4),
            "fraction_refined": round(self.summary["fraction_refined"], 4),
            "failed_tiles": self.summary["tiles"]["failed"],
            "seconds": round(sum(self.summary["seconds"].values()), 1),
        }
        return row | {f"{c['name']}_mm2": round(c["area_mm2"], 6) for c in self.summary["classes"]}


def segment_all(
    slides: Sequence[str | Location],
    model: Model,
    out: str | Location,
    options: RunOptions,
    *,
    mpp: float | Scale | None = None,
    progress: bool = False,
    cluster: Executor | None = None,
) -> Iterator[BatchRow]:
    """Segment slides, each into a folder of its own; a failing slide does not stop the others.

    Parameters
    ----------
    slides : sequence of path or URL
        Named twice, they are segmented once.
    model : Model
        From `load_model`.
    out : path
        Folder for the results and the table, ``summary.csv``, which is written anew after each
        slide; an earlier one stays until a slide has a result.
    options : RunOptions
        Settings, for all slides.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x), for all slides; see `open_slide`.
    progress : bool
        Show bars on stderr.
    cluster : Executor, optional
        See `segment`.

    Yields
    ------
    BatchRow
        After each slide. One that an earlier call finished with the same settings is left
        alone, one that it began is resumed.

    Raises
    ------
    ClusterError
        If the cluster is lost.
    StorageError
        If the folder or the table cannot be written.
    """
    folder = locate(out).expanduser()
    if isinstance(folder, Path):
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
    keep_table = (folder / TABLE).exists()
    results = place_results([locate(slide) for slide in slides], folder)
    rows: list[BatchRow] = []
    for number, (source, result) in enumerate(results.items(), start=1):
        if progress:
            sys.stderr.write(f"[{number}/{len(results)}] {source}\n")
        row = _row_of(source, result, model, options, mpp=mpp, progress=progress, cluster=cluster)
        rows.append(row)
        keep_table &= row.summary is None
        if not keep_table:
            _write_table(folder / TABLE, [row.as_dict() for row in rows])
        yield row


def _row_of(
    source: Location,
    result: Location,
    model: Model,
    options: RunOptions,
    *,
    mpp: float | Scale | None,
    progress: bool,
    cluster: Executor | None,
) -> BatchRow:
    """Segment one slide; its row says why, if it fails."""
    try:
        with open_slide(source, mpp=mpp, **options.picture.as_dict()) as slide:
            return _segment_one(
                source, slide, model, result, options, progress=progress, cluster=cluster
            )
    except ClusterError:
        raise
    except Exception as error:
        row = BatchRow(source, one_line(explained(error) or error), error=error)
        log.debug("%s", source, exc_info=error)
        sys.stderr.write(f"{source}: {row.status}\n")
        return row


def _segment_one(
    source: Location,
    slide: Slide,
    model: Model,
    out: Location,
    options: RunOptions,
    *,
    progress: bool,
    cluster: Executor | None,
) -> BatchRow:
    begun = (out / FILE).exists() and not options.overwrite
    seg = prepare(slide, model, out, options)
    wanted = options.selection(seg.card)
    if _finished(seg, wanted):
        return _row(source, DONE_BEFORE, seg)
    watch(run_to_end(seg, wanted, cluster=cluster), progress)
    return _row(source, RESUMED if begun else DONE, seg)


def place_results(slides: Iterable[Location], out: Location) -> dict[Location, Location]:
    """Name a result folder for each slide: the same at every call, and of one slide only.

    Where another slide has the name, here or from an earlier call, the names of the folders that
    the slide is in come before it, as many as it takes. Names that differ in case only count as
    one, on any disk, so that results may move to one that ignores case.
    """
    placed: dict[Location, Location] = {}
    taken: set[str] = set()
    there = _results_by_name(out)
    for place, slide in _distinct(slides).items():
        longer = accumulate(_names(place), lambda name, part: f"{part}-{name}")
        numbered = (f"{slide.name}-{number}" for number in count(2))
        for name in chain(longer, numbered):
            result = result_folder(out, name)
            key = name_on_disk(result.name)
            if key not in taken and all(_is_of(r, place) for r in there.get(key, [result])):
                break
        placed[slide] = result
        taken.add(key)
    return placed


def _distinct(slides: Iterable[Location]) -> dict[Location, Location]:
    """Slides by absolute location, without duplicates."""
    distinct: dict[Location, Location] = {}
    spellings: defaultdict[str, list[Location]] = defaultdict(list)
    for slide in slides:
        place = slide.expanduser().absolute()
        alike = spellings[name_on_disk(str(place))]
        if not any(same_file(place, other) for other in alike):
            alike.append(place)
            distinct[place] = slide
    return distinct


def _results_by_name(out: Location) -> dict[str, list[Location]]:
    """Entries of a folder on disk by `name_on_disk`; empty for a URL."""
    found: defaultdict[str, list[Location]] = defaultdict(list)
    if isinstance(out, Path) and out.is_dir():
        for entry in out.iterdir():
            found[name_on_disk(entry.name)].append(entry)
    return dict(found)


def _names(place: Location) -> list[str]:
    """Names of a slide and of the folders it is in, the innermost first."""
    if isinstance(place, Path):
        return list(reversed(place.parts[1:]))
    return [place.name, *reversed(str(place.parent).replace("://", "/").split("/"))]


def _is_of(result: Location, slide: Location) -> bool:
    """Whether a result folder may hold this slide: it is not there yet, or was made of it."""
    if not (result / FILE).exists():
        return True
    try:
        made_of = read_record(result).slide.path
    except SegmentationError:
        return True  # reported when it is opened
    if made_of is None or made_of == str(slide):
        return True
    return same_file(locate(made_of), slide) or not locate(made_of).exists()


def _finished(seg: Segmentation, wanted: Selection) -> bool:
    """Whether a run of this selection finished, and no tile is left to retry."""
    asked = wanted.as_dict()
    ended = any(
        past.wanted == asked and past.finished and not past.undone for past in seg.record.runs
    )
    return ended and seg.coarse_complete and not seg.failures


def _row(source: Location, status: str, seg: Segmentation) -> BatchRow:
    return BatchRow(source, FAILED_TILES if seg.failures else status, summarise(seg))


def _write_table(place: Location, rows: list[dict[str, Any]]) -> None:
    text = StringIO(newline="")
    table, columns = TableWriter(text), _columns(rows)
    table.row(columns)
    for row in rows:
        table.row(row.get(name, "") for name in columns)
    # bytes of a name that are no text are written as what they are
    with storage(place):
        write_whole(place, text.getvalue().encode(errors="backslashreplace"))


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Names of all columns; a slide without a result lacks some."""
    return [*max(rows, key=len)]


def aligned(rows: list[dict[str, Any]]) -> list[str]:
    r"""The table as aligned lines of text, the status last.

    Examples
    --------
    >>> rows = [{"slide": "a.svs", "status": "done", "seconds": 12.5}, {"slide": "long.svs"}]
    >>> print(*aligned(rows), sep="\n")
    slide     seconds  status
    a.svs        12.5  done
    long.svs
    """
    shown = [name for name in _columns(rows) if name not in ("result", "status")]
    lines = [shown, *([str(row.get(name, "")) for name in shown] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(shown))]
    statuses = ["status", *(str(row.get("status", "")) for row in rows)]
    return [
        "  ".join(
            [name.ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            + [status]
        ).rstrip()
        for (name, *cells), status in zip(lines, statuses, strict=True)
    ]
