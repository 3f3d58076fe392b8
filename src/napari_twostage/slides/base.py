"""The interface of every slide, whatever its file format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box, Scale, Shape, level_factors
from napari_twostage.slides.intensity import measure_range
from napari_twostage.slides.lazy import dask_levels
from napari_twostage.slides.picture import WHOLE, Picture
from napari_twostage.slides.resample import resample, source_box
from napari_twostage.slides.scenes import scene_notice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import dask.array as da
    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.slides.channels import Colour
    from napari_twostage.slides.scenes import Scene

_SAME_RESOLUTION = 1.005
"""Factor by which a level may be coarser than asked and still be used: half a per cent is
invisible, and the next finer level would cost four to sixteen times the pixels."""

_BAND_PX = 1 << 24
"""Source pixels resampled at once; bounds the memory of strong reductions."""


class Slide(ABC):
    """A 2-D multiscale image, channels last; level 0 is the finest.

    Reading is thread-safe. Pixels beyond the edges are the slide reflected. Pickled slides are
    opened again where they arrive: by their path, arrays by their values.

    Parameters
    ----------
    name : str
        Display name, usually the file name.
    level_shapes : sequence of (int, int)
        Rows and columns of each level, finest first.
    channels : int
        Values per pixel that `read` returns: 1 (grey), 3 (RGB) or 4 (RGBA).
    dtype : numpy dtype
        ``uint8``, ``uint16``, or ``float32`` for all other numbers; NaN is no pixel.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Source of the pixel size, in words.
    format : str
        Format of the file or array, in words.
    path : Path, Url or None
        File or folder; None for an array.
    factors : sequence of (float, float), optional
        Level-0 pixels per pixel (y, x) of each level, if the format states them; else they
        follow from the shapes.
    bounds : Box, optional
        Part of level 0 that was scanned, if the format states one: QuPath opens only that.
    picture : Picture
        What the user chose of the file; where nothing was, what the reader chose.
    scenes : sequence of Scene
        Every scene of a file that may hold several; empty for others.
    channel_names : sequence of str
        Name of each channel that can be chosen; empty if there is nothing to choose.
    channel_colours : sequence of Colour or None
        Colour in which the file shows each of these channels; empty if it states none.
    focal_planes : int
        Number of focal planes that can be chosen.
    """

    def __init__(
        self,
        *,
        name: str,
        level_shapes: Sequence[Shape],
        channels: int,
        dtype: np.dtype[np.generic],
        mpp: Scale,
        mpp_source: str,
        format: str,  # noqa: A002 - the key of the record
        path: Location | None = None,
        factors: Sequence[Scale] | None = None,
        bounds: Box | None = None,
        picture: Picture = WHOLE,
        scenes: Sequence[Scene] = (),
        channel_names: Sequence[str] = (),
        channel_colours: Sequence[Colour | None] = (),
        focal_planes: int = 1,
    ) -> None:
        self.name = name
        self.level_shapes: tuple[Shape, ...] = tuple(level_shapes)
        self.factors: tuple[Scale, ...] = tuple(factors or level_factors(self.level_shapes))
        self.channels = channels
        self.dtype = dtype
        self.mpp = mpp
        self.mpp_source = mpp_source
        self.format = format
        self.path = path
        self.bounds = bounds
        self.picture = picture
        self.scenes = tuple(scenes)
        self.channel_names = tuple(channel_names)
        self.channel_colours = tuple(channel_colours)
        self.focal_planes = focal_planes
        self.notices: list[str] = []
        """What a user should know of how the file was read, a sentence each."""
        if scenes and isinstance(picture.scene, int):
            self.notices += filter(None, [scene_notice(picture.scene, self.scenes)])

    def read(self, box: Box, level: int = 0) -> NDArray[np.generic]:
        """Read pixels of one level; beyond its edges the level is reflected.

        Parameters
        ----------
        box : Box
            Rectangle in the level's own pixels; may be partly or fully outside the level.
        level : int
            0 is the finest.

        Returns
        -------
        (box.height, box.width, channels) array of `dtype`.

        Raises
        ------
        ReadError
            If the file is damaged.
        """
        if not box.area:
            return np.empty((*box.shape, self.channels), self.dtype)
        height, width = self.level_shapes[level]
        if Box(0, 0, height, width).contains(box):
            return self._read_inside(box, level)
        rows = reflected(box.top, box.bottom, height)
        columns = reflected(box.left, box.right, width)
        inside = Box(
            int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
        )
        pixels = self._read_inside(inside, level)
        for axis, lines in enumerate((rows - inside.top, columns - inside.left)):
            if lines[-1] - lines[0] != len(lines) - 1:  # some lines are mirrored
                pixels = pixels.take(lines, axis=axis)  # three times as fast as indexing
        return pixels

    def read_at(self, box: Box, downsample: Scale) -> NDArray[np.generic]:
        """Read pixels of any grid over the slide, from the nearest level that is fine enough.

        Parameters
        ----------
        box : Box
            Rectangle on the grid whose pixel (i, j) covers level-0 rows [i × dy, (i + 1) × dy)
            and columns [j × dx, (j + 1) × dx).
        downsample : (float, float)
            Level-0 pixels per grid pixel (dy, dx). Reduced by exact area average; below 1,
            enlarged by bilinear interpolation.

        Returns
        -------
        (box.height, box.width, channels) array of `dtype`.

        Raises
        ------
        ReadError
            If the file is damaged.
        """
        level = self.level_for(downsample)
        factor = self.factors[level]
        step = (downsample[0] / factor[0], downsample[1] / factor[1])
        if step == (1, 1) or not box.area:
            return self.read(box, level)
        return self._resampled(box, level, step)

    def _resampled(self, box: Box, level: int, step: Scale) -> NDArray[np.generic]:
        """Read a box of a grid of `step` (y, x) pixels of a level, in bands to bound memory."""
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        band_rows = max(1, int(_BAND_PX / (step[0] * step[1] * box.width)))
        for top in range(box.top, box.bottom, band_rows):
            band = Box(top, box.left, min(top + band_rows, box.bottom), box.right)
            source = self.read(source_box(band, step), level)
            pixels[top - box.top : band.bottom - box.top] = resample(source, band, step)
        return pixels

    def level_for(self, downsample: Scale) -> int:
        """Coarsest level that still has all the detail of a grid at `downsample` (y, x)."""
        fine_enough = [
            level
            for level, (y, x) in enumerate(self.factors)
            if y <= downsample[0] * _SAME_RESOLUTION and x <= downsample[1] * _SAME_RESOLUTION
        ]
        return max(fine_enough, default=0, key=lambda level: self.factors[level])

    @cached_property
    def levels(self) -> list[da.Array]:
        """Lazy (height, width, channels) dask arrays, finest first, chunked along file tiles."""
        return dask_levels(self)

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Values (low, high) shown as black and as full intensity; one pair for all tiles.

        8-bit slides are shown as they are: (0, 255). For others, see `intensity.measure_range`.
        """
        if self.picture.intensity is not None:
            return self.picture.intensity
        return (0.0, 255.0) if self.dtype == np.uint8 else measure_range(self)

    def tile_shape(self, level: int) -> Shape:  # noqa: ARG002 - formats with tiles override
        """Rows and columns that the file stores as one piece at `level`."""
        return 1024, 1024

    @abstractmethod
    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        """Read a box of at least one pixel, inside the level: (height, width, channels).

        Called from several threads at once. The caller may change the array.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Name of the pixels: equal for the same file, cheap to compute for a file of any size."""

    def close(self) -> None:  # noqa: B027 - arrays have nothing to close
        """Close the file; reading afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by place: another process opens the file anew."""
        if self.path is None:
            raise SlideError(
                f"{self.name} is neither a file nor an array that can be sent to another process; "
                "open it there"
            )
        return reopen, (self.path.absolute(), self.mpp, self.mpp_source, self.picture)

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.level_shapes[0]))
        return f"<{type(self).__name__} {self.name}: {size}, {len(self.level_shapes)} levels>"


def reopen(path: Location, mpp: Scale, mpp_source: str, picture: Picture) -> Slide:
    """Open a slide as it was when it was pickled."""
    from napari_twostage.slides import open_slide

    slide = open_slide(path, mpp=mpp, **picture.as_dict())
    slide.mpp_source = mpp_source
    return slide


def reflected(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Indices of the pixels at positions [start, stop) of an axis mirrored at its end pixels.

    The same as ``np.pad(mode="reflect")``, at any distance from the edge.

    Examples
    --------
    >>> reflected(-2, 6, 4)
    array([2, 1, 0, 1, 2, 3, 2, 1])
    """
    if length == 1:
        return np.zeros(stop - start, np.intp)
    position = np.arange(start, stop) % (2 * (length - 1))
    return np.minimum(position, 2 * (length - 1) - position)
