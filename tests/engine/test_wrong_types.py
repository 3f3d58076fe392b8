"""Every argument of every public function, of every wrong type: one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

import napari_twostage as ts
from napari_twostage.errors import TwoStageError
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG = {
    "float": 1.5,
    "bool": True,
    "empty text": "",
    "NUL": "x\0y",
    "object": object(),
    "empty list": [],
    "text in a list": ["a"],
    "dictionary": {"a": 1},
    "bytes": b"bytes",
    "set": {1},
    "long array": np.arange(3000.0).reshape(3, 1000),
    "nan": float("nan"),
    "three numbers": (1, 2, 3),
}
SLIDE_ARGUMENTS = ("mpp", "scene", "channel", "z", "t", "intensity", "cache_bytes")
RIGHT = {
    ("mpp", "float"), ("cache_bytes", "float"), ("scene", "empty text"),
    ("progress", "bool"), ("tissue", "bool"),
}  # fmt: skip


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(TwoStageError) as refusal:
        call()
    text = str(refusal.value)
    assert "\n" not in text
    assert len(text) < 500
    assert ";" in text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ts.Segmentation:
    out = tmp_path_factory.mktemp("result") / "out"
    return ts.segment(noise_slide(70, 90), FakeModel(), out, tissue=False)


@pytest.mark.parametrize("kind", WRONG)
def test_opening(kind: str, made: ts.Segmentation) -> None:
    value = WRONG[kind]
    refused(lambda: ts.open_slide(value))
    refused(lambda: ts.load_model(value))
    refused(lambda: ts.load_model("nuclei", device=value))
    refused(lambda: ts.load_model("nuclei", precision=value))
    refused(lambda: ts.Segmentation.open(value))
    refused(lambda: ts.Segmentation.open(made.path, slide=value))
    if kind not in {"empty text", "NUL"}:
        refused(lambda: ts.Segmentation.open(made.path, model=value))


@pytest.mark.parametrize("argument", SLIDE_ARGUMENTS)
@pytest.mark.parametrize("kind", WRONG)
def test_what_to_read_of_a_slide(kind: str, argument: str) -> None:
    if (argument, kind) not in RIGHT:
        refused(lambda: ts.open_slide(sample_slide(), **{argument: WRONG[kind]}))


@pytest.mark.parametrize("kind", WRONG)
def test_segmenting(kind: str, tmp_path: Path) -> None:
    value, slide = WRONG[kind], noise_slide(70, 90)
    refused(lambda: ts.segment(value, FakeModel(), tmp_path / "a"))
    refused(lambda: ts.segment(slide, value, tmp_path / "a"))
    refused(lambda: ts.segment(slide, FakeModel(), value))
    for argument in ("progress", "cluster", "refine", "region", "tissue", "uncertainty"):
        if (argument, kind) not in RIGHT:
            refused(lambda a=argument: ts.segment(slide, FakeModel(), tmp_path / "a", **{a: value}))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", WRONG)
def test_planning_and_exporting(kind: str, made: ts.Segmentation, tmp_path: Path) -> None:
    value = WRONG[kind]
    refused(lambda: made.plan(region=value))
    refused(lambda: ts.export(value, tmp_path / "a.geojson"))
    refused(lambda: ts.export(made, value))
    refused(lambda: ts.export(made, tmp_path / "a.geojson", progress=value))


def test_values_that_are_no_text_of_a_path_are_paths() -> None:
    for cache_bytes in (0, np.int64(1 << 20)):
        with ts.open_slide(Path(sample_slide()), cache_bytes=cache_bytes) as slide:
            assert slide.mpp == (0.499, 0.499)
