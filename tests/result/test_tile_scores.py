"""Statistics of tiles keep their names on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tests.fakes import FakeModel, noise_slide

from napari_twostage import segment
from napari_twostage.io.paths import load_arrays

if TYPE_CHECKING:
    from pathlib import Path


def test_statistics_are_written_under_the_names_of_version_0_1(tmp_path: Path) -> None:
    seg = segment(noise_slide(), FakeModel(), tmp_path / "out", tissue=False, refine="none")
    saved = load_arrays(seg.path / "statistics.npz")
    known = seg.ranking.statistics
    expected = {
        "score": known.score,
        "hits": known.true_positives,
        "false_alarms": known.false_positives,
        "misses": known.false_negatives,
    }
    assert list(saved) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(saved[name], values)
