"""Importing the package is fast, and gives what it promises."""

from __future__ import annotations

import subprocess
import sys

import napari_twostage as ts
from napari_twostage import errors

WINDOW = ("napari", "qtpy", "superqt", "magicgui", "vispy")
HEAVY = (
    "torch",
    "numpy",
    "asyncio",
    "dask",
    "zarr",
    "tifffile",
    "scipy",
    "matplotlib",
    "psygnal",
    *WINDOW,
)


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = f"import sys, napari_twostage; print(*(set(sys.modules) & set({HEAVY})))"
    assert run(program) == ""


def test_a_session_needs_no_window() -> None:
    program = f"import sys, napari_twostage.session; print(*(set(sys.modules) & set({WINDOW})))"
    assert run(program) == ""


def test_reading_a_slide_in_napari_loads_neither_torch_nor_the_panel() -> None:
    heavy = ("torch", "napari_twostage.viewer.widget")
    program = (
        "import sys, napari_twostage.viewer.reader as r; r.sample_skin()\n"
        f"print(*(set(sys.modules) & set({heavy})))"
    )
    assert run(program) == ""


def test_every_public_name_is_there_and_listed() -> None:
    for name in ts.__all__:
        assert getattr(ts, name).__name__ == name
        assert name in dir(ts)


def test_every_error_is_public() -> None:
    ours = [one for one in vars(errors).values() if isinstance(one, type)]
    for one in ours:
        if issubclass(one, errors.TwoStageError):
            assert getattr(ts, one.__name__) is one
            assert one.__name__ in ts.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(ts, "no_such_name")


def test_importing_the_subpackage_leaves_the_function_in_its_place() -> None:
    program = (
        "import napari_twostage as ts, napari_twostage.export, napari_twostage.export.geojson\n"
        "print(callable(ts.export))"
    )
    assert run(program) == "True"
