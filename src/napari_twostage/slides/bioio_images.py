"""Leica LIF, Nikon ND2 and others, read by the plugins of bioio, an optional extra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import ReadError, SlideError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.slides.base import Slide
from napari_twostage.slides.channels import choose_channel, colour_channels
from napari_twostage.slides.limits import DECODING_BYTES, check_sides
from napari_twostage.slides.picture import COLOURS
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.planes import (
    PROJECTION,
    as_pixels,
    choose_focal_plane,
    choose_time_point,
    maximum_over,
    pixel_type,
)
from napari_twostage.slides.sampling import sampled_fingerprint
from napari_twostage.slides.scenes import Scene, choose_scene, is_beside_scan
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import dask.array as da
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.slides.picture import Picture

_DESCRIBED = 64
"""Scenes whose sizes are read; those of more are taken to be as large as the first."""


def has_plugin_for(name: str) -> bool:
    """Whether a plugin of bioio is installed for a file's ending."""
    from bioio.plugins import get_plugins

    return any(name.lower().endswith(ending) for ending in get_plugins(use_cache=True))


def open_with_bioio(
    path: Path, *, mpp: Scale | None, picture: Picture, cache_bytes: int = 256 << 20
) -> Slide:
    """Open an image with the plugin of bioio for its ending.

    Parameters
    ----------
    path : Path
    mpp : (float, float) or None
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    picture : Picture
        Scene, channel, focal plane and time point; the largest scene by default.
    cache_bytes : int
        Memory for decoded planes or tiles.

    Raises
    ------
    SlideError
        If no plugin reads it, it states no pixel size, or a choice is needed.
    """
    image = _open_image(path)
    try:
        scenes = _scenes(image)
        index = choose_scene(picture.scene, scenes)
        if len(scenes) > 1:
            picture = replace(picture, scene=index)
        scan = _choose(image, index, picture)
        stated = (scenes[index].mpp, "file, through bioio")
        size, source = resolve_mpp(mpp, (stated[0], stated[1]) if stated[0] else None, path.name)
    except SlideError as error:
        if str(error).startswith(path.name):
            raise
        raise SlideError(f"{path.name} {error}") from None
    except Exception as error:  # the plugins' errors share no base class
        raise _unreadable(path, error) from error
    return BioioSlide(
        path,
        scan,
        mpp=size,
        mpp_source=source,
        picture=picture,
        scenes=scenes if len(scenes) > 1 else (),
        cache_bytes=cache_bytes,
    )


def _open_image(path: Path) -> Any:  # noqa: ANN401 - bioio's class is loaded where it is used
    from bioio import BioImage
    from bioio_base.exceptions import UnsupportedFileFormatError

    try:
        return BioImage(path)
    except UnsupportedFileFormatError as error:
        if has_plugin_for(path.name):
            raise _unreadable(path, error) from error
        raise SlideError(
            f"{path.name} is of no format that the installed plugins of bioio read; install "
            f"the one for {path.suffix or 'it'}, or convert it to OME-Zarr with bioformats2raw"
        ) from error
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SlideError:
    return SlideError(
        f"{path.name} cannot be read through bioio ({reason_of(error)}); copy it again, or "
        "convert it to OME-Zarr with bioformats2raw"
    )


def _scenes(image: Any) -> list[Scene]:  # noqa: ANN401
    names = [str(name) for name in image.scenes]
    described: list[Scene] = []
    for number, name in enumerate(names):
        if len(names) > _DESCRIBED and described:
            described.append(replace(described[0], name=name))
            continue
        image.set_scene(number)
        sizes = image.physical_pixel_sizes
        mpp = (float(sizes.Y), float(sizes.X)) if sizes.Y and sizes.X else None
        shape = (int(image.dims.Y), int(image.dims.X))
        described.append(Scene(name, shape, mpp, scan=not is_beside_scan(name)))
    return described


@dataclass(frozen=True, slots=True)
class _Scan:
    """What is read of an image."""

    levels: tuple[da.Array, ...]
    """Finest first; axes as in `axes`."""
    axes: str
    """Names of the axes: T, C, Z, Y, X, and S for samples of a pixel."""
    channels: tuple[int, ...]
    """Index of one channel, or of three grey ones that are colours."""
    channel_names: tuple[str, ...]
    z: int | Literal["max"]
    t: int

    def length(self, axis: str) -> int:
        """Length of an axis; 1 of one that is missing."""
        return int(self.levels[0].shape[self.axes.index(axis)]) if axis in self.axes else 1

    def plane(self, sides: Sequence[float]) -> Shape:
        """Rows and columns of the shape of a level, or of its chunks."""
        return int(sides[self.axes.index("Y")]), int(sides[self.axes.index("X")])


def _choose(image: Any, scene: int, picture: Picture) -> _Scan:  # noqa: ANN401
    image.set_scene(scene)
    levels = []
    for level in image.resolution_levels:
        image.set_resolution_level(level)
        levels.append(image.dask_data)
    image.set_resolution_level(image.resolution_levels[0])
    scan = _Scan(tuple(levels), str(image.dims.order), (0,), (), 0, 0)
    count, samples = scan.length("C"), scan.length("S")
    stated = [str(name) for name in image.channel_names or ()]
    names = tuple(stated if len(stated) == count else map(str, range(count)))
    if samples > 1 and count == 1 and picture.channel in {None, 0, "0", COLOURS}:
        channels: tuple[int, ...] = (0,)
    else:
        found = colour_channels(picture.channel, names) if samples == 1 else None
        channels = found or (choose_channel(picture.channel, names) or 0,)
    scan = replace(
        scan,
        levels=_coarser_levels(scan),
        channels=channels,
        channel_names=names if count > 1 else (),
        z=choose_focal_plane(picture, scan.length("Z")),
        t=choose_time_point(picture, scan.length("T")),
    )
    _check(scan, samples)
    return scan


def _coarser_levels(scan: _Scan) -> tuple[da.Array, ...]:
    """The levels up to the first that is no smaller than the one before."""
    kept = [scan.levels[0]]
    for finer, level in pairwise(scan.levels):
        if any(
            a <= b for a, b in zip(scan.plane(finer.shape), scan.plane(level.shape), strict=True)
        ):
            break
        kept.append(level)
    return tuple(kept)


def _check(scan: _Scan, samples: int) -> None:
    """Refuse what is no slide, or is stored in too large pieces."""
    array = scan.levels[0]
    check_sides(*scan.plane(array.shape))
    pixel_type(array.dtype)
    if samples not in {1, 3, 4}:
        raise SlideError(f"has {samples} samples a pixel, 1, 3 or 4 were expected; export RGB")
    rows, columns = scan.plane(array.chunksize)
    piece = rows * columns * samples * array.dtype.itemsize
    if piece > DECODING_BYTES:
        raise SlideError(
            f"is read in pieces of {piece / 2**30:.1f} GiB, at most "
            f"{DECODING_BYTES / 2**30:.1f} are taken; convert it to OME-Zarr with bioformats2raw"
        )


class BioioSlide(Slide):
    """An image read through bioio; made by `open_with_bioio`.

    Parameters
    ----------
    path : Path
        File that was opened.
    scan : _Scan
        What is read of it.
    mpp, mpp_source, picture, scenes
        As for `Slide`.
    cache_bytes : int
        Memory for decoded planes or tiles.
    """

    def __init__(
        self,
        path: Path,
        scan: _Scan,
        *,
        mpp: Scale,
        mpp_source: str,
        picture: Picture,
        scenes: Sequence[Scene],
        cache_bytes: int,
    ) -> None:
        self._scan = scan
        self._cache = TileCache(cache_bytes)
        samples = scan.length("S")
        super().__init__(
            name=path.name,
            level_shapes=[scan.plane(level.shape) for level in scan.levels],
            channels=samples if samples > 1 else len(scan.channels),
            dtype=pixel_type(scan.levels[0].dtype),
            mpp=mpp,
            mpp_source=mpp_source,
            format=f"{path.suffix.lstrip('.').upper()} through bioio",
            path=path,
            picture=picture,
            scenes=scenes,
            channel_names=scan.channel_names,
            focal_planes=scan.length("Z"),
        )

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns that the plugin reads at once, often the whole plane."""
        return self._scan.plane(self._scan.levels[level].chunksize)

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        self._cache.fill(pixels, box, level, self.tile_shape(level), self._read_tile)
        return pixels

    def _read_tile(self, level: int, row: int, column: int) -> NDArray[np.generic]:
        rows, columns = self.tile_shape(level)
        tile = Box.at(row * rows, column * columns, rows, columns).clip(self.level_shapes[level])
        scan = self._scan
        if scan.z == PROJECTION:
            planes = range(scan.length("Z"))
            return maximum_over(planes, lambda z: self._read_plane(tile, level, z))
        return self._read_plane(tile, level, scan.z)

    def _read_plane(self, box: Box, level: int, z: int) -> NDArray[np.generic]:
        parts = [self._read_channel(box, level, z, one) for one in self._scan.channels]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _read_channel(self, box: Box, level: int, z: int, channel: int) -> NDArray[np.generic]:
        rows, columns = box.slices
        wanted: dict[str, slice | int] = {
            "T": self._scan.t, "C": channel, "Z": z, "Y": rows, "X": columns, "S": slice(None),
        }  # fmt: skip
        array: Any = self._scan.levels[level][tuple(wanted[axis] for axis in self._scan.axes)]
        try:
            # in this thread: each call is one of many readers' already
            pixels = as_pixels(np.asarray(array.compute(scheduler="synchronous")))
        except Exception as error:  # the plugins' errors share no base class
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        return pixels.reshape(*box.shape, -1)

    def fingerprint(self) -> str:
        """SHA-256 of the geometry and of a fixed sample of pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        scan = self._scan
        choice = (self.picture.scene, scan.channels, scan.z, scan.t)
        return sampled_fingerprint(self, "bioio", self.level_shapes, self.dtype.str, choice)

    def close(self) -> None:
        """Drop the cached planes."""
        self._cache.clear()
