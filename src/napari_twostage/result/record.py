"""Record of a result: its slide, its model, its parameters and every run, as JSON."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from napari_twostage.errors import (
    DamagedFileError,
    ModelError,
    SegmentationError,
    SlideError,
    brief,
    one_line,
    storage_error,
)
from napari_twostage.geometry import Box, Grid
from napari_twostage.io.files import is_unreadable
from napari_twostage.io.paths import read_whole, write_whole
from napari_twostage.method.domain import DomainCheck
from napari_twostage.models.card import ModelCard
from napari_twostage.result.record_parts import (
    ModelRecord,
    Parameters,
    RunRecord,
    SlideRecord,
    TissueRecord,
    now,
)
from napari_twostage.slides.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.geometry import Polygons
    from napari_twostage.io.paths import Location
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

Part = TypeVar("Part")

FORMAT = 1
FILE = "record.json"
CHECKSUM = "checksum"
"""Entry of the file with the checksum of the others."""
MOST_BYTES = 1 << 26
"""Size of a record beyond which it is taken for damage."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that `record.json` states."""

    created: str
    """UTC, ISO 8601."""
    slide: SlideRecord
    grid: Grid
    """The fine grid."""
    model: ModelRecord
    card: ModelCard
    parameters: Parameters
    tissue: TissueRecord | None = None
    """None before tissue detection."""
    domain: DomainCheck | None = None
    """Comparison with the training images; None if the card has none, or before it."""
    runs: tuple[RunRecord, ...] = ()
    least_object_um2: float | None = None
    """Least area of objects that was asked for, in square micrometres; None for the model's own."""
    scope: Polygons = ()
    """Polygons of level 0 that the coarse pass was asked for so far; none for the whole slide."""
    journal_version: int = 1
    """From 2 on, the journal has a copy of the record."""
    journal_lines: int = 0
    """Lines that the journal had when the record was written, or more; 0 if that is not known."""

    @classmethod
    def new(
        cls, slide: Slide, model: Model, fine: Grid, parameters: Parameters, folder: Location
    ) -> Self:
        """Describe a result that is about to be made in a folder."""
        return cls(
            created=now(),
            slide=SlideRecord.of(slide, folder),
            grid=fine,
            model=ModelRecord.of(model),
            card=model.card,
            parameters=parameters,
            journal_version=2,
        )

    @property
    def measured_box(self) -> Box:
        """Part of level 0 that figures are of: the region that is segmented, else the slide."""
        height, width = self.slide.level_shapes[0]
        return self.parameters.region or Box(0, 0, height, width)

    @property
    def precision(self) -> str | None:
        """Precision of the last run, which the next one keeps unless another is asked for.

        None before the first run.
        """
        if not self.runs:
            return None
        last = self.runs[-1]
        return last.precision or (last.compute or {}).get("precision")

    def with_run(self, run: RunRecord) -> Self:
        """Add a run that begins, or replace its entry when it ends or is undone."""
        tokens = [one.token for one in self.runs]
        if run.token is None or run.token not in tokens:
            return replace(self, runs=(*self.runs, run))
        at = tokens.index(run.token)
        return replace(self, runs=(*self.runs[:at], run, *self.runs[at + 1 :]))

    @property
    def last_run(self) -> RunRecord | None:
        """The last run that was not undone; None if there is none."""
        return next((run for run in reversed(self.runs) if not run.undone), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "created": self.created,
            "slide": self.slide.as_dict(),
            "grid": asdict(self.grid),
            "model": asdict(self.model),
            "card": json.loads(self.card.to_json()),
            "parameters": self.parameters.as_dict(),
            "runs": [run.as_dict() for run in self.runs],
        }
        if self.journal_version > 1:
            values["journal_version"] = self.journal_version
            values["journal_lines"] = self.journal_lines
        if self.tissue is not None:
            values["tissue"] = self.tissue.as_dict()
        if self.domain is not None:
            values["domain"] = self.domain.as_dict()
        if self.least_object_um2 is not None:
            values["least_object_um2"] = self.least_object_um2
        if self.scope:
            values["scope"] = [[list(vertex) for vertex in polygon] for polygon in self.scope]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str) -> Self:
        """Read the values of `as_dict`; `source` names the file in errors.

        Raises
        ------
        DamagedFileError
            If an entry is missing or of another kind, or the card is not usable.
        """
        try:
            slide, grid = dict(values["slide"]), values["grid"]
            slide["level_shapes"] = tuple(map(_pair, slide["level_shapes"]))
            slide["mpp"] = _pair(slide["mpp"])
            if slide.get("bounds") is not None:
                slide["bounds"] = Box(*slide["bounds"])
            parameters = dict(values["parameters"])
            if parameters["region"] is not None:
                parameters["region"] = Box(*parameters["region"])
            parameters["picture"] = _picture(parameters)
            tissue, least = values.get("tissue"), values.get("least_object_um2")
            domain = values.get("domain")
            if tissue is not None:
                tissue = {**tissue, "intensity_range": _pair(tissue["intensity_range"])}
            card = ModelCard.from_json(json.dumps(values["card"]), f"{FILE} of {source}")
            _require_measure(card, parameters["uncertainty"])
            return cls(
                created=values["created"],
                slide=_known(SlideRecord, slide),
                grid=Grid(_pair(grid["shape"]), _pair(grid["downsample"]), _pair(grid["mpp"])),
                model=_known(ModelRecord, values["model"]),
                card=card,
                parameters=_known(Parameters, parameters),
                tissue=None if tissue is None else _known(TissueRecord, tissue),
                domain=None if domain is None else DomainCheck.from_dict(domain),
                runs=tuple(_known(RunRecord, run) for run in values["runs"]),
                least_object_um2=None if least is None else float(least),
                scope=polygons_from(values.get("scope", [])),
                journal_version=int(values.get("journal_version", 1)),
                journal_lines=int(values.get("journal_lines", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ModelError, SlideError) as error:
            raise DamagedFileError(source, one_line(error)) from error


def _require_measure(card: ModelCard, name: object) -> None:
    if name not in card.measures:
        raise ValueError(f"there is no uncertainty {brief(name)}")


def read_record(folder: Location) -> Record:
    """Read the record of a result folder.

    Raises
    ------
    SegmentationError
        If the folder is no result, or of a newer format.
    DamagedFileError
        If the record is not what was written.
    """
    file = folder / FILE
    try:
        if isinstance(file, Path) and file.stat().st_size > MOST_BYTES:
            raise DamagedFileError(file, f"more than {MOST_BYTES} bytes")
        values = json.loads(read_whole(file))
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists() and (folder / "journal.jsonl").exists():
            raise DamagedFileError(file, "missing") from None
        found = "is no result folder" if folder.exists() else "does not exist"
        raise SegmentationError(
            f"{folder} {found}; name a folder that segment wrote: it holds {FILE}"
        ) from None
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise DamagedFileError(file, one_line(error)) from error
    except OSError as error:
        if is_unreadable(error):
            raise DamagedFileError(file, error.strerror or "") from error
        raise storage_error(error, file) from error
    found_format = values.get("format") if isinstance(values, dict) else None
    if not isinstance(found_format, int):
        raise DamagedFileError(file, "no record")
    if found_format != FORMAT:
        raise SegmentationError(
            f"{folder} has format {found_format}, expected {FORMAT}; update napari-twostage"
        )
    if values.pop(CHECKSUM, None) not in (None, _checksum(values)):  # 0.1 wrote none
        raise DamagedFileError(file, "values have changed")
    return Record.from_dict(values, str(file))


def write_record(folder: Location, record: Record) -> None:
    """Write the record; a crash leaves the old one or the new one."""
    values = record.as_dict()
    text = json.dumps({**values, CHECKSUM: _checksum(values)}, indent=2)
    write_whole(folder / FILE, text.encode() + b"\n")


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values).encode())


def polygons_from(lists: list[list[list[float]]]) -> Polygons:
    """Polygons as they are written: lists of vertices (y, x).

    Raises
    ------
    TypeError, ValueError
        If they are something else.
    """
    return tuple(tuple((float(y), float(x)) for y, x in polygon) for polygon in lists)


def _known(kind: type[Part], values: Mapping[str, Any]) -> Part:
    """Build a part of a record; entries of later versions are ignored."""
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: value for name, value in values.items() if name in names})


def _picture(parameters: Mapping[str, Any]) -> Picture:
    """What was read of the slide; an older record has the channel alone."""
    values = parameters.get("picture", {"channel": parameters.get("channel")})
    names = {entry.name for entry in fields(Picture)}
    return Picture.from_dict({name: values[name] for name in names & values.keys()})


def _pair(values: list[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second
