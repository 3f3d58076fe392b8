"""A damaged place costs the tiles that need it, by name, and no pixel more."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.proofs.helpers import outcome, overwrite_tile, tissue_pixels, write_tiff

from napari_twostage import Box, Segmentation, TileState, open_slide, segment
from napari_twostage.cli.parser import main

if TYPE_CHECKING:
    from napari_twostage.models.model import Model

FILE_TILE = 128
CODECS: dict[str, tuple[dict[str, Any], bytes]] = {
    # JPEG has no checksum: what happens to decode cannot be told from pixels, a marker that has
    # no place in a scan can
    "jpeg": ({"compression": "jpeg", "compressionargs": {"level": 90}}, b"\xff\x44" * 40),
    "deflate": ({"compression": "zlib"}, bytes(40)),
}


@dataclass
class Pair:
    """One slide intact and damaged."""

    intact: Path
    damaged: Path
    place: Box
    """What cannot be read, at level 0."""
    expected: dict[str, Any]
    """Of refining all of the intact one."""


@pytest.fixture(scope="module", params=CODECS)
def pair(
    request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    folder = tmp_path_factory.mktemp(request.param)
    layout, damage = CODECS[request.param]
    pixels = tissue_pixels(4 * FILE_TILE + 33, 5 * FILE_TILE + 71)
    intact = write_tiff(folder / "intact.tif", pixels, tile=(FILE_TILE, FILE_TILE), **layout)
    damaged = Path(shutil.copy(intact, folder / "damaged.tif"))
    overwrite_tile(damaged, 1 * 6 + 2, damage)  # row 1, column 2 of 6
    seg = segment(intact, model, folder / "intact.zarr", refine="all", tissue=False)
    place = Box.at(FILE_TILE, 2 * FILE_TILE, FILE_TILE, FILE_TILE)
    return Pair(intact, damaged, place, outcome(seg))


def out_of_reach(seg: Segmentation, place: Box) -> np.ndarray:
    """Tiles whose chips do not read the place."""
    reached = np.zeros(seg.tiles.shape, bool)
    for tile in np.ndindex(*seg.tiles.shape):
        window = seg.tiles.core(tile).grow(seg.card.halo_px)
        reached[tile] = window.intersect(place).area > 0
    return ~reached


@pytest.mark.parametrize("tissue", [False, True], ids=["everything", "tissue"])
def test_a_corrupt_tile_fails_and_the_others_do_not_notice(
    pair: Pair, model: Model, tmp_path: Path, tissue: bool
) -> None:
    seg = segment(pair.damaged, model, tmp_path / "out.zarr", refine="all", tissue=tissue)
    sound = out_of_reach(seg, pair.place)
    assert sound.any()
    assert not sound.all()
    assert (seg.states[~sound] == TileState.FAILED).all()
    assert (seg.states[sound] != TileState.FAILED).all()
    if not tissue:
        assert (seg.states[sound] == TileState.REFINED).all()

    assert set(seg.failures) == set(zip(*np.nonzero(~sound), strict=True))
    for reason in seg.failures.values():
        assert reason.startswith("damaged.tif: the tile in row 1, column 2 of level 0 cannot be")

    found = outcome(seg)
    for tile in zip(*np.nonzero(seg.states == TileState.REFINED), strict=True):
        place = seg.tiles.box(tile).slices
        np.testing.assert_array_equal(found["labels 0"][place], pair.expected["labels 0"][place])


def test_what_cannot_be_read_is_not_taken_for_glass(model: Model, tmp_path: Path) -> None:
    pixels = np.full((4 * FILE_TILE, 12 * FILE_TILE, 3), 245, np.uint8)
    pixels[:, : 3 * FILE_TILE] = tissue_pixels(4 * FILE_TILE, 3 * FILE_TILE)
    slide = write_tiff(tmp_path / "whole.tif", pixels)
    whole = segment(slide, model, tmp_path / "whole.zarr", refine="none")
    assert whole.states[2, 9] == TileState.OUTSIDE

    slide = write_tiff(tmp_path / "packed.tif", pixels)
    overwrite_tile(slide, 2 * 12 + 9, b"\xff" * 12)
    seg = segment(slide, model, tmp_path / "out.zarr", refine="none")
    assert seg.states[2, 9] == TileState.FAILED
    assert "row 2, column 9 of level 0" in seg.failures[2, 9]


def test_the_command_finishes_and_exits_with_1(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zarr"
    wish = ["--refine", "all", "--no-tissue", "--quiet", "--json"]
    assert main(["segment", str(pair.damaged), "--out", str(out), *wish]) == 1
    summary = json.loads(capsys.readouterr().out)
    seg = Segmentation.open(out, slide=open_slide(pair.damaged))
    assert summary["tiles"]["failed"] == len(seg.failures) > 0
    assert summary["failures"] == sorted(set(seg.failures.values()))
    assert main(["segment", str(pair.intact), "--out", str(tmp_path / "intact.zarr"), *wish]) == 0
