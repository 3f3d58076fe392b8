"""Packages of the BioImage Model Zoo, of both layouts, in folders and zips; hostile ones."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.models.onnx_graphs import darkness

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.importing.facts import Normalisation
from napari_twostage.models.importing.package import read_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NETWORK = darkness(2).SerializeToString()


def old(**changes: Any) -> dict[str, Any]:
    """Description in version 0.4."""
    return {
        "format_version": "0.4.10",
        "type": "model",
        "name": "Old nuclei",
        "version": "0.2.0",
        "license": "MIT",
        "inputs": [
            {
                "name": "raw",
                "axes": "bcyx",
                "data_type": "float32",
                "shape": {"min": [1, 3, 64, 64], "step": [0, 0, 16, 16]},
                "preprocessing": [{"name": "scale_linear", "kwargs": {"gain": 2, "offset": 5}}],
            }
        ],
        "outputs": [
            {
                "name": "maps",
                "axes": "bcyx",
                "halo": [0, 0, 24, 24],
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx", "opset_version": 17}},
        **changes,
    }


def new(**changes: Any) -> dict[str, Any]:
    """Description in version 0.5."""
    step = {
        "id": "fixed_zero_mean_unit_variance",
        "kwargs": {"mean": [51, 102, 153], "std": [25.5, 51, 51], "axis": "channel"},
    }
    space = {"type": "space", "size": {"min": 32, "step": 32}, "scale": 0.25, "unit": "micrometer"}
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "New nuclei",
        "license": "CC0-1.0",
        "inputs": [
            {
                "id": "raw",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["r", "g", "b"]},
                    {"id": "y", **space},
                    {"id": "x", **space},
                ],
                "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}, step],
            }
        ],
        "outputs": [
            {
                "id": "maps",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["background", "nucleus"]},
                    {"id": "y", "type": "space", "halo": 16},
                    {"id": "x", "type": "space", "halo": 16},
                ],
            }
        ],
        "weights": {
            "onnx": {
                "source": "weights.onnx",
                "sha256": hashlib.sha256(NETWORK).hexdigest(),
                "opset_version": 17,
            }
        },
        **changes,
    }


def package(folder: Path, description: dict[str, Any] | str, name: str = "rdf.yaml") -> Path:
    path = folder / "package"
    path.mkdir()
    text = description if isinstance(description, str) else yaml.safe_dump(description)
    (path / name).write_text(text, encoding="utf-8")
    (path / "weights.onnx").write_bytes(NETWORK)
    return path


def zipped(path: Path) -> Path:
    return path.parent / shutil.make_archive("package", "zip", path.parent, path.name)


@pytest.mark.parametrize("wrap", [lambda path: path, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize("name", ["rdf.yaml", "bioimageio.yaml"])
def test_a_package_of_version_0_4(
    wrap: Callable[[Path], Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network, facts = read_package(wrap(package(tmp_path, old(), name)))
    assert network == NETWORK
    assert (facts.name, facts.version, facts.licence) == ("Old nuclei", "0.2.0", "MIT")
    assert (facts.least_px, facts.step_px, facts.halo_px) == (64, 16, 24)
    assert facts.meaning == "logits"  # the sigmoid comes after the network
    assert facts.mpp is facts.classes is None
    # 2 p + 5 of pixels to 255 is (p / 255 + 5 / 510) / (1 / 510)
    assert facts.normalisation is not None
    assert facts.normalisation.mean == pytest.approx((-5 / 510,) * 3)
    assert facts.normalisation.std == pytest.approx((1 / 510,) * 3)


def test_a_package_of_version_0_5(tmp_path: Path) -> None:
    network, facts = read_package(package(tmp_path, new()))
    assert network == NETWORK
    assert (facts.mpp, facts.classes, facts.halo_px) == (0.25, ("background", "nucleus"), 16)
    assert facts.meaning is None
    assert facts.normalisation is not None
    assert facts.normalisation.mean == pytest.approx((0.2, 0.4, 0.6))
    assert facts.normalisation.std == pytest.approx((0.1, 0.2, 0.2))


@pytest.mark.parametrize(
    ("steps", "standardise"),
    [
        ([{"name": "zero_mean_unit_variance", "kwargs": {"axes": "xy"}}], "channels"),
        (
            [
                {"name": "scale_linear", "kwargs": {"gain": 0.1, "axes": "cxy"}},
                {
                    "name": "zero_mean_unit_variance",
                    "kwargs": {"mode": "per_sample", "axes": "cyx"},
                },
            ],
            "window",
        ),
    ],
)
def test_windows_may_be_standardised(
    steps: list[dict[str, Any]], standardise: str, tmp_path: Path
) -> None:
    description = old()
    description["inputs"][0]["preprocessing"] = steps
    _, facts = read_package(package(tmp_path, description))
    assert facts.normalisation is not None
    assert facts.normalisation.standardise == standardise


def test_what_a_network_takes_without_any_step(tmp_path: Path) -> None:
    description = old()
    del description["inputs"][0]["preprocessing"]
    _, facts = read_package(package(tmp_path, description))
    assert facts.normalisation == Normalisation(std=(1 / 255,) * 3)
    description["inputs"][0]["data_range"] = [0.0, 1.0]
    (tmp_path / "other").mkdir()
    _, facts = read_package(package(tmp_path / "other", description))
    assert facts.normalisation is None  # by whom pixels are scaled is not said


def changed(place: str, step: dict[str, Any]) -> dict[str, Any]:
    description = old()
    description["inputs" if place == "preprocessing" else "outputs"][0][place] = [step]
    return description


ALIASES = "\n".join(
    [
        "a0: &a0 {x: 1}",
        *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)),
    ]
)
BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
)
"""More lists than there is memory, if anybody wrote them down."""
REFUSED: dict[str, tuple[Any, str]] = {
    "percentiles": (changed("preprocessing", {"name": "scale_range"}), "asks for 'scale_range'"),
    "a data set's mean": (
        changed(
            "preprocessing",
            {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_dataset"}},
        ),
        "asks for 'zero_mean_unit_variance'",
    ),
    "an inverted image": (
        changed("preprocessing", {"name": "scale_linear", "kwargs": {"gain": -1}}),
        "not above 0",
    ),
    "a step after it": (changed("postprocessing", {"name": "zero_mean"}), "after the network"),
    "no ONNX": (old(weights={"torchscript": {"source": "a.pt"}}), "has no ONNX weights"),
    "a place outside": (old(weights={"onnx": {"source": "../weights.onnx"}}), "outside of it"),
    "an absolute place": (old(weights={"onnx": {"source": "/etc/passwd"}}), "outside of it"),
    "an address": (old(weights={"onnx": {"source": "https://host/weights.onnx"}}), "outside of it"),
    "a missing file": (old(weights={"onnx": {"source": "other.onnx"}}), "holds no 'other.onnx'"),
    "another file": (
        old(weights={"onnx": {"source": "weights.onnx", "sha256": "0" * 64}}),
        "is not the file that it describes",
    ),
    "two inputs": (old(inputs=[{}, {}]), "has 2 inputs"),
    "another version": (old(format_version="0.3.1"), "has version '0.3.1'"),
    "an object": ("a: !!python/object/apply:os.system ['touch pwned']", "is unreadable"),
    "merged entries": (ALIASES, "merges entries"),
    "a bomb for a version": (f"{BOMB}\nformat_version: *a39", "has version ''"),
    "a bomb for a file": (
        f"{BOMB}\n{yaml.safe_dump(old(weights=0))}\nweights: {{onnx: {{source: *a39}}}}",
        "weights are at '', outside of it",
    ),
    "a circle": ("&a [*a]", "is unreadable"),
    "deep": ("[" * 5000, "nested too deeply"),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(400)), "is unreadable|has version"),
    "much": ("a: " + "b" * (1 << 19), "expected at most 262,144"),
    "no text": ("\x00", "is unreadable"),
    "a list": ("[1, 2]", "is unreadable"),
    "an odd entry": (old(inputs=[{"name": "raw", "shape": {"min": "?"}}]), "is unreadable"),
    "no numbers": (
        changed("preprocessing", {"name": "scale_linear", "kwargs": {"gain": "x"}}),
        "is unreadable",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    description, words = REFUSED[case]
    with pytest.raises(ModelError, match=words) as found:
        read_package(package(tmp_path, description))
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500 + len(str(tmp_path))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["../rdf.yaml", "/rdf.yaml", "a/../../weights.onnx"])
def test_a_zip_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(name, yaml.safe_dump(old()))
    with pytest.raises(ModelError, match="outside of it"):
        read_package(tmp_path / "p.zip")


def test_a_zip_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", yaml.safe_dump(old()))
        archive.writestr("weights.onnx", bytes(64 << 20))
    with pytest.raises(ModelError, match="more than 100 times its size"):
        read_package(tmp_path / "p.zip")


@pytest.mark.parametrize("wrap", [lambda path: path, zipped], ids=["folder", "zip"])
def test_a_package_is_no_model_until_it_is_imported(
    wrap: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"BioImage Model Zoo, .*napari-twostage import"):
        load_model(wrap(package(tmp_path, old())))
