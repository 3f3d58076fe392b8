"""Parts of a result's record: slide, model, parameters, tissue and runs."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from napari_twostage.io.paths import seen_from
from napari_twostage.method.artefacts import Artefact
from napari_twostage.slides.picture import WHOLE, Picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

STAGES = ("pyramid", "tissue", "coarse", "refine")
"""Stages of a run, in their order."""
PACKAGES = ("napari-twostage", "torch", "openvino", "numpy", "zarr")
"""Packages whose versions a run states, where they are installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlideRecord:
    """The slide that was segmented."""

    name: str
    path: str | None
    """Absolute path or URL; None for an array."""
    seen_from_result: str | None = None
    """Path from the result's folder; None for an array, a URL and another drive."""
    format: str
    fingerprint: str
    """Hash of its size and some of its pixels."""
    level_shapes: tuple[tuple[int, int], ...]
    mpp: tuple[float, float]
    """Micrometres per pixel (y, x) of level 0."""
    mpp_source: str
    """The origin of the pixel size: a tag of the file, or the user."""
    bounds: Box | None = None
    """Part of level 0 that was scanned, to which QuPath crops the slide; None if none is stated."""

    @classmethod
    def of(cls, slide: Slide, folder: Location) -> Self:
        """Describe an open slide, whose result is to be in a folder."""
        return cls(
            name=slide.name,
            path=str(slide.path.absolute()) if slide.path else None,
            seen_from_result=seen_from(folder, slide.path),
            format=slide.format,
            fingerprint=slide.fingerprint(),
            level_shapes=tuple(slide.level_shapes),
            mpp=slide.mpp,
            mpp_source=slide.mpp_source,
            bounds=slide.bounds,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name; bounds only if there are some."""
        values = asdict(self)
        values.pop("bounds")
        return values if self.bounds is None else {**values, "bounds": self.bounds.as_list()}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """The model that was used."""

    name: str
    version: str
    source: str
    """A bundled name, or a path."""
    sha256: str
    """Hash of its card and weights."""

    @classmethod
    def of(cls, model: Model) -> Self:
        """Describe a loaded model."""
        return cls(
            name=model.card.name,
            version=model.card.version,
            source=model.bundle.source,
            sha256=model.bundle.sha256,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """Settings that decide a result's coarse pass; runs with others need another folder."""

    tissue: bool | None = None
    """Whether to look for tissue first; None looks on bright glass alone."""
    region: Box | None = None
    """The part of level 0 that is segmented."""
    uncertainty: str
    """One of the card's `measures`."""
    picture: Picture = WHOLE
    """Scene, channel and plane that were read, and the range of values."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name."""
        region = None if self.region is None else self.region.as_list()
        return {
            "tissue": self.tissue,
            "region": region,
            "uncertainty": self.uncertainty,
            "picture": self.picture.as_dict(),
        }


_NOT_TISSUE = {Artefact.PEN.words: "pen marks", Artefact.EDGE.words: "coverslip edges"}
_IN_TISSUE = {Artefact.OUT_OF_FOCUS.words: "out of focus"}
"""Artefacts, in words of a notice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TissueRecord:
    """The tissue that was found."""

    searched: bool
    """False where all that was scanned was taken for tissue."""
    bright_field: bool
    area_mm2: float
    """Tissue inside the region that is segmented, else of the slide, without the margin around it;
    in results of version 0.1 of the whole slide, with the margin."""
    tiles: int
    intensity_range: tuple[float, float]
    """Pixel values shown as black and white, for slides of more than 8 bits."""
    slide_mm2: float | None = None
    """Tissue of the whole slide, as `area_mm2`; None in results of version 0.1."""
    left_out_mm2: float | None = None
    """Pen marks and coverslip edges in the region, else on the slide; None if there are none."""
    artefacts_mm2: dict[str, float] | None = None
    """Artefacts in the region, else on the slide, by `Artefact.words`, for those that were looked
    for; None in older results."""

    @property
    def has_margin(self) -> bool:
        """Whether `area_mm2` counts the margin, as version 0.1 did."""
        return self.slide_mm2 is None

    def notices(self) -> list[str]:
        """What a user should know about the tissue, a line each."""
        lines = self.artefact_notices()
        if not self.searched and not self.bright_field:
            lines.append("dark field: all that was scanned is segmented, no tissue was looked for")
        return lines

    def artefact_notices(self) -> list[str]:
        """Artefacts that were left out, and those that are in the tissue, a line each."""
        known = self.artefacts_mm2 or {}
        lines = []
        if self.left_out_mm2:
            found = [what for kind, what in _NOT_TISSUE.items() if known.get(kind)]
            # an older result does not tell them apart
            marks = " and ".join(found) or "pen marks, coverslip edges or dust"
            lines.append(f"{self.left_out_mm2:.2g} mm² of {marks} left out")
        flagged = [
            f"{area:.2g} mm² {what} ({area / max(self.area_mm2, area):.1%})"
            for kind, what in _IN_TISSUE.items()
            if (area := known.get(kind, 0.0))
        ]
        if flagged:
            lines.append(f"the tissue has {' and '.join(flagged)}: counts there are unreliable")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name, without those that are not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: start, machine, versions and progress."""

    started: str
    """UTC, ISO 8601."""
    machine: str
    processor: str
    compute: dict[str, str] | None
    """Backend, device and precision; None on a cluster, see `workers`."""
    threads: int | None
    versions: dict[str, str]
    wanted: dict[str, Any] = field(default_factory=dict)
    """The selection to refine, from `Selection.as_dict`."""
    finished: bool = False
    plan: dict[str, float] | None = None
    """``tiles`` and ``fraction`` to refine, once the coarse pass was complete."""
    refined: int = 0
    """Tiles that this run refined."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of each of `STAGES`, measuring included; pauses count."""
    work: dict[str, int] | None = None
    """Amounts of work that took these seconds, to predict those of other runs; None if the run was
    paused or stopped or computed elsewhere, and in older results."""
    precision: str | None = None
    """Precision of the networks, also those of a cluster's workers; None in older results."""
    token: str | None = None
    """Tells the run from others; None before version 0.2."""
    notices: list[str] = field(default_factory=list)
    """Events of the backend worth keeping, such as a batch that had to be halved."""
    workers: list[dict[str, Any]] | None = None
    """Processes of a cluster, and how many partitions each computed."""
    undone: bool = False
    """Whether the user took back the tiles that it refined."""

    @classmethod
    def begin(cls, model: Model, wanted: Mapping[str, Any], precision: str | None = None) -> Self:
        """Describe a run that begins now, in the model's precision or the workers'."""
        return cls(
            started=now(),
            machine=platform.node(),
            processor=platform.processor() or platform.machine(),
            compute=model.compute.as_dict(),
            threads=model.threads,
            precision=precision or model.compute.precision,
            versions=_versions(),
            wanted=dict(wanted),
            token=uuid4().hex[:12],
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name, without those that do not apply."""
        values = asdict(self)
        return {
            name: value
            for name, value in values.items()
            if (value is not None or name in ("compute", "threads")) and (value or name != "undone")
        }

    @property
    def planned_tiles(self) -> int:
        """Tiles that this run planned to refine; 0 if it was stopped before."""
        return 0 if self.plan is None else int(self.plan["tiles"])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Time, as records state it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
