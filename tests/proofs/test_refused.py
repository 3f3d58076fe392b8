"""What is refused leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from tests.proofs.helpers import SAMPLE, tissue_pixels, write_tiff

from napari_twostage import Box, segment
from napari_twostage.cli.parser import main
from napari_twostage.errors import TwoStageError

if TYPE_CHECKING:
    from napari_twostage.models.model import Model

Write = Callable[[Path], object]


def change_tag(path: Path, code: int, value: int, **layout: Any) -> None:
    write_tiff(path, np.full((64, 64, 3), 200, np.uint8), **layout)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags[code].overwrite(value)


def stack(path: Path) -> None:
    with tifffile.TiffWriter(path) as tif:
        for _ in range(4):
            tif.write(np.zeros((32, 48), np.uint8), metadata=None)


def cut(path: Path) -> None:
    write_tiff(path, tissue_pixels(300, 300))
    path.write_bytes(path.read_bytes()[:-1000])


def plain(path: Path, pixels: np.ndarray, **layout: Any) -> None:
    tifffile.imwrite(path, pixels, metadata=None, **layout)


def glass(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.rint(rng.normal(245, 1.3, (height, width, 3))).astype(np.uint8)


def damaged(path: Path) -> None:
    write_tiff(path, tissue_pixels(200, 200))
    with tifffile.TiffFile(path) as tif:
        places = list(zip(tif.pages[0].dataoffsets, tif.pages[0].databytecounts, strict=True))
    with path.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(bytes(count))


REFUSED: dict[str, Write] = {
    "missing": lambda _: None,
    "empty": lambda path: path.touch(),
    "no image": lambda path: path.write_text("Dear colleague,\n" * 50),
    "folder": lambda path: path.mkdir(),
    "header alone": lambda path: path.write_bytes(b"II*\0"),
    "half an SVS": lambda path: path.write_bytes(SAMPLE.read_bytes()[:900_000]),
    "truncated": cut,
    "zero-sized": lambda path: change_tag(path, 257, 0),
    "stack": stack,
    "unknown compression": lambda path: change_tag(path, 259, 64999),
    "too many channels": lambda path: plain(
        path, np.zeros((32, 32, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    ),
    "float pixels": lambda path: plain(path, np.zeros((32, 32), np.float32)),
    "no pixel size": lambda path: plain(path, tissue_pixels(64, 64), photometric="rgb"),
    "no tissue": lambda path: write_tiff(path, glass(700, 900)),
    "no tissue, and no pyramid": lambda path: write_tiff(
        path, np.full((4203, 4309, 3), 245, np.uint8), tile=(512, 512)
    ),
    "every tile damaged": damaged,
}


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_slide_leaves_nothing_behind(kind: str, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    REFUSED[kind](path)
    before = contents(tmp_path)
    with pytest.raises(TwoStageError) as caught:
        segment(path, model, tmp_path / "out.zarr")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "asked",
    [
        {"threshold": 5.0},
        {"threshold": 0.1, "fraction": 0.1},
        {"fraction": 0.1, "refine": "all"},
        {"refine": "some"},
        {"uncertainty": "doubt"},
        {"region": Box(9000, 9000, 9100, 9100)},
        {"channel": 9},
    ],
    ids=str,
)
def test_a_contradictory_wish_leaves_nothing_behind(
    asked: dict[str, Any], model: Model, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "slide.tif", tissue_pixels(200, 300))
    before = contents(tmp_path)
    with pytest.raises(TwoStageError) as caught:
        segment(tmp_path / "slide.tif", model, tmp_path / "out.zarr", **asked)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_a_region_of_glass_leaves_nothing_behind(model: Model, tmp_path: Path) -> None:
    pixels = glass(1600, 1600)
    pixels[1000:, 1000:] = tissue_pixels(600, 600)
    write_tiff(tmp_path / "slide.tif", pixels)
    before = contents(tmp_path)
    with pytest.raises(TwoStageError, match="holds no tissue"):
        segment(tmp_path / "slide.tif", model, tmp_path / "out.zarr", region=Box(0, 0, 200, 200))
    assert contents(tmp_path) == before


def test_another_slide_does_not_go_on_with_a_result(model: Model, tmp_path: Path) -> None:
    first, other = (tmp_path / f"{name}.tif" for name in "ab")
    write_tiff(first, tissue_pixels(200, 200))
    write_tiff(other, tissue_pixels(200, 220))
    segment(first, model, tmp_path / "out.zarr", refine="none", tissue=False)
    kept = {path: path.read_bytes() for path in contents(tmp_path) if path.is_file()}
    with pytest.raises(TwoStageError, match="another slide"):
        segment(other, model, tmp_path / "out.zarr", refine="none", tissue=False)
    assert {path: path.read_bytes() for path in contents(tmp_path) if path.is_file()} == kept


def test_the_command_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, out = tmp_path / "slide.tif", tmp_path / "out.zarr"
    write_tiff(slide, glass(700, 900))
    assert main(["segment", str(slide), "--out", str(out), "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "found no tissue" in said.err
    assert contents(tmp_path) == {slide}
