"""The sample files are what their README says, and the big slide is a true slide."""

import functools
import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import openslide
import psutil
import pytest
import tifffile
from sample_data.make_big_slide import Drawing, Outline, main, shrink, write_big_slide

from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

FOLDER = Path(__file__).parents[1] / "sample_data"
SCRIPT = FOLDER / "make_big_slide.py"
SHAPE = (3701, 5203)
TISSUE = 0.4


@pytest.fixture(scope="module")
def big_slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("big") / "big.tif"
    write_big_slide(path, SHAPE, tissue=TISSUE, seed=3)
    return path


def test_the_readme_names_every_file_with_its_hash():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    hashes = dict(re.findall(r"\*\*`(.+?)`\*\*, SHA-256 `(\w+)`", readme))
    images = [path for path in FOLDER.iterdir() if path.suffix in {".svs", ".tif", ".jpg"}]
    assert {path.name for path in images} == set(hashes)
    for path in images:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == hashes[path.name]


def test_the_mask_marks_the_bright_places_of_its_image():
    image, mask = (tifffile.imread(FOLDER / name) for name in ("img2d.tif", "mask2d.tif"))
    assert image.shape == mask.shape == (512, 512)
    assert image[mask > 0].mean() > 2 * image[mask == 0].mean()


def test_the_big_slide_is_an_aperio_slide_to_every_reader(big_slide):
    with openslide.OpenSlide(big_slide) as other:
        assert other.properties["openslide.vendor"] == "aperio"
        assert float(other.properties["openslide.mpp-x"]) == 0.499
        assert list(other.associated_images) == ["thumbnail"]
        assert other.level_dimensions == ((5203, 3701), (1300, 925), (325, 231))
        corner = np.asarray(other.read_region((4900, 3500), 0, (303, 201)))[..., :3]
    with tifffile.TiffFile(big_slide) as tif:
        assert tif.is_svs
        assert [level.shape[:2] for level in tif.series[0].levels] == [
            SHAPE, (925, 1300), (231, 325),
        ]  # fmt: skip
    with open_slide(big_slide) as slide:
        assert slide.mpp == (0.499, 0.499)
        assert slide.factors == ((1.0, 1.0), (4.0, 4.0), (16.0, 16.0))
        np.testing.assert_array_equal(slide.read(Box(3500, 4900, 3701, 5203)), corner)


def test_the_big_slides_levels_show_the_same_tissue(big_slide):
    with open_slide(big_slide) as slide:
        whole = slide.read(Box(0, 0, 2048, 4096)).astype(np.float32)
        for level, factor in ((1, 4), (2, 16)):
            rows, columns = 2048 // factor, 4096 // factor
            average = whole.reshape(rows, factor, columns, factor, 3).mean((1, 3))
            found = slide.read(Box(0, 0, rows, columns), level).astype(np.float32)
            # JPEG blurs colours; a shift by one pixel doubles the difference
            difference = np.abs(found - average).mean()
            shifted = np.abs(found[:, 1:] - average[:, :-1]).mean()
            assert difference < 8
            assert difference < shifted / 2


def test_levels_may_shrink_by_two(tmp_path):
    write_big_slide(tmp_path / "a.tif", (2100, 2900), step=2)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.level_shapes == ((2100, 2900), (1050, 1450), (525, 725))
        whole = slide.read(Box(0, 0, 1024, 1024)).astype(np.float32)
        average = whole.reshape(512, 2, 512, 2, 3).mean((1, 3))
        found = slide.read(Box(0, 0, 512, 512), 1).astype(np.float32)
        assert np.abs(found - average).mean() < 8


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_before_compression_the_levels_agree_exactly(factor):
    outline = Outline((8192, 8192), 0.5, 0)
    drawing = Drawing(outline, 0)
    coarse_tile = functools.cache(drawing.tile)
    side = 512 // factor
    on_the_edge = [
        (row, column)
        for row in range(16)
        for column in range(16)
        if not isinstance(outline.inside(row, column), bool)
    ]
    assert len(on_the_edge) > 20
    for row, column in [*on_the_edge[::20], (0, 0), (7, 7)]:
        coarse = coarse_tile(row // factor, column // factor, factor)
        top, left = row % factor * side, column % factor * side
        np.testing.assert_array_equal(
            coarse[top : top + side, left : left + side],
            shrink(drawing.tile(row, column, 1), factor),
        )


def test_tissue_covers_as_much_as_asked(big_slide):
    with open_slide(big_slide) as slide:
        overview = slide.read(Box(0, 0, *slide.level_shapes[-1]), len(slide.level_shapes) - 1)
    stained = (overview.min(axis=2) < 225).mean()  # the patch is four fifths stained
    assert 0.7 * TISSUE < stained < TISSUE


def test_the_seed_decides_the_outline(tmp_path):
    files = []
    for seed in (3, 3, 4):
        write_big_slide(tmp_path / "a.tif", (900, 1300), seed=seed)
        files.append((tmp_path / "a.tif").read_bytes())
    assert files[0] == files[1] != files[2]


def test_memory_does_not_grow_with_the_slide(tmp_path):
    """The child writes 243 MB of pixels."""
    command = [sys.executable, SCRIPT, tmp_path / "a.tif", "--size", "9000x9000"]
    child = psutil.Popen([*map(str, command), "--tissue", "0.3"])
    peak = 0
    while child.poll() is None:
        try:
            peak = max(peak, child.memory_info().rss)
            child.wait(0.05)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            continue
    assert child.returncode == 0
    assert 20e6 < peak < 230e6


@pytest.mark.parametrize("size", ["40000", "0x100", "-5x5", "900000x10"])
def test_a_size_that_makes_no_sense_is_refused(tmp_path, capsys, size):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "a.tif"), f"--size={size}"])
    assert stop.value.code == 2
    assert "expected WIDTHxHEIGHT such as 40000x30000" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
