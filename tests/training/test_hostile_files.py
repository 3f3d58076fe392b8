"""Configurations, annotations and manifests that no parser should meet: refused in one line."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.datasets.classes import Classes
from napari_twostage.training.datasets.manifest import manifest_samples
from napari_twostage.training.datasets.qupath import read_annotations
from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]


def refusal(error: type[Exception], use: Any, *arguments: Any) -> str:
    """One short line of a refusal."""
    with pytest.raises(error) as caught:
        use(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    "text",
    [
        b"a = " + b"[" * 100_000,
        b"seed = 0x" + b"f" * 100_000,
        b"kind = 0x" + b"f" * 100_000,
        b"seed = nan",
        b'kind = "\\u001b[2J"',
        b'"\\u001b[2J" = 1',
        b"#" * (2 << 20),
    ],
    ids=[
        "deep",
        "many digits",
        "many digits for a word",
        "no number",
        "an escape",
        "an escape for a key",
        "long",
    ],
)
def test_configurations(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(text)
    assert "a.toml" in refusal(ConfigError, load_config, tmp_path / "a.toml")


def feature(**changes: Any) -> bytes:
    geometry = {"type": "Polygon", "coordinates": [SQUARE]}
    return json.dumps({"type": "Feature", "geometry": geometry, **changes}).encode()


def polygon(*points: Any) -> bytes:
    return feature(geometry={"type": "Polygon", "coordinates": [[*SQUARE[:2], *points]]})


ANNOTATIONS = {
    "deep": b"[" * 100_000,
    "far": polygon([1e300, 9], [0, 0]),
    "no number": polygon([float("nan"), 9], [0, 0]),
    "text for a number": polygon(["a", 9], [0, 0]),
    "a class that is a number": feature(properties={"classification": 7}),
    "a class of numbers": feature(properties={"classification": {"names": [1, 2]}}),
    "properties that are a list": feature(properties=[1]),
    "an escape": feature(properties={"classification": {"name": ["\x1b[2J"]}}),
}


@pytest.mark.parametrize("fault", ANNOTATIONS)
def test_annotations(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(ANNOTATIONS[fault])
    assert "a.geojson" in refusal(DatasetError, read_annotations, path)


@pytest.mark.parametrize("damage", ["cut", "changed", "bomb"])
def test_packed_annotations(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.training.datasets.qupath.LONGEST", 1 << 20)
    packed = bytearray(gzip.compress(bytes(2 << 20) if damage == "bomb" else feature()))
    if damage == "cut":
        del packed[-9:]
    elif damage == "changed":
        packed[12:20] = b"\xff" * 8
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(packed)
    assert "a.geojson.gz" in refusal(DatasetError, read_annotations, path)


@pytest.mark.parametrize(
    "rows",
    [
        b"file,split\n../../etc/passwd,train\n",
        b"file,split\n/etc/passwd,train\n",
        b"file,split\nC:\\a.png,train\n",
        b"file,split\na\0b,train\n",
        b"file,split\n" + b"x" * 5000 + b",train\n",
        b"file,split\na.png\n",
        b'file,split\n"' + b"x" * (1 << 20),
        b"file,split\n\xff\xfe,train\n",
    ],
    ids=["above", "absolute", "a drive", "NUL", "long", "short row", "long cell", "no text"],
)
def test_manifests(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "manifest.csv").write_bytes(rows)
    assert "manifest.csv" in refusal(DatasetError, manifest_samples, tmp_path, "all", Classes())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among files")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.toml", "a.geojson"):
        os.mkfifo(tmp_path / name)
    assert "no regular file" in refusal(ConfigError, load_config, tmp_path / "a.toml")
    assert "no regular file" in refusal(DatasetError, read_annotations, tmp_path / "a.geojson")
