"""Exported outlines lie on the level-0 pixels that the model saw, whatever the working grid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rasterio.features import rasterize
from rasterio.transform import Affine
from shapely.geometry import shape as as_polygon
from tests.proofs.helpers import MPP, dense_labels, padded_reader, tissue_pixels, write_tiff

from napari_twostage import Segmentation, export, segment

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model


def features_of(seg: Segmentation, path: Path) -> list[dict[str, Any]]:
    return json.loads(export(seg, path, least_object_um2=0).read_text())["features"]


def drawn(
    features: list[dict[str, Any]], shape: tuple[int, int], step: tuple[float, float]
) -> np.ndarray:
    """Draw polygons in level-0 pixels; a grid pixel is inside where its centre is."""
    polygons = [feature["geometry"] for feature in features]
    return rasterize(polygons, out_shape=shape, transform=Affine.scale(step[1], step[0]))


@pytest.mark.parametrize("factor", [1, 2])
def test_polygons_lie_where_the_pixels_are(model: Model, tmp_path: Path, factor: int) -> None:
    side = model.card.tile_px
    height, width = 2 * side + 43, 3 * side + 17
    # the same tissue at 0.5 or 0.25 um a pixel, cut so that no size divides
    seen = tissue_pixels(height, width)
    pixels = seen.repeat(factor, axis=0).repeat(factor, axis=1)
    pixels = pixels[: -(factor // 2) or None, : -(factor // 2) or None]
    assert pixels.shape[0] % 2
    assert pixels.shape[1] % 2
    slide = write_tiff(tmp_path / "slide.tif", pixels, mpp=MPP / factor)
    seg = segment(slide, model, tmp_path / "out.zarr", refine="all", tissue=False)
    assert seg.grid.downsample == (factor, factor)

    read = padded_reader(pixels, side + model.card.halo_px, factor)
    dense = dense_labels(model, read, seg.grid.shape)
    features = features_of(seg, tmp_path / "out.geojson")
    assert len(features) > 3
    found = drawn(features, seg.grid.shape, (factor, factor))
    np.testing.assert_array_equal(found > 0, dense > 0)


def test_where_the_grid_does_not_divide_the_slide(model: Model, tmp_path: Path) -> None:
    pixels = tissue_pixels(401, 503)
    slide = write_tiff(tmp_path / "slide.tif", pixels, mpp=0.6 * MPP)
    seg = segment(slide, model, tmp_path / "out.zarr", refine="all", tissue=False)
    step = seg.grid.downsample
    assert step == pytest.approx((1 / 0.6, 1 / 0.6))
    features = features_of(seg, tmp_path / "out.geojson")
    found = drawn(features, seg.grid.shape, step)
    np.testing.assert_array_equal(found > 0, np.asarray(seg.labels[0]) > 0)

    area = sum(as_polygon(feature["geometry"]).area for feature in features)
    pixel_area = step[0] * step[1]
    assert area / pixel_area == pytest.approx(np.asarray(seg.labels[0]).sum(), rel=0.02)
