"""Results and their lazy labels in other processes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

from napari_twostage.engine.api import segment
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.geometry import Box
from napari_twostage.result.result import Result

if TYPE_CHECKING:
    from pathlib import Path

BOX = Box(3, 5, 60, 70)


@pytest.fixture
def made(tmp_path: Path) -> Segmentation:
    return segment(noise_slide(70, 90), FakeModel(), tmp_path / "out", tissue=False, refine="all")


@pytest.mark.parametrize("kind", [Segmentation, Result])
def test_an_unpickled_result_is_the_same(made: Segmentation, kind: type[Result]) -> None:
    result = made if kind is Segmentation else Result.open(made.path, slide=made.slide)
    other = pickle.loads(pickle.dumps(result))
    assert type(other) is kind
    assert (other.path, other.grid, other.card) == (made.path, made.grid, made.card)
    assert other.slide.fingerprint() == made.slide.fingerprint()  # an array, sent by value
    np.testing.assert_array_equal(other.read_labels(BOX), made.read_labels(BOX))


def test_an_unpickled_result_shows_what_is_edited_later(made: Segmentation) -> None:
    other = pickle.loads(pickle.dumps(made))
    made.edit(Box(0, 0, 9, 9), np.full((9, 9), 1 - made.read_labels(BOX)[0, 0], np.uint8))
    np.testing.assert_array_equal(
        other.read_labels(Box(0, 0, 20, 20)), made.read_labels(Box(0, 0, 20, 20))
    )


def test_a_result_that_took_the_place_of_another_is_opened_anew(
    made: Segmentation, tmp_path: Path
) -> None:
    before = pickle.loads(pickle.dumps(made))
    assert before.read_labels(BOX).any()
    made.discard()
    again = segment(noise_slide(40, 50), FakeModel(), tmp_path / "out", tissue=False)
    assert pickle.loads(pickle.dumps(again)).grid == again.grid


def test_labels_are_computed_by_processes_of_dask(made: Segmentation) -> None:
    lazy = [labels.sum() for labels in made.labels]
    with dask.config.set({"multiprocessing.context": "spawn"}):
        found = dask.compute(*lazy, scheduler="processes", num_workers=1)
    for level, total in enumerate(found):
        whole = made.read_labels(Box(0, 0, *made.level_shapes[level]), level)
        assert total == whole.sum()
