"""Objects that refinement changed are counted once, by how much of them is left."""

from __future__ import annotations

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import BlockPixels
from napari_twostage.measure.changes import ObjectChanges, _Regions, object_changes


def regions(*boxes: Box, least: int = 1) -> _Regions:
    labels = np.zeros((40, 40), np.uint8)
    for box in boxes:
        labels[box.slices] = 1
    return _Regions.of(BlockPixels.connected(labels), least)


WHOLE = Box(0, 0, 40, 40)
KEPT, GROWN = Box(0, 0, 10, 10), Box(0, 0, 10, 11)
MOVED, THERE = Box(20, 0, 30, 10), Box(20, 6, 30, 16)
GONE, NEW = Box(0, 20, 6, 26), Box(30, 30, 36, 36)


def changes(before: _Regions, now: _Regions, own: Box = WHOLE) -> ObjectChanges:
    return ObjectChanges(*object_changes(before, now, own).tolist())


def test_objects_are_new_gone_or_of_another_shape() -> None:
    before, now = regions(KEPT, MOVED, GONE), regions(GROWN, THERE, NEW)
    assert changes(before, now) == ObjectChanges(found=1, dropped=1, reshaped=1)
    assert changes(now, now) == ObjectChanges()


def test_each_object_is_counted_in_the_block_that_it_begins_in() -> None:
    before, now = regions(KEPT, MOVED, GONE), regions(GROWN, THERE, NEW)
    halves = [changes(before, now, Box(0, at, 40, at + 20)) for at in (0, 20)]
    assert [sum(parts) for parts in zip(*halves, strict=True)] == [1, 1, 1]


def test_specks_are_no_objects() -> None:
    assert changes(regions(least=50), regions(NEW, least=50)) == ObjectChanges()
    assert changes(regions(least=36), regions(NEW, least=36)).found == 1
