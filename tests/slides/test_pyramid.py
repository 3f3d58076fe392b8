"""Added levels against whole-plane averages, of slides that record what was read of them."""

import tempfile
import tracemalloc
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import pyramid
from napari_twostage.slides.base import Slide
from napari_twostage.slides.pyramid import added_shapes, build_pyramid, with_pyramid
from napari_twostage.slides.tiff import open_tiff


class FakeSlide(Slide):
    """Levels in memory; records each box that is read, and can be damaged."""

    def __init__(self, *levels, tile=(1024, 1024), damaged=None):
        self.planes = levels
        self.tile = tile
        self.damaged = damaged
        self.boxes = []
        super().__init__(
            name="fake",
            level_shapes=[plane.shape[:2] for plane in levels],
            channels=levels[0].shape[2],
            dtype=levels[0].dtype,
            mpp=(0.5, 0.25),
            mpp_source="invented",
            format="fake",
        )

    def tile_shape(self, _level):
        return self.tile

    def _read_inside(self, box, level):
        self.boxes.append(box)
        if self.damaged and self.damaged.intersect(box).area:
            raise ReadError("fake: a tile is damaged")
        return self.planes[level][box.slices].copy()

    def fingerprint(self):
        return str(hash(self.planes[0].tobytes()))


class EndlessSlide(FakeSlide):
    """A large plane that is made up where it is read."""

    def _read_inside(self, box, _level):
        self.boxes.append(box)
        rows, columns = np.ogrid[box.slices]
        values = (rows * 7 + columns * 13) // 5 % 256
        return np.repeat(values.astype(np.uint8)[..., None], self.channels, axis=2)

    def fingerprint(self):
        return "endless"


def endless(shape, tile=(1024, 1024)):
    return EndlessSlide(np.broadcast_to(np.uint8(0), (*shape, 3)), tile=tile)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def averaged(plane, factor):
    """Average the whole plane at once, reflected to fill the last squares; halves round up."""
    height, width, channels = plane.shape
    rows, columns = -(-height // factor), -(-width // factor)
    margins = ((0, rows * factor - height), (0, columns * factor - width), (0, 0))
    padded = np.pad(plane, margins, "reflect").astype(np.uint64)
    blocks = padded.reshape(rows, factor, columns, factor, channels)
    return ((blocks.sum((1, 3)) + factor**2 // 2) // factor**2).astype(plane.dtype)


def finish(slide, folder):
    *_, done = build_pyramid(slide, folder)
    assert done == 1
    return with_pyramid(slide, folder)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 100),
    width=st.integers(1, 100),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    block=st.sampled_from([16, 32, 64]),
)
def test_added_levels_are_area_averages_of_the_slide(height, width, channels, dtype, block):
    plane = noise(height, width, channels, dtype=dtype)
    small = {"COARSE_ENOUGH_PX": 12, "_BLOCK_PX": block, "_CHUNK_PX": 8}
    with mock.patch.multiple(pyramid, **small), tempfile.TemporaryDirectory() as folder:
        slide = finish(FakeSlide(plane), folder)
        assert max(slide.level_shapes[-1]) <= 12
        assert all(max(shape) > 12 for shape in slide.level_shapes[:-1])
        for level, shape in enumerate(slide.level_shapes):
            assert slide.factors[level] == (2.0**level, 2.0**level)
            expected = averaged(plane, 2**level)
            assert shape == expected.shape[:2]
            np.testing.assert_array_equal(slide.read(Box(0, 0, *shape), level), expected)


def test_reading_at_a_resolution_is_the_same_with_and_without_the_pyramid(tmp_path):
    slide = FakeSlide(noise(1501, 2777, 3))
    joined = finish(slide, tmp_path)
    assert joined.level_shapes == ((1501, 2777), (751, 1389), (376, 695))
    for factor in (2.0, 4.0):
        box = Box(0, 0, 1501, 2777).scaled(1 / factor)
        np.testing.assert_array_equal(
            joined.read_at(box, (factor, factor)), slide.read_at(box, (factor, factor))
        )


def test_the_real_slide_gets_true_levels(tmp_path, real_slide):
    with finish(open_tiff(real_slide), tmp_path) as slide:
        assert slide.level_shapes == ((2967, 2220), (1484, 1110), (742, 555))
        assert slide.mpp == (0.499, 0.499)
        plane = slide.read(slide_box(slide, 0))
        for level in (1, 2):
            found = slide.levels[level].compute()
            np.testing.assert_array_equal(found, averaged(plane, 2**level))


def slide_box(slide, level):
    return Box(0, 0, *slide.level_shapes[level])


def test_levels_follow_on_the_slides_own_smallest_one(tmp_path):
    plane, small = noise(5001, 7003, 1), noise(1667, 2334, 1, seed=1)
    slide = FakeSlide(plane, small)
    assert slide.factors[1] == (3.0, 3.0)
    joined = finish(slide, tmp_path)
    assert joined.level_shapes[2:] == ((834, 1167), (417, 584))
    assert joined.factors[2:] == ((6.0, 6.0), (12.0, 12.0))
    np.testing.assert_array_equal(joined.read(slide_box(joined, 0), 0), plane)
    np.testing.assert_array_equal(joined.read(slide_box(joined, 3), 3), averaged(small, 4))
    assert joined.fingerprint() == slide.fingerprint()


def test_memory_is_bounded_and_every_pixel_read_once(tmp_path):
    slide = endless((9000, 11000))  # 297 MB
    tracemalloc.start()
    try:
        for _ in build_pyramid(slide, tmp_path):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6
    assert max(box.area for box in slide.boxes) <= 2048**2
    # The blocks at the edges are reflected: their source is inside the same block.
    assert sum(box.area for box in slide.boxes) == 9000 * 11000


def test_a_slide_in_strips_is_read_in_bands_as_wide_as_the_strips(tmp_path):
    slide = endless((1600, 9001), tile=(16, 9001))
    joined = finish(slide, tmp_path)
    assert {box.width for box in slide.boxes} == {9001}
    assert max(box.area for box in slide.boxes) <= 2048**2
    plane = slide.read(slide_box(slide, 0))
    np.testing.assert_array_equal(joined.read(slide_box(joined, 3), 3), averaged(plane, 8))


def test_progress_grows_to_one_and_only_then_the_pyramid_is_used(tmp_path):
    slide = endless((3000, 5000))
    fractions = []
    for fraction in build_pyramid(slide, tmp_path):
        if fraction < 1:
            with pytest.raises(SlideError, match="no finished pyramid of fake; build_pyramid"):
                with_pyramid(slide, tmp_path)
        fractions.append(fraction)
    assert len(fractions) == 6
    assert fractions[0] > 0
    assert fractions[-1] == 1
    assert all(a < b for a, b in pairwise(fractions))
    assert len(with_pyramid(slide, tmp_path).level_shapes) == 4


def test_an_interrupted_build_starts_again(tmp_path):
    slide = FakeSlide(noise(2100, 2100, 1))
    steps = build_pyramid(slide, tmp_path)
    next(steps)
    steps.close()
    (tmp_path / "1" / "c" / "0" / "0" / "0").write_bytes(b"half a chu")
    joined = finish(slide, tmp_path)
    np.testing.assert_array_equal(
        joined.read(slide_box(joined, 2), 2), averaged(slide.planes[0], 4)
    )


def test_a_finished_pyramid_is_kept_for_its_slide_and_replaced_for_another(tmp_path):
    slide = FakeSlide(noise(1100, 900, 1))
    finish(slide, tmp_path)
    slide.boxes.clear()
    assert list(build_pyramid(slide, tmp_path)) == [1.0]
    assert slide.boxes == []

    other = FakeSlide(noise(1100, 900, 1, seed=1))
    with pytest.raises(SlideError, match="no finished pyramid"):
        with_pyramid(other, tmp_path)
    joined = finish(other, tmp_path)
    np.testing.assert_array_equal(
        joined.read(slide_box(joined, 1), 1), averaged(other.planes[0], 2)
    )


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(SlideError, match="holds other files"):
        list(build_pyramid(FakeSlide(noise(1100, 900, 1)), tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_a_small_slide_gets_no_more_levels(tmp_path: Path):
    slide = FakeSlide(noise(1024, 700, 3))
    assert added_shapes(slide) == []
    assert finish(slide, tmp_path / "new").level_shapes == slide.level_shapes
    assert slide.boxes == []


def test_a_damaged_tile_stays_damaged_but_for_the_overview(tmp_path):
    plane = noise(2500, 2400, 3)
    slide = FakeSlide(plane, tile=(256, 256), damaged=Box(2060, 2100, 2061, 2101))
    joined = finish(slide, tmp_path)
    tile = Box(2048, 2048, 2304, 2304)  # the file tile around the damage
    with pytest.raises(ReadError, match="a tile is damaged"):
        joined.read(Box(1051, 1051, 1053, 1053), 1)
    sound = Box(0, 0, 1250, 1024)
    np.testing.assert_array_equal(joined.read(sound, 1), averaged(plane, 2)[sound.slices])

    blank = plane.copy()
    blank[tile.slices] = 255
    np.testing.assert_array_equal(joined.read(slide_box(joined, 2), 2), averaged(blank, 4))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "complete.json").write_bytes(b"{"),
        lambda folder: (folder / "complete.json").write_bytes(b"[" * 10_000),
        lambda folder: (folder / "complete.json").write_bytes(b"[1]"),
        lambda folder: (folder / "1" / "zarr.json").write_bytes(b""),
        lambda folder: (folder / "1" / "zarr.json").unlink(),
        lambda folder: (folder / "zarr.json").write_bytes(bytes(50)),
    ],
)
def test_a_damaged_pyramid_is_made_again(tmp_path, damage):
    slide = FakeSlide(noise(40, 50, 3))
    folder = tmp_path / "pyramid"
    with mock.patch.object(pyramid, "COARSE_ENOUGH_PX", 16):
        finish(slide, folder)
        expected = with_pyramid(slide, folder).read(Box(0, 0, 20, 25), 1)
        damage(folder)
        finish(slide, folder)
        np.testing.assert_array_equal(
            with_pyramid(slide, folder).read(Box(0, 0, 20, 25), 1), expected
        )


def test_a_damaged_chunk_says_what_to_remove(tmp_path):
    slide = FakeSlide(noise(40, 50, 3))
    folder = tmp_path / "pyramid"
    with mock.patch.object(pyramid, "COARSE_ENOUGH_PX", 16):
        finish(slide, folder)
        (folder / "1" / "c" / "0" / "0" / "0").write_bytes(b"no zstd")
        whole = with_pyramid(slide, folder)
        with pytest.raises(ReadError, match=r"added level 1 of fake is damaged.*made again"):
            whole.read(Box(0, 0, 9, 9), 1)
