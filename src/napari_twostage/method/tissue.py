"""Tissue of a slide, from an overview: the area worth segmenting, and its size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.errors import SlideError
from napari_twostage.method.artefacts import LEFT_OUT, Artefact, kinds_shown_by
from napari_twostage.method.marks import INK_DENSITY, density, find_ink, grey_lines, peak_density
from napari_twostage.method.overview import disk, glass_of, overview_grid, read_overview

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.method.overview import Overview
    from napari_twostage.method.tiling import TileGrid
    from napari_twostage.slides.base import Slide

MARGIN_UM = 30.0
"""Micrometres by which tissue is dilated, so that pale edges and single cells keep a margin."""
SMALLEST_UM2 = 10_000.0
"""Square micrometres; smaller specks count as dust on the glass."""
MIN_DENSITY = 0.04
"""Smallest optical density above the glass that counts as tissue; less is noise."""
SMOOTHED_PX = 3
"""Pixels of the overview that smoothing reaches."""
MIN_DARK_FIELD = 0.03
"""Smallest dark-field intensity above the background that counts as tissue, in [0, 1]."""


def _nothing() -> NDArray[np.bool_]:
    return np.zeros((1, 1), bool)


def _no_artefacts() -> NDArray[np.uint8]:
    return np.zeros((1, 1), np.uint8)


@dataclass(frozen=True)
class Tissue:
    """Tissue masks over a whole slide; all are (H, W), or (1, 1) where nothing is in them."""

    mask: NDArray[np.bool_]
    """True where tiles are computed: on tissue and on its margin."""
    grid: Grid
    """Pixel grid of the masks."""
    bright_field: bool
    """True for stained tissue on bright glass, False for signal on a dark background."""
    searched: bool = True
    """False if all that was scanned counts as tissue."""
    margin: NDArray[np.bool_] = field(default_factory=_nothing)
    """True where `mask` is no tissue, but close to it, or damaged."""
    artefacts: NDArray[np.uint8] = field(default_factory=_no_artefacts)
    """`Artefact` of each pixel, of those that are no tissue, or 0."""
    looked_for: tuple[Artefact, ...] = ()
    """Kinds of artefacts that were looked for."""

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """True on artefacts that are no tissue."""
        return np.isin(self.artefacts, LEFT_OUT)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """True on tissue alone."""
        return self.mask & ~self.margin

    def tiles(self, tiles: TileGrid, fine: Grid) -> NDArray[np.bool_]:
        """Mask of the tiles that contain tissue: (rows, columns) of tiles.

        Parameters
        ----------
        tiles : TileGrid
            Tiles over the fine grid.
        fine : Grid
            Pixel grid of stage 2.
        """
        step = [
            tiles.tile_px * f / m
            for f, m in zip(fine.downsample, self.grid.downsample, strict=True)
        ]
        # Integral image: the tissue pixels of a tile are a difference of four cumulative counts.
        counts = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), np.int64)
        counts[1:, 1:] = self.mask.cumsum(0).cumsum(1)
        (top, bottom), (left, right) = (
            (
                np.minimum(np.floor(np.arange(n) * s + 1e-6).astype(int), extent),
                np.minimum(np.ceil((np.arange(n) + 1) * s - 1e-6).astype(int), extent),
            )
            for n, s, extent in zip(tiles.shape, step, self.mask.shape, strict=True)
        )
        inside = (
            counts[np.ix_(bottom, right)]
            - counts[np.ix_(top, right)]
            - counts[np.ix_(bottom, left)]
            + counts[np.ix_(top, left)]
        )
        return np.asarray(inside > 0)


def mask_area_mm2(mask: NDArray[np.bool_], grid: Grid, box: Box) -> float:
    """Area of a mask inside a box of level 0, in square millimetres.

    Parameters
    ----------
    mask : (H, W) bool array
        Or (1, 1), if it is False everywhere.
    grid : Grid
        Grid of the mask; its last pixels may extend beyond the slide.
    box : Box
        Part of the slide's level 0 that counts; it cuts pixels.
    """
    if not mask.any():
        return 0.0
    edges = np.array([box.top, box.bottom]), np.array([box.left, box.right])
    return float(mask_areas(mask, grid, edges).sum()) * grid.pixel_area_um2 / 1e6


def mask_areas(
    mask: NDArray[np.bool_],
    grid: Grid,
    edges: tuple[NDArray[np.floating | np.integer], NDArray[np.floating | np.integer]],
) -> NDArray[np.float64]:
    """Area of a mask in each cell between rows and columns of level 0, in pixels of the mask.

    Parameters
    ----------
    mask : (H, W) bool array
    grid : Grid
        Grid of the mask.
    edges : (m + 1,) and (n + 1,) arrays
        Rising rows and columns of level 0, which may cut pixels of the mask.

    Returns
    -------
    (m, n) float64 array
    """
    # The integral image of a mask is linear within each pixel along either axis, so its values at
    # any edges are exact by linear interpolation.
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.float64)
    total[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    rows, columns = (
        np.clip(np.asarray(edge, float) / step, 0, length)
        for edge, step, length in zip(edges, grid.downsample, mask.shape, strict=True)
    )
    total = _lines_at(total, rows)
    total = _lines_at(total.T, columns).T
    return np.asarray(np.diff(np.diff(total, axis=0), axis=1))


def _lines_at(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of an array at fractional positions, interpolated linearly."""
    before = np.minimum(positions.astype(np.intp), len(values) - 2)
    weight = (positions - before)[:, None]
    between: NDArray[np.float64] = values[before] * (1 - weight) + values[before + 1] * weight
    return between


def tissue_of(slide: Slide, *, search: bool | None = None) -> Tissue:
    """Find the part of a slide to segment.

    Parameters
    ----------
    slide : Slide
        Its coarsest level should be small: see `slides.pyramid`.
    search : bool, optional
        True looks for tissue, False takes the whole slide. None, the default, looks for stained
        tissue on bright glass, and takes all that was scanned of a dark field: dim cells cannot be
        told from the ground on an overview.

    Raises
    ------
    SlideError
        See `find_tissue`.
    """
    if search is False:
        return whole_slide_tissue(slide)
    grid = overview_grid(slide)
    overview = read_overview(slide, grid)
    if search is None and not overview.bright_field:
        return _scanned_area(overview, grid)
    return _search(slide, overview, grid)


def find_tissue(slide: Slide) -> Tissue:
    """Find tissue on an overview of a slide.

    The signal is the optical density above the glass (bright field) or the intensity above the
    background (dark field), cut at Otsu's threshold. Pen marks and what is grey are left out,
    specks dropped and holes filled (bright field), and the tissue gets a margin. Artefacts that are
    tissue take longer to find: see `artefacts.find_in_tissue`.

    Parameters
    ----------
    slide : Slide
        Its coarsest level should be small: see `slides.pyramid`.

    Returns
    -------
    Tissue
        Damaged pixels belong to its margin.

    Raises
    ------
    SlideError
        If no tissue is found, or no pixel can be read.
    """
    grid = overview_grid(slide)
    return _search(slide, read_overview(slide, grid), grid)


def whole_slide_tissue(slide: Slide) -> Tissue:
    """Tissue mask that covers the whole slide."""
    grid = overview_grid(slide)
    return Tissue(np.ones(grid.shape, bool), grid, bright_field=True, searched=False)


def _scanned_area(overview: Overview, grid: Grid) -> Tissue:
    """All of a slide but what was not scanned."""
    scanned = ~overview.unscanned
    if not scanned.any():
        scanned[:] = True
    mask = _with_margin(scanned, grid)
    return Tissue(mask, grid, bright_field=False, searched=False, margin=mask & ~scanned)


def _search(slide: Slide, overview: Overview, grid: Grid) -> Tissue:
    """Find tissue on an overview; see `find_tissue`."""
    if overview.bright_field:
        tissue, sharp, artefacts = _stained(slide, overview, grid)
        looked_for = tuple(kind for kind in kinds_shown_by(slide) if kind in LEFT_OUT)
    else:
        (tissue, sharp), artefacts, looked_for = _glowing(overview), _no_artefacts(), ()
    if not tissue.any():
        bright, dark = "stained tissue on bright glass", "signal on a dark ground"
        kind = bright if overview.bright_field else dark
        raise SlideError(
            f"{slide.name}: found no tissue; expected {kind}; to segment all of it, "
            "pass tissue=False, or --no-tissue on the command line"
        )
    # Unreadable pixels may be tissue: the run reports their tiles as failed, not as background.
    left_out = np.isin(artefacts, LEFT_OUT)
    mask = (_with_margin(tissue, grid) & ~left_out) | overview.damaged
    return Tissue(
        mask,
        grid,
        overview.bright_field,
        margin=mask & ~sharp,
        artefacts=artefacts,
        looked_for=looked_for,
    )


def _stained(
    slide: Slide, overview: Overview, grid: Grid
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.uint8]]:
    """Stained tissue on bright glass, the same with sharp edges, and artefacts."""
    pixels, scanned = overview.pixels, ~overview.unscanned
    glass = glass_of(overview)
    channels = density(pixels, glass)
    ink, suspected = find_ink(slide, pixels, channels, grid, glass)
    ink &= scanned
    peak = peak_density(channels)
    signal = ndimage.gaussian_filter(peak, 1)
    looked_at = scanned & ~ink
    # Where there may be ink, some is not found: it must not raise the threshold above the tissue.
    counted = looked_at & (peak < INK_DENSITY) if suspected else looked_at
    threshold = _threshold(signal[counted], MIN_DENSITY)
    mask = looked_at & (signal > threshold)
    numbers, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(numbers.ravel(), minlength=count + 1) * grid.pixel_area_um2
    # On a small image, a speck is small relative to the image.
    kept = areas >= min(SMALLEST_UM2, 0.001 * mask.size * grid.pixel_area_um2)
    kept[0] = False
    grey = grey_lines(numbers, channels, grid) & kept
    if np.array_equal(grey, kept):  # nothing is stained: the image has no colours
        grey[:] = False
    edges = _sharp(grey[numbers], peak > threshold)
    tissue = ndimage.binary_fill_holes((kept & ~grey)[numbers])
    tissue &= ~(ink | edges) & scanned & ~overview.damaged
    sharp = _sharp(tissue, peak > threshold)
    artefacts = np.zeros(grid.shape, np.uint8)
    artefacts[edges], artefacts[ink] = Artefact.EDGE, Artefact.PEN
    return tissue, sharp, artefacts


def _glowing(overview: Overview) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Signal on a dark ground, however small, and the same with sharp edges."""
    intensity = overview.pixels.max(axis=-1)
    background = np.median(intensity[intensity <= np.median(intensity)])
    above = (intensity - background).clip(0)
    signal = ndimage.gaussian_filter(above, 1)
    threshold = _threshold(signal, MIN_DARK_FIELD)
    tissue = ndimage.binary_fill_holes(signal > threshold) & ~overview.damaged
    return tissue, _sharp(tissue, above > threshold)


def _sharp(tissue: NDArray[np.bool_], bare: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tissue without pixels along its edge that smoothing has added: those not in `bare`."""
    inner = ndimage.binary_erosion(tissue, np.ones((3, 3)), iterations=SMOOTHED_PX, border_value=1)
    return np.asarray(tissue & (inner | bare))


def _threshold(signal: NDArray[np.float32], least: float) -> float:
    """Value above which a signal is tissue; infinite where the signal is constant."""
    otsu = _otsu(signal) if signal.size and np.ptp(signal) > 0 else math.inf
    # With little glass, Otsu splits tissue into light and dark: never cut far above the noise.
    return min(max(otsu, least), 3 * least)


def _otsu(signal: NDArray[np.float32], bins: int = 256) -> float:
    """Otsu's threshold: it parts a signal into two classes that differ most.

    Counts are float32, which makes thresholds those of scikit-image to the last bit.
    """
    counted, edges = np.histogram(signal, bins)
    counts, centres = counted.astype(np.float32), (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mass = counts * centres
    mean_below = np.cumsum(mass) / below
    mean_above = np.cumsum(mass[::-1])[::-1] / above
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[np.argmax(between)])


def _with_margin(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Add `MARGIN_UM` around a mask."""
    # The margin is a few pixels wide: a distance transform would take eight times as long.
    return np.asarray(ndimage.binary_dilation(mask, disk(MARGIN_UM, grid)))
