"""Objects of a session: selected, listed and filtered, and measured while a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import noise_slide
from tests.session.helpers import HeldModel, Recorder, coarse_session, open_session, poll_until

from napari_twostage.errors import SelectionError
from napari_twostage.export import export
from napari_twostage.geometry import Box
from napari_twostage.measure.areas import areas
from napari_twostage.measure.object_filter import ObjectFilter, describe_choice
from napari_twostage.session import Session, objects

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session(tmp_path: Path):
    made = coarse_session(tmp_path / "a.twostage.zarr")
    yield made
    made.close()


def test_a_point_selects_its_object_and_the_background_none(session: Session) -> None:
    heard = Recorder(session)
    labels = session.seg.read_labels(session.seg.grid.box)
    y, x = np.argwhere(labels > 0)[0]
    session.objects.select_at(y + 0.5, x + 0.5)
    session.wait()
    found = session.objects.selected
    assert found.box.contains(Box(y, x, y + 1, x + 1))
    assert labels[found.box.slices][found.mask].all()
    y, x = np.argwhere(labels == 0)[0]
    session.objects.select_at(y + 0.5, x + 0.5)
    session.wait()
    assert session.objects.selected is None
    assert len(heard.all("object_selected")) == 2


def test_of_many_points_only_the_last_is_looked_at(session: Session, monkeypatch) -> None:
    asked: list[tuple[int, int]] = []
    find = objects.object_at

    def spy(seg: object, row: int, column: int) -> object:
        asked.append((row, column))
        return find(seg, row, column)

    monkeypatch.setattr(objects, "object_at", spy)
    for column in range(9):
        session.objects.select_pixel(3, column)
    session.wait()
    assert asked == [(3, 0), (3, 8)]


def test_an_edit_changes_the_selected_object_and_outdates_the_list(session: Session) -> None:
    session.objects.list_all()
    with pytest.raises(SelectionError, match="are being listed"):
        session.objects.list_all()
    session.wait()
    listed = session.objects.listed
    assert not np.isnan(listed.numbers["uncertainty_mean"]).any()
    place = int(listed.numbers["area_um2"].argmax())
    session.objects.select_pixel(*listed.first_pixel(place))
    session.wait()
    before = session.objects.selected
    assert listed.place_of(before.first_pixel) == place
    session.edit(before.box)
    session.wait()
    painted = session.editing.labels.copy()
    painted[-2:] = 0
    session.commit_edit(painted)
    session.wait()
    assert session.objects.outdated
    assert session.objects.selected.numbers["area_um2"] < before.numbers["area_um2"]
    session.edit(before.box)
    session.wait()
    session.commit_edit(np.zeros(before.box.shape, np.uint8))
    session.wait()
    assert session.objects.selected is None
    session.objects.list_all()
    assert not session.objects.outdated
    session.wait()
    session.leave()
    assert session.objects.listed is None


def test_limits_choose_from_the_list_and_for_exports(session: Session, tmp_path: Path) -> None:
    session.objects.list_all()
    session.wait()
    own, listed = session.objects, session.objects.listed
    assert own.within.all()
    area = listed.numbers["area_um2"]
    least, most = float(np.median(area)), float(area.max()) - 1
    own.set_limits(ObjectFilter(least_um2=least, most_um2=most))
    wanted = (area >= least) & (area <= most)
    assert (own.within == wanted).all()
    share = area[wanted].sum() / 1e4 / listed.tissue_mm2
    said = f"{wanted.sum():,} of {len(listed):,} objects · {share:.1f} % of tissue"
    assert describe_choice(listed, own.within) == said
    doubt = listed.numbers["uncertainty_mean"]
    own.set_limits(ObjectFilter(least_uncertainty=float(np.median(doubt))))
    assert (own.within == (doubt >= np.median(doubt))).all()
    own.set_limits(ObjectFilter(value=2))
    assert not own.within.any()
    own.set_limits(ObjectFilter(least_um2=least))
    own.limit_exports = True
    session.export(tmp_path / "a.objects.csv")
    session.wait()
    by_hand = export(session.seg, tmp_path / "b.objects.csv", least_object_um2=least)
    assert (tmp_path / "a.objects.csv").read_bytes() == by_hand.read_bytes()


def test_a_run_is_measured_while_it_goes_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(objects, "SO_FAR_S", 0.1)
    monkeypatch.setattr(objects, "SO_FAR_REST", 0.0)
    monkeypatch.setattr("napari_twostage.measure.blocks.BLOCK_PX", 16)
    model = HeldModel()
    session = open_session(tmp_path / "a.twostage.zarr", noise_slide(200, 200), model)
    model.hold()
    session.run_coarse()
    heard = Recorder(session)
    while sum(map(len, heard.all("windows_done"))) < 8:  # more than a row of the 7 × 7 windows
        model.step()
        model.wait_begun()
        session.poll()
    poll_until(session, lambda: session.objects.so_far is not None)
    part = session.objects.so_far
    assert 0 < part.share < 1
    assert part.classes[0].tissue_mm2 < session.seg.grid.box.area / 4e6
    model.release()
    session.wait()
    assert session.objects.so_far is None
    assert session.tally == areas(session.seg)
    assert part.classes[0].objects < areas(session.seg)[0].objects
    session.close()
