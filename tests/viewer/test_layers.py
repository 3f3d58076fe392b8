"""Our layers are aligned with the slide, show the session's state and leave others unchanged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from tests.fakes import MPP, FakeModel, damage, make_card, noise, noise_slide
from tests.session.helpers import (
    HeldModel,
    coarse_session,
    open_session,
    poll_until,
    whole_labels,
)

from napari_twostage.geometry import Box
from napari_twostage.measure.areas import areas
from napari_twostage.method.tiling import TileState
from napari_twostage.method.tissue import MARGIN_UM
from napari_twostage.session import Session
from napari_twostage.slides import open_slide
from napari_twostage.viewer.colormaps import INK_LIMITS, INKS, Ink
from napari_twostage.viewer.drawn_levels import FINE_LEVEL, FINER
from napari_twostage.viewer.layers import ResultLayers
from napari_twostage.viewer.reader import get_reader
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 30
ROLES = ("labels", "uncertainty", "tiles", "tissue")


class Stage:
    """Viewer with a slide's layer, and our layers over it."""

    def __init__(self, session: Session, pixels: np.ndarray | None = None, **frame) -> None:
        self.viewer = ViewerModel()
        self.slide = self.viewer.add_image(
            noise(70, 90) if pixels is None else pixels, name="slide", **frame
        )
        self.session = session
        self.ours = ResultLayers(self.viewer, self.slide, session)

    def wait(self) -> None:
        self.session.wait(PATIENCE_S)
        self.ours.redraw()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Viewer with the layers of a coarse result."""
    stage = Stage(coarse_session(tmp_path / "a.twostage.zarr"))
    stage.ours.redraw()
    yield stage
    stage.session.close()


# -- places -----------------------------------------------------------------------------------

MARK = 48
FRAMES = [
    {},
    {"scale": (MPP, MPP), "units": ("um", "um")},
    {"scale": (500, 250), "translate": (-9e3, 40), "units": ("nm", "nm")},
    {"scale": (2, 2), "rotate": 30, "translate": (5, 9)},
    {"affine": [[0.9, 0.2, 40], [-0.1, 1.1, -3], [0, 0, 1]]},
]
# a model that works at another pixel size than the slide's: every pixel is resampled
SETTINGS = [(frame, (MPP, 0.31)[at % 2]) for at, frame in enumerate(FRAMES)]


def marked() -> np.ndarray:
    """Glass with a square of stained tissue in each corner; no side is a whole number of tiles.

    The fake model finds the first class in a mark, and is unsure of it.
    """
    plane = np.full((331, 419, 3), 250, np.uint8)
    plane[..., 0] = 100
    for box in marks().values():
        plane[box.slices] = (131, 30, 130)
    return plane


def marks() -> dict[str, Box]:
    height, width = 331, 419
    return {
        f"{'bottom' if top else 'top'} {'right' if left else 'left'}": Box.at(top, left, MARK, MARK)
        for top in (0, height - MARK)
        for left in (0, width - MARK)
    }


def seen_at(layer: Image | Labels, mark: np.ndarray, step: np.ndarray) -> np.ndarray:
    """World corners of the bounding box of a mask whose pixels are `step` layer pixels wide."""
    rows, columns = (np.flatnonzero(mark.any(axis=axis)) for axis in (1, 0))
    edges = [(rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)]
    return np.array(
        [
            layer.data_to_world(np.array((y, x)) * step - 0.5)[-2:]
            for y in edges[0]
            for x in edges[1]
        ]
    )


def at_fine_size(labels: Labels) -> np.ndarray:
    """Labels as the layer has them, a value for each fine pixel."""
    return np.asarray(labels.data[FINE_LEVEL][:])


def in_slide_pixels(stage: Stage, corners: np.ndarray) -> np.ndarray:
    """(top, left), (bottom, right) on level 0, from world positions."""
    points = np.array([stage.slide.world_to_data(c) for c in corners]) + 0.5
    return np.array([points.min(axis=0), points.max(axis=0)])


def only_in(plane: np.ndarray, corner: str) -> np.ndarray:
    """Mask restricted to one quarter of a plane."""
    kept = np.zeros(plane.shape, bool)
    rows = slice(plane.shape[0] // 2, None) if "bottom" in corner else slice(plane.shape[0] // 2)
    columns = slice(plane.shape[1] // 2, None) if "right" in corner else slice(plane.shape[1] // 2)
    kept[rows, columns] = plane[rows, columns]
    return kept


@pytest.mark.parametrize(("frame", "fine_mpp"), SETTINGS)
def test_marks_in_the_corners_lie_on_the_slides(tmp_path, frame, fine_mpp) -> None:
    pixels = marked()
    card = make_card(fine_mpp=fine_mpp, mpp_range=(fine_mpp, fine_mpp))
    slide = open_slide(pixels, mpp=MPP)
    session = open_session(tmp_path / "a.twostage.zarr", slide, FakeModel(card), tissue_only=True)
    stage = Stage(session, pixels, **frame)
    session.run_coarse()
    stage.wait()
    for box in marks().values():
        session.refine_region(box)
        stage.wait()
    seg, ours = session.seg, stage.ours
    assert seg is not None
    resampled = (MPP / fine_mpp) if fine_mpp != MPP else 1.0
    for corner, box in marks().items():
        wanted = np.array([(box.top, box.left), (box.bottom, box.right)])

        def assert_there(layer, plane, step, slack, corner=corner, wanted=wanted) -> None:
            part = only_in(plane, corner)
            assert part.any(), (layer.name, corner)
            found = in_slide_pixels(stage, seen_at(layer, part, np.asarray(step)))
            assert np.abs(found - wanted).max() <= slack, (layer.name, corner, found, wanted)

        fractions = [1 / 2**power for power in range(FINE_LEVEL, 0, -1)]
        for plane, step in zip(ours.labels.data, [*fractions, *seg.layout.steps], strict=True):
            # the fake model's filter is two fine pixels wide
            slack = (step + 2) / resampled + 1
            assert_there(ours.labels, np.asarray(plane[:]) == 1, FINER * step, slack)
        tile = seg.card.tile_px / resampled
        for level, plane in enumerate(ours.tiles.data):
            refined = np.isin(plane[:, :], (Ink.REFINED, Ink.REFINED_FILL))
            assert_there(ours.tiles, refined, 2**level, tile + 2)
        # the outline runs round the mark at the tissue's margin, cut off by the slide's edges
        rim = MARGIN_UM / MPP + 3 * seg.tissue_mask[1].downsample[0]
        for level, plane in enumerate(ours.tissue.data):
            assert_there(ours.tissue, plane[:, :] == Ink.TISSUE, 2**level, rim + 2**level)
    seg._files.log.refined[:] = False  # to see the uncertainty from before the refinement
    ours._fill_uncertainty(seg, ours.uncertainty)
    for corner, box in marks().items():
        uncertain = only_in(ours.uncertainty.data > 128, corner)
        found = in_slide_pixels(stage, seen_at(ours.uncertainty, uncertain, np.ones(2)))
        cell = seg.uncertainty_map.grid.downsample[0]
        assert np.abs(found - [(box.top, box.left), (box.bottom, box.right)]).max() <= 2 * cell + 1
    session.close()


@pytest.mark.parametrize("frame", FRAMES[1:])
def test_layers_follow_a_slide_that_is_moved_later(stage, frame) -> None:
    stage.session.edit(Box(16, 16, 48, 64))
    stage.wait()
    height, width = stage.session.slide.level_shapes[0]
    for name, value in frame.items():
        setattr(stage.slide, name, value)
    for role in ROLES:
        layer = getattr(stage.ours, role)
        shape = layer.data.shape if role == "uncertainty" else layer.data.shapes[0]
        for corner in ((0, 0), (1, 0), (0, 1)):
            seen = layer.data_to_world(np.array(shape) * corner - 0.5)
            reached = np.array(stage.slide.world_to_data(seen)) + 0.5
            assert reached == pytest.approx(np.array((height, width)) * corner, abs=16)
            if corner == (0, 0):
                assert reached == pytest.approx((0, 0), abs=1e-6)
        assert layer.units == stage.slide.units
    first = stage.slide.world_to_data(stage.ours.edit.data_to_world((-0.5, -0.5)))
    assert np.array(first) + 0.5 == pytest.approx((16, 16), abs=1e-6)
    stage.session.discard_edit()
    stage.wait()


@pytest.mark.parametrize("role", ROLES)
def test_a_layer_that_was_removed_comes_back_when_it_is_shown(stage, role) -> None:
    layer = getattr(stage.ours, role)
    stage.viewer.layers.remove(layer)
    assert not stage.ours.is_shown(role)
    stage.ours.show(role, visible=False)
    assert layer not in stage.viewer.layers
    stage.ours.show(role, visible=True)
    assert stage.ours.is_shown(role)
    assert layer in stage.viewer.layers
    stage.ours.redraw()


@pytest.mark.parametrize(("frame", "fine_mpp"), SETTINGS)
def test_an_edit_lies_where_its_labels_lie(tmp_path, frame, fine_mpp) -> None:
    card = make_card(fine_mpp=fine_mpp, mpp_range=(fine_mpp, fine_mpp))
    stage = Stage(coarse_session(tmp_path / "a.twostage.zarr", model=FakeModel(card)), **frame)
    stage.session.edit(Box(20, 30, 60, 80))
    stage.wait()
    edit, labels, patch = stage.ours.edit, stage.ours.labels, stage.session.editing
    assert patch is not None
    box = patch.box
    assert edit.data.shape == box.shape
    for y, x in ((-0.5, -0.5), (box.height - 0.5, box.width - 0.5), (3, 9)):
        np.testing.assert_allclose(
            edit.data_to_world((y, x)),
            labels.data_to_world(FINER * np.array((y + box.top + 0.5, x + box.left + 0.5)) - 0.5),
        )
    assert np.array_equal(edit.data, whole_labels(stage.session.seg)[box.slices])
    stage.session.close()


@pytest.mark.parametrize("frame", FRAMES)
def test_all_layers_share_units_and_begin_in_the_slides_corner(tmp_path, frame) -> None:
    stage = Stage(coarse_session(tmp_path / "a.twostage.zarr"), **frame)
    stage.session.edit(Box(0, 0, 30, 30))
    stage.wait()
    first = stage.slide.data_to_world((-0.5, -0.5))
    for role in (*ROLES, "edit"):
        layer = getattr(stage.ours, role)
        assert layer.units == stage.slide.units
        np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), first, atol=1e-9)
        assert layer.metadata[METADATA_KEY] == {"role": role, "result": stage.session.seg.path}
    stage.session.close()


# -- tiles and uncertainty ---------------------------------------------------------------------


def selected(stage: Stage) -> np.ndarray:
    """Tiles whose borders are drawn."""
    return stage.ours.tile_overlay.selected


def assert_tiles_shown(stage: Stage) -> None:
    seg, ours = stage.session.seg, stage.ours
    wanted = (seg.scores > stage.session.threshold) & ~seg.refined
    np.testing.assert_array_equal(selected(stage), wanted)
    np.testing.assert_array_equal(ours.tile_overlay.states, seg.states)
    levels = ours.tiles.data
    drawn = ours.tile_overlay.draw(Box(0, 0, *levels[-1].shape), 2 ** (len(levels) - 1) / FINER)
    assert np.array_equal(levels[-1], drawn)


def test_dragging_the_threshold_changes_the_tiles_pixels_in_place_and_nothing_else(stage) -> None:
    stage.ours.redraw()
    stage.session.refine_next(5)
    stage.wait()
    tiles = stage.ours.tiles
    array, others = tiles.data[-1], {layer: record(layer) for layer in stage.viewer.layers}
    del others[tiles]
    counts = set()
    left = stage.session.seg.scores[~stage.session.seg.refined]
    for threshold in (*np.linspace(0, 1, 12), left.max(), np.median(left), 0.2):
        stage.session.threshold = float(threshold)
        stage.ours.redraw()
        assert tiles.data[-1] is array  # napari keeps it
        assert_tiles_shown(stage)
        counts.add(int(selected(stage).sum()))
    assert len(counts) > 3
    assert 0 in counts
    assert {layer: record(layer) for layer in others} == others


def test_nothing_lights_up_before_the_coarse_pass_is_done(tmp_path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "a.twostage.zarr", model=model)
    stage = Stage(session)
    model.hold("coarse")
    session.run_coarse()
    session.threshold = 0.0
    for _ in range(3):
        model.step()
    poll_until(session, lambda: session.seg is not None and np.isfinite(session.seg.scores).any())
    stage.ours.redraw()
    assert not selected(stage).any()
    model.release()
    stage.wait()
    session.threshold = 0.0
    stage.ours.redraw()
    assert selected(stage).any()


def test_every_ink_has_its_own_colour(stage) -> None:
    stage.ours.redraw()
    for layer in (stage.ours.tiles, stage.ours.tissue):
        low, high = layer.contrast_limits
        assert (low, high) == INK_LIMITS
        for ink, color in INKS.items():
            found = layer.colormap.map(np.array([(ink - low) / (high - low)]))[0]
            wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5, 7)]
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_all_states_of_tiles_are_shown(tmp_path) -> None:
    slide = noise_slide(150, 130)
    slide.fingerprint()
    session = coarse_session(tmp_path / "a.twostage.zarr", slide)
    stage = Stage(session, noise(150, 130))
    damage(slide, Box(100, 100, 104, 104))
    session.threshold = 1.0
    session.refine_region(Box(90, 90, 120, 120))
    stage.wait()
    session.edit(Box(0, 0, 20, 20))
    stage.wait()
    stage.ours.edit.data[2, 2] = 1 - stage.ours.edit.data[2, 2]
    session.commit_edit(np.asarray(stage.ours.edit.data))
    stage.wait()
    assert_tiles_shown(stage)
    shown = set(np.unique(stage.ours.tile_overlay.states).tolist())
    assert shown >= {
        TileState.COARSE, TileState.REFINED, TileState.EDITED, TileState.FAILED
    }  # fmt: skip
    session.undo_edit()
    stage.wait()
    assert_tiles_shown(stage)
    session.close()


def test_uncertainty_is_zero_in_refined_tiles(stage) -> None:
    stage.ours.redraw()
    before = stage.ours.uncertainty.data.copy()
    np.testing.assert_array_equal(before, stage.session.seg.uncertainty_map.pixels)
    stage.session.refine_next(6)
    stage.wait()
    after, seg = stage.ours.uncertainty.data, stage.session.seg
    cells = seg.card.coarse_tile_px // max(1, seg.card.coarse_tile_px // 8)
    refined = seg.refined.repeat(cells, 0).repeat(cells, 1)[: after.shape[0], : after.shape[1]]
    assert refined.any()
    assert before[refined].any()
    assert not after[refined].any()
    np.testing.assert_array_equal(after[~refined], before[~refined])


def test_labels_and_uncertainty_appear_while_the_coarse_pass_runs(tmp_path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "a.twostage.zarr", noise_slide(200, 200), model)
    stage = Stage(session, noise(200, 200))
    done: list = []
    session.events.windows_done.connect(done.extend)
    model.hold("coarse")
    session.run_coarse()

    def window_reported() -> bool:
        model.step()  # a window is reported once it is on disk and another one is done
        time.sleep(0.02)
        return bool(done)

    poll_until(session, window_reported)
    stage.ours.redraw()
    assert session.running
    assert stage.ours.tissue in stage.viewer.layers
    core = done[0].core
    place = core.scaled(4).clip(session.seg.grid.shape).grow(-4)
    wanted = session.seg.read_labels(place)
    np.testing.assert_array_equal(at_fine_size(stage.ours.labels)[place.slices], wanted)
    assert wanted.any()
    assert stage.ours.uncertainty.data.any()
    model.release()
    session.close()


# -- others' layers -----------------------------------------------------------------------------


def record(layer) -> tuple:
    """All settable properties of a layer, including `visible` and `data`."""
    state = layer._get_state()
    data = state.pop("data")
    state.pop("metadata")
    same = id(data) if isinstance(data, np.ndarray) else None  # shapes make a list each time
    return repr(sorted(state.items(), key=lambda item: item[0])), same, np.asarray(data).tobytes()


def story(stage: Stage) -> None:
    """Run all operations of a session."""
    session = stage.session
    session.run_coarse()
    stage.wait()
    session.threshold = 0.1
    stage.ours.redraw()
    session.refine_uncertain()
    stage.wait()
    stage.ours.show_class(1, visible=False)
    for keep in (True, False):
        session.edit(Box(0, 0, 40, 40))
        stage.wait()
        stage.ours.edit.data[:9, :9] ^= 1
        if keep:
            session.commit_edit(np.asarray(stage.ours.edit.data))
        else:
            session.discard_edit()
        stage.wait()
    session.undo_edit()
    stage.wait()
    session.measure()
    stage.wait()


def test_the_density_is_a_layer_once_asked_for_and_as_long_as_it_is_right(tmp_path) -> None:
    session = open_session(tmp_path / "a.twostage.zarr")
    stage = Stage(session)
    session.run_coarse()
    stage.wait()
    assert stage.ours.density is None
    session.map_density()
    stage.wait()
    assert stage.ours.is_shown("density")
    layer = stage.ours.density
    counted = sum(area.objects for area in areas(session.seg))
    assert (layer.data.sum() > 0) == (counted > 0)
    np.testing.assert_allclose(layer.scale, session.density.grid.downsample)
    session.edit(Box(0, 0, 40, 40))
    stage.wait()
    assert not layer.visible
    stage.ours.edit.data[:9, :9] ^= 1
    session.commit_edit(np.asarray(stage.ours.edit.data))
    stage.wait()
    assert session.density is stage.ours.density is None
    assert layer not in stage.viewer.layers


def test_layers_of_others_stay_as_they_are(tmp_path) -> None:
    session = open_session(tmp_path / "a.twostage.zarr")
    stage = Stage(session)
    foreign = [
        stage.slide,
        stage.viewer.add_labels(np.ones((70, 90), int), name="slide labels", visible=False),
        stage.viewer.add_image(noise(20, 20), scale=(3, 3), opacity=0.3),
        stage.viewer.add_points(np.array([[1.0, 2.0]])),
        stage.viewer.add_shapes([np.array([[0, 0], [5, 5]])]),
    ]
    stage.viewer.layers.selection.active = foreign[3]
    before = [record(layer) for layer in foreign]
    session.run_coarse()
    stage.wait()
    assert stage.viewer.layers.selection.active is foreign[3]
    story(stage)
    assert [record(layer) for layer in foreign] == before
    stage.ours.close()
    session.close()
    assert [record(layer) for layer in foreign] == before
    assert list(stage.viewer.layers) == foreign


@pytest.mark.parametrize("role", [*ROLES, "edit"])
def test_the_user_may_remove_any_of_our_layers_at_any_time(tmp_path, role) -> None:
    session = coarse_session(tmp_path / "a.twostage.zarr")
    stage = Stage(session)
    session.edit(Box(0, 0, 40, 40))
    stage.wait()
    stage.viewer.layers.remove(getattr(stage.ours, role))
    session.threshold = 0.1
    stage.ours.redraw()
    assert (session.editing is None) == (role == "edit")
    if session.editing is not None:
        session.discard_edit()
    stage.wait()
    story(stage)
    stage.ours.close()
    session.close()
    assert list(stage.viewer.layers) == [stage.slide]


def test_removing_all_of_our_layers_while_it_runs_stops_nothing(tmp_path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "a.twostage.zarr", model=model)
    stage = Stage(session)
    model.hold("coarse")
    session.run_coarse()
    model.step()
    poll_until(session, lambda: stage.ours.redraw() or stage.ours.tissue is not None)
    for layer in list(stage.viewer.layers):
        if layer is not stage.slide:
            stage.viewer.layers.remove(layer)
    model.release()
    stage.wait()
    assert session.coarse_done
    story(stage)
    session.close()


def test_layers_may_come_one_by_one_in_their_order_and_show_what_came_before(tmp_path) -> None:
    stage = Stage(coarse_session(tmp_path / "a.twostage.zarr"))
    ours = stage.ours
    found = []
    for _ in range(5):
        ours.redraw(new=1)
        found.append([role for role in ROLES if getattr(ours, role) is not None])
    assert found == [list(ROLES[:count]) for count in (2, 3, 4, 4, 4)]
    assert ours.uncertainty.data.any()
    assert selected(stage).any()
    stage.session.close()


def test_an_edit_hides_layers_that_were_still_to_come(tmp_path) -> None:
    stage = Stage(coarse_session(tmp_path / "a.twostage.zarr"))
    stage.session.edit(Box(0, 0, 40, 40))
    stage.session.wait(PATIENCE_S)
    assert not stage.ours.uncertainty.visible
    assert stage.viewer.layers[-1] is stage.ours.edit
    stage.session.close()


def test_zooming_shows_nothing_of_a_slide_that_is_set_aside(stage) -> None:
    stage.ours.redraw()
    camera = stage.viewer.scene.camera
    camera.zoom = 0.001
    assert stage.ours.uncertainty.visible
    stage.ours.set_aside()
    for zoom in (100, 0.001):
        camera.zoom = zoom
        assert [layer for layer in stage.viewer.layers if layer.visible] == [stage.slide]
    stage.ours.bring_back()
    assert stage.ours.uncertainty.visible


def test_closing_takes_our_layers_away_and_listens_no_more(tmp_path) -> None:
    session = open_session(tmp_path / "a.twostage.zarr")
    listening = {name: len(session.events[name]) for name in session.events}
    stage = Stage(session)
    assert {name: len(session.events[name]) for name in session.events} != listening
    session.run_coarse()
    stage.wait()
    session.edit(Box(0, 0, 40, 40))
    stage.wait()
    assert len(stage.viewer.layers) == 6
    stage.ours.close()
    assert list(stage.viewer.layers) == [stage.slide]
    assert {name: len(session.events[name]) for name in session.events} == listening
    session.discard_edit()
    session.refine_next(3)
    session.wait(PATIENCE_S)
    assert list(stage.viewer.layers) == [stage.slide]
    session.close()


# -- editing ------------------------------------------------------------------------------------


def test_an_edit_replaces_what_lies_below_and_gives_it_back(stage) -> None:
    session, ours = stage.session, stage.ours
    ours.uncertainty.visible = False
    session.edit(Box(5, 5, 45, 45))
    stage.wait()
    assert stage.viewer.layers.selection.active is ours.edit
    assert ours.edit.mode == "paint"
    assert ours.edit.selected_label == 1
    assert list(ours.edit.features["class"]) == ["background", "nucleus"]
    assert not ours.labels.visible
    assert not ours.tiles.visible
    assert not ours.labels.editable
    session.discard_edit()
    assert (ours.labels.visible, ours.uncertainty.visible, ours.tiles.visible) == (
        True,
        False,
        True,
    )
    assert ours.edit is None
    assert len(stage.viewer.layers) == 5


def test_a_class_can_be_hidden(stage) -> None:
    stage.ours.show_class(1, visible=False)
    assert stage.ours.labels.colormap.map(np.array([1]))[0][3] == 0
    stage.ours.show_class(1, visible=True)
    np.testing.assert_allclose(
        stage.ours.labels.colormap.map(np.array([1]))[0], [1, 0xCC / 255, 0, 1], atol=1e-6
    )


# -- results that were opened -------------------------------------------------------------------


def test_the_readers_labels_become_ours_instead_of_lying_twice(result) -> None:
    viewer = ViewerModel()
    for data in get_reader(str(result.path))(str(result.path)):
        viewer._add_layer_from_data(*data)
    slide, read = viewer.layers
    read.opacity = 0.3
    session = Session()
    session.set_slide(slide.metadata[METADATA_KEY]["slide"])
    session.set_model(FakeModel())
    session.wait(PATIENCE_S)
    other = viewer.add_labels(np.zeros((4, 4), int))
    ours = ResultLayers(viewer, slide, session)
    session.set_out(result.path)
    session.wait(PATIENCE_S)
    assert session.seg is not None
    labels = [layer for layer in viewer.layers if isinstance(layer, Labels) and layer is not other]
    assert labels == [ours.labels]
    assert np.array_equal(at_fine_size(ours.labels), whole_labels(result))
    session.close()
