"""Edits take no more room than what they change, and undone ones none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tests.fakes import FakeModel, make_card, noise_slide

from napari_twostage import Box, segment

if TYPE_CHECKING:
    from pathlib import Path

EDITS = 661


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_undone_edits_leave_nothing(tmp_path: Path) -> None:
    seg = segment(noise_slide(), FakeModel(), tmp_path / "out.zarr", refine="all", tissue=False)
    before = names(seg.path)
    for top in range(0, 40, 8):
        box = Box(top, top, top + 25, top + 30)
        seg.edit(box, np.ones(box.shape, np.uint8))
    assert len(names(seg.path) - before) > 5
    while seg.undo_edit():
        pass
    assert names(seg.path) == before
    assert list((seg.path / "undo").iterdir()) == []


def test_many_edits_make_a_result_at_most_twice_as_large(tmp_path: Path) -> None:
    card = make_card(tile_px=32, coarse_window_px=36)
    slide = noise_slide(600, 700, seed=1)
    seg = segment(slide, FakeModel(card), tmp_path / "out.zarr", refine="all", tissue=False)
    before, rng = size(seg.path), np.random.default_rng(0)
    for number in range(EDITS // 10):  # a tenth of a long session, on a tenth of a small slide
        top, left = int(rng.integers(0, 560)), int(rng.integers(0, 660))
        box = Box.at(top, left, int(rng.integers(4, 40)), int(rng.integers(4, 40)))
        seg.edit(box, np.full(box.shape, number % 2, np.uint8))
        if number % 3 == 2:
            seg.undo_edit()
    assert len(list((seg.path / "undo").iterdir())) == len(seg.edit_boxes)
    assert size(seg.path) < 2 * before
