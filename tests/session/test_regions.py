"""Regions of a session: named, segmented, measured, kept with the result, imported and exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, make_card, noise_slide
from tests.session.helpers import HeldModel, Recorder, open_session, poll_until

from napari_twostage.errors import SelectionError
from napari_twostage.io.annotations import even_odd
from napari_twostage.result.annotations import FILE

if TYPE_CHECKING:
    from pathlib import Path

LEFT = ((3.0, 3.0), (3.0, 40.0), (60.0, 4.0))
RIGHT = ((100.0, 150.0), (149.0, 159.0), (120.0, 199.0))


def begin(out: Path, model: FakeModel | None = None):
    return open_session(out, noise_slide(150, 200), model)


def test_draw_segment_there_refine_there_measure_and_find_it_again(tmp_path: Path) -> None:
    session = begin(tmp_path / "a.zarr")
    heard = Recorder(session)
    left = session.regions.add([LEFT])
    assert (left.name, session.regions.selected) == ("Region 1", {left.id})
    session.regions.run_coarse()
    session.wait()
    seg = session.seg
    assert session.coarse_done
    assert len(seg.windows_done) == seg.layout.windows_touching((LEFT,)).sum()
    session.regions.rename(left.id, "Tumour bed")
    session.regions.refine()
    session.wait().regions.measure()
    session.wait()
    np.testing.assert_array_equal(seg.refined, seg.tiles_touching(seg.to_fine([LEFT])))
    (shown,) = session.regions.all
    assert shown.measurements["nucleus: objects"] >= 1
    assert not heard.errors

    right = session.regions.add([RIGHT])
    assert right.name == "Region 1"
    assert right.color != left.color
    with pytest.raises(SelectionError, match="Region 1 is not segmented yet"):
        session.regions.refine()
    session.regions.run_coarse()
    session.wait().close()
    assert session.regions.all[0].measurements  # the new windows are far from it

    again = begin(tmp_path / "a.zarr")
    assert again.seg.record.scope == (LEFT, RIGHT)
    assert [one.name for one in again.regions.all] == ["Tumour bed", "Region 1"]
    assert again.regions.all[0] == shown
    again.refine_next(1000)
    again.wait()
    assert again.regions.all[1] == right
    again.close()


def test_measurements_go_when_labels_in_the_region_change(tmp_path: Path) -> None:
    session = begin(tmp_path / "a.zarr")
    session.regions.add([LEFT])
    session.run_coarse()
    session.wait().regions.measure()
    session.wait()
    assert session.regions.all[0].stamp
    session.refine_region([RIGHT])
    session.wait()
    assert session.regions.all[0].stamp
    session.refine_region([LEFT])
    session.wait()
    assert not session.regions.all[0].measurements
    session.close()


def test_a_region_that_is_not_segmented_is_named_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    session = begin(tmp_path / "a.zarr")
    session.regions.add([LEFT], "done")
    session.regions.run_coarse()
    session.wait().regions.add([RIGHT], "not done")
    session.regions.select([])
    session.regions.measure()
    session.wait()
    done, not_done = session.regions.all
    assert done.measurements
    assert not not_done.measurements
    assert session.notice.text.startswith("not segmented yet: not done;")
    session.close()


def test_a_pass_in_a_region_that_was_stopped_goes_on_there(tmp_path: Path) -> None:
    model = HeldModel()
    session = begin(tmp_path / "a.zarr", model)
    session.regions.add([LEFT])
    model.hold("coarse")
    session.regions.run_coarse()
    model.wait_begun()
    session.cancel()
    model.release()
    session.wait()
    assert not session.coarse_done
    session.resume()
    session.wait()
    assert session.coarse_done
    assert session.seg.record.scope == (LEFT,)
    session.run_coarse()
    session.wait()
    assert session.seg.record.scope == ()
    assert session.seg.windows_needed.all()
    session.close()


def test_another_model_shows_the_same_regions_without_their_measurements(tmp_path: Path) -> None:
    session = begin(tmp_path / "a.zarr")
    session.regions.add([LEFT], "tumour")
    session.regions.run_coarse()
    session.wait().regions.measure()
    session.wait().set_model(FakeModel(make_card(name="other")))
    session.set_options(tissue_only=False)
    session.set_out(tmp_path / "b.zarr")
    session.wait().regions.run_coarse()
    session.wait()
    (one,) = session.regions.all
    assert (one.name, one.measurements) == ("tumour", {})
    assert json.loads((tmp_path / "b.zarr" / FILE).read_text())["features"][0]["id"] == one.id
    session.close()


def test_regions_of_two_windows_are_all_kept(tmp_path: Path) -> None:
    first = begin(tmp_path / "a.zarr")
    first.run_coarse()
    first.wait()
    second = begin(tmp_path / "a.zarr")
    one = first.regions.add([LEFT], "one")
    first.wait().regions.add([RIGHT], "two")
    first.wait()
    second.regions.add([RIGHT], "three")
    second.wait()
    first.regions.remove([one.id])
    first.wait().close()
    second.close()
    third = begin(tmp_path / "a.zarr")
    assert {one.name for one in third.regions.all} == {"two", "three"}
    third.close()


def test_import_and_export(tmp_path: Path) -> None:
    session = begin(tmp_path / "a.zarr")
    first = session.regions.add([LEFT], "Tumour")
    file = tmp_path / "regions.geojson"
    session.regions.export_to(file)
    session.wait().regions.import_from(file)
    session.wait()
    again = session.regions.all[1]
    assert again.name == "Tumour 2"
    assert again.id != first.id
    assert again.color == first.color
    assert even_odd(again.rings).equals(even_odd(first.rings))
    assert session.regions.selected == {again.id}
    assert session.notice.text == "1 region imported from regions.geojson"
    session.regions.remove([again.id])
    assert session.regions.all == (first,)
    file.write_text("no JSON")
    session.regions.import_from(file)
    poll_until(session, lambda: session.notice.kind == "error")
    assert "regions.geojson is no GeoJSON" in session.notice.text
    session.close()


def test_names_are_unique_and_an_empty_one_is_no_name(tmp_path: Path) -> None:
    session = begin(tmp_path / "a.zarr")
    first, second = session.regions.add([LEFT]), session.regions.add([RIGHT])
    session.regions.rename(second.id, " Region\n1 ")
    assert session.regions.all[1].name == "Region 2"
    session.regions.rename(first.id, "  ")
    assert session.regions.all[0].name == "Region 1"
    session.close()
