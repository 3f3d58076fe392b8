"""OME-TIFF labels: a pyramid that tifffile, and QuPath through the same tags, reads."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from tests.export.fakes import FakeSegmentation

from napari_twostage.export import export, tiff_labels


@pytest.fixture
def seg():
    plane = np.random.default_rng(0).integers(0, 3, (1301, 4999), dtype=np.uint8)
    return FakeSegmentation(plane, tile_px=512, downsample=(2.0, 1.3))


def test_every_level_comes_back_in_tiles(seg, tmp_path):
    with tifffile.TiffFile(export(seg, tmp_path / "labels.ome.tif")) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        (series,) = tiff.series
        assert series.axes == "YX"
        assert len(series.levels) == len(tiff.pages[0].subifds) + 1 == 3
        for level, labels in zip(series.levels, seg.labels, strict=True):
            np.testing.assert_array_equal(level.asarray(), labels.compute())
            assert level.keyframe.tile == (512, 512)
            assert level.keyframe.compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_pixel_sizes_and_class_names(seg, tmp_path):
    with tifffile.TiffFile(export(seg, tmp_path / "labels.ome.tiff")) as tiff:
        xml = tiff.ome_metadata
        pixels = tifffile.xml2dict(xml)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == (0.5, 0.325)
        assert '<M K="1">nucleus</M>' in xml
        assert '<M K="2">gland</M>' in xml
        assert tiff.pages[0].get_resolution("MICROMETER")[0] == pytest.approx(1 / 0.325)


def test_labels_are_read_in_bounded_boxes(seg, tmp_path):
    export(seg, tmp_path / "labels.ome.tif")
    assert max(box.area for _, box in seg.read) <= 512 * 4096


def test_what_classic_offsets_cannot_reach_is_a_bigtiff(seg, tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_labels, "CLASSIC_BYTES", 1000)
    with tifffile.TiffFile(export(seg, tmp_path / "labels.ome.tif")) as tiff:
        assert tiff.is_bigtiff
        np.testing.assert_array_equal(tiff.asarray(), seg.plane)
