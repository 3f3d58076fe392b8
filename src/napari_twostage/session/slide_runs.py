"""Runs of a slide: its result folders, what each was made with, and how far it came."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import DamagedFileError, SegmentationError
from napari_twostage.measure.completeness import completeness
from napari_twostage.method.tiling import TileState
from napari_twostage.result.folder_names import SUFFIX
from napari_twostage.result.record import FILE, read_record
from napari_twostage.session.advice import describe_missing
from napari_twostage.session.result_paths import folders_for, is_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_twostage.io.paths import Location
    from napari_twostage.result.record import Record
    from napari_twostage.slides.base import Slide

_SEARCH = {None: "", True: "empty glass skipped", False: "whole slide"}
"""Words for `Parameters.tissue`; the default is not named."""


@dataclass(frozen=True, slots=True)
class SlideRun:
    """A result folder of a slide."""

    path: Location
    record: Record
    tiles: int
    """Tiles of the tissue, or of all that was scanned; 0 before it is known."""
    refined: int
    edited: int
    """Tiles with edits."""
    missing: str
    """What a stopped run left out, in a few words; empty if it is finished."""

    @classmethod
    def of(cls, seg: Segmentation) -> SlideRun:
        """Summarise an open result."""
        counts = np.bincount(seg.states.ravel(), minlength=len(TileState))
        known = int(counts.sum() - counts[TileState.OUTSIDE]) if seg.tissue_known else 0
        edited = int(counts[TileState.EDITED])
        missing = describe_missing(completeness(seg))
        return cls(seg.path, seg.record, known, int(seg.refined.sum()), edited, missing)

    def describe(self) -> str:
        """Model, and the options that are not the default, in a few words."""
        made_with, card = self.record.parameters, self.record.card
        words = [f"{self.record.model.name} {self.record.model.version}"]
        words.append(_SEARCH[made_with.tissue])
        if made_with.uncertainty != card.uncertainty:
            words.append(f"by {made_with.uncertainty}")
        if made_with.region is not None:
            words.append("part of the slide")
        return " · ".join(filter(None, words))

    def describe_progress(self) -> str:
        """How much is refined and edited, whether it is finished, and when it was begun."""
        words = [self.missing] if self.missing else []
        if self.tiles:
            words.append(f"{self.refined / self.tiles:.0%} refined")
        if self.edited:
            words.append(f"{self.edited:,} tile{'s' * (self.edited > 1)} edited")
        return " · ".join([*words, _local_time(self.record.created)])


def find_runs(slide: Slide, known: Iterable[Location] = ()) -> list[SlideRun]:
    """Find the results of a slide where results of it are kept, and in further folders.

    Parameters
    ----------
    slide : Slide
    known : iterable of Path or Url
        Further result folders; those that are gone, or of another slide or pixel size, are left
        out.

    Returns
    -------
    list of SlideRun
        The newest first. Results that cannot be read are left out.
    """
    found = [run for path in _candidates(slide, known) if (run := _read(path, slide))]
    return sorted(found, key=lambda run: run.record.created, reverse=True)


def _candidates(slide: Slide, known: Iterable[Location]) -> Iterator[Location]:
    seen: set[Location] = set()
    beside = (
        path
        for folder in folders_for(slide)
        if folder.is_dir()
        for path in folder.glob(f"*{SUFFIX}")
    )
    for path in (*beside, *known):
        if path not in seen:
            seen.add(path)
            yield path


def _read(path: Location, slide: Slide) -> SlideRun | None:
    """Summary of a folder, if it is a readable result of the slide at its pixel size."""
    with suppress(SegmentationError, DamagedFileError, OSError):
        if (path / FILE).exists() and is_of(read_record(path), slide):
            return SlideRun.of(Segmentation.open(path))
    return None


def _local_time(moment: str) -> str:
    """A time of a record for people of this time zone: ``30 Nov 14:02``."""
    time = datetime.fromisoformat(moment).astimezone()
    return f"{time.day} {time:%b %H:%M}"
