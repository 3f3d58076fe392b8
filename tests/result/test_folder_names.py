"""Names of result folders: safe everywhere, the same every time, and kept where they were fine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.io.file_names import safe_name
from napari_twostage.io.url import Url
from napari_twostage.result import folder_names
from napari_twostage.result.folder_names import (
    SUFFIX,
    has_room,
    name_on_disk,
    result_folder,
)

FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


@pytest.mark.parametrize("name", ["a.svs", "a slide (1).ome.tif", ".hidden", "Präparat 7", "x-2"])
def test_a_name_that_is_fine_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name
    assert result_folder(Path("out"), name) == Path("out") / f"{name}.twostage.zarr"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("a\nb", "a_b"),
        ("ends with dots...", "ends with dots"),
        ("ends with a space ", "ends with a space"),
        ("...", "_"),
        ("", "_"),
        ("CON", "_CON"),
        ("nul.svs", "_nul.svs"),
        ("Com1 .ome.tif", "_Com1 .ome.tif"),
        ("console", "console"),
        ("com10", "com10"),
    ],
)
def test_what_a_system_forbids_is_replaced(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=300))
def test_every_name_becomes_a_safe_one(name: str) -> None:
    folder = result_folder(Path("out"), name)
    assert folder.parent == Path("out")
    assert folder.name.endswith(SUFFIX)
    assert not FORBIDDEN & set(folder.name)
    assert len(folder.name.encode("utf-8", "surrogatepass")) <= 200
    assert safe_name(folder.name) == folder.name
    assert result_folder(Path("out"), name) == folder


def test_long_names_that_differ_only_at_their_end_stay_apart() -> None:
    first, second = (result_folder(Path("out"), "x" * 300 + end) for end in "ab")
    assert first != second


def test_the_path_is_kept_short_where_the_system_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_names, "_LONGEST_PATH", 180)
    shallow, deep, deeper = Path("s" * 10), Path("d" * 120), Path("d" * 170)
    assert result_folder(shallow, "a.svs").name == "a.svs.twostage.zarr"
    assert len(str(result_folder(deep, "x" * 100))) == 180
    assert len(result_folder(deeper, "x" * 100).name) == 40
    assert [has_room(folder) for folder in (shallow, deep, deeper)] == [True, True, False]
    monkeypatch.setattr(folder_names, "_LONGEST_PATH", None)
    assert has_room(deeper)


def test_urls_hold_results_too() -> None:
    assert result_folder(Url("s3://bucket/out"), "a?b").name == "a_b.twostage.zarr"


@pytest.mark.parametrize(
    ("one", "other"), [("A.svs", "a.svs"), ("Ärzte", "A\u0308rzte"), ("ß", "ẞ")]
)
def test_names_that_are_one_on_some_disk_have_one_key(one: str, other: str) -> None:
    assert name_on_disk(one) == name_on_disk(other)
    assert name_on_disk(one) != name_on_disk(one + "x")
