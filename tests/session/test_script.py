"""A result as a script: each choice that was made stands in it, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import MPP, FakeModel, noise, noise_slide

import napari_twostage as ts
from napari_twostage.session.script import _region, script

if TYPE_CHECKING:
    from pathlib import Path

BODY = """import napari_twostage as ts

slide = ts.open_slide(array, mpp=(0.5, 0.5))  # the pixels of {name}
model = ts.load_model('fake', precision='f32')
"""


def run(path: Path, **options: Any) -> ts.Segmentation:
    options = {"tissue": False, "refine": "none", **options}
    return ts.segment(noise_slide(), FakeModel(), path, **options)


def test_the_simplest_script(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(), FakeModel(), tmp_path / "a.b.twostage.zarr", refine="none")
    assert script(seg) == BODY.format(name=seg.name) + (
        f"seg = ts.segment(slide, model, '{seg.path}', refine=\"none\", progress=True)\n"
        f"ts.export(seg, '{tmp_path}/a.b.geojson')\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "tissue=False)"),
        ({"tissue": True}, 'refine="none", progress=True)'),
        ({"uncertainty": "entropy"}, "tissue=False, uncertainty='entropy')"),
        ({"uncertainty": "tent"}, "tissue=False)"),
        ({"region": ts.Box(3, 4, 33, 48)}, "tissue=False, region=ts.Box(3, 4, 33, 48))"),
    ],
)
def test_options_stand_in_it_where_they_are_not_the_defaults(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    (line,) = [line for line in script(run(tmp_path / "o", **options)).splitlines()
               if line.startswith("seg = ")]  # fmt: skip
    assert line.endswith(words)


def test_runs_stand_in_it_in_their_order(tmp_path: Path) -> None:
    seg = run(tmp_path / "out")
    seg.refine(seg.plan(n_tiles=2))
    seg.refine(seg.plan(fraction=0.3))
    seg.refine(seg.plan(threshold=0.25, region=ts.Box(0, 5, 20, 30)))
    seg.refine(seg.plan(region=[np.array([[1, 2], [30, 4], [5, 60]])]))
    lines = [line for line in script(seg).splitlines() if ".plan(" in line]
    assert lines == [
        f"seg.refine(seg.plan({arguments}), progress=True)"
        for arguments in (
            "n_tiles=2",
            "fraction=0.3",
            "threshold=0.25, region=ts.Box(0, 5, 20, 30)",
            "region=[[(1.0, 2.0), (30.0, 4.0), (5.0, 60.0)]]",
        )
    ]


def test_a_run_that_was_stopped_says_so(tmp_path: Path) -> None:
    slide = noise_slide(180, 180)  # more tiles than may wait for the disk
    seg = ts.segment(slide, FakeModel(), tmp_path / "out", refine="none", tissue=False)
    plan = seg.plan(fraction=1.0)
    steps = seg.iter_refine(plan)
    for _ in range(3):
        next(steps)
    steps.close()
    done = int(seg.refined.sum())
    assert 0 < done < plan.n_tiles
    words = f"progress=True)  # {done} of {plan.n_tiles} tiles were refined\n"
    assert words in script(seg)


def test_edits_are_named(tmp_path: Path) -> None:
    seg = run(tmp_path / "out")
    assert "by hand" not in script(seg)
    for _ in range(2):
        seg.edit(ts.Box(0, 0, 5, 5), np.ones((5, 5), np.uint8))
    assert "\n# 2 edits by hand are in out\n" in script(seg)


def test_a_slide_is_opened_as_it_was(tmp_path: Path) -> None:
    stated, plain = tmp_path / "stated.tif", tmp_path / "it's.tif"
    tifffile.imwrite(
        stated, noise(40, 40), photometric="rgb", resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
    )  # fmt: skip
    tifffile.imwrite(plain, noise(40, 40), photometric="rgb")
    for path, mpp, words in ((stated, None, ""), (plain, MPP, ", mpp=(0.5, 0.5)")):
        slide = ts.open_slide(path, mpp=mpp)
        seg = ts.segment(slide, FakeModel(), tmp_path / f"{path.stem}.o", tissue=False)
        assert f"slide = ts.open_slide({str(path)!r}{words})\n" in script(seg)


def test_the_channel_of_a_fluorescence_slide_is_named(tmp_path: Path) -> None:
    planes = noise(40, 40).transpose(2, 0, 1)
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(
        path, planes, photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "Cy5"]},
                  "PhysicalSizeX": MPP, "PhysicalSizeY": MPP},
    )  # fmt: skip
    seg = ts.segment(path, FakeModel(), tmp_path / "o", channel="GFP", tissue=False, refine="none")
    text = script(seg)
    assert f"slide = ts.open_slide({str(path)!r}, channel='GFP')\n" in text
    names: dict[str, Any] = {}
    exec(text.split("model =")[0], names)
    assert names["slide"].fingerprint() == seg.slide.fingerprint()


@given(
    downsample=st.floats(0.1, 40),
    corner=st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)),
    size=st.tuples(st.integers(1, 10**4), st.integers(1, 10**4)),
)
def test_a_box_comes_back_as_the_same_box(
    downsample: float, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    box = ts.Box.at(*corner, *size).scaled(1 / downsample)
    listed = [box.top, box.left, box.bottom, box.right]
    again = eval(_region(listed, (downsample, downsample)), {"ts": ts})
    assert again.scaled(1 / downsample) == box
