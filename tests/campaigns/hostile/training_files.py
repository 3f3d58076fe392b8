"""Files that training reads: configurations, annotations as GeoJSON, and manifests of images."""

from __future__ import annotations

import csv
import gzip
import json
import os
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import rasterio.features
import tifffile
from tests.campaigns.hostile import Case
from tests.campaigns.hostile.mutations import MUTATIONS, deflated_zeros
from tests.campaigns.hostile.values import TEXTS, hostile_value
from tests.fakes import noise

from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import load_config
from napari_twostage.training.datasets import load_dataset

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

_ = imagecodecs.png_encode, rasterio.features.rasterize
SIDE = 96
CONFIG = """
kind = "two_stage"
seed = 1
[data]
layout = "manifest"
mpp = 0.5
classes = [{ name = "gland", color = "#ff0000" }]
[network]
architecture = "lite_unet"
ratio = 2
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
transfer = false
options = { widths = [16, 16, 8, 8, 8] }
[stage1]
batch = 2
learning_rate = 0.001
steps = 3
crop_px = 128
[stage2]
batch = 2
learning_rate = 0.001
steps = 3
crop_px = 128
[card]
name = "own"
"""
SQUARE = [[10, 10], [60, 10], [60, 50], [10, 50], [10, 10]]
ROWS = [["file", "split", "info"], ["a.png", "train", "p1|x"], ["b.png", "test", ""]]


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield damaged files without end."""
    _bomb()  # while no case runs, whose time would be counted
    makers = (_config, _annotation, _annotation, _manifest)
    number = 0
    while True:
        for make in makers:
            number += 1
            name = f"{make.__name__.removeprefix('_')}-{number}"
            yield make(rng, folder / name, name)


def _config(rng: random.Random, path: Path, name: str) -> Case:
    path = path.with_suffix(".toml")
    lines = CONFIG.splitlines()
    if rng.random() < 0.7:
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(lines))
            key = lines[at].partition("=")[0]
            lines[at] = f"{key} = {_toml(rng, hostile_value(rng, 1))}" if "=" in lines[at] else ""
    text = "\n".join(lines).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        text = _damaged(rng, text, b"a = " + b"[" * 10**5)
    path.write_bytes(text)
    return Case(name=name, use=partial(_use_config, path), file=path)


def _toml(rng: random.Random, value: Any) -> str:
    if value is None:
        return "0x" + "f" * 20_000  # a number of more digits than Python writes
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = 1" for k in value) + " }"
    text = json.dumps(value) if rng.random() < 0.9 else "1979-05-27T07:32:00Z"
    return text.replace("NaN", "nan").replace("Infinity", "inf")


def _use_config(path: Path) -> None:
    config = load_config(path)
    if config.card is not None:
        try:
            draft_card(config, path.parent)
        except Exception as error:
            error.args = (f"{path.name}: {error}",)  # the command names the file
            raise


def _annotation(rng: random.Random, path: Path, name: str) -> Case:
    path.mkdir()
    tifffile.imwrite(path / "s.tif", noise(SIDE, SIDE), resolution=(20_000, 20_000),
                     resolutionunit="CENTIMETER", tile=(32, 32))  # fmt: skip
    feature = {
        "type": "Feature",
        "geometry": {"type": rng.choice(("Polygon", "Polygon", "MultiPolygon")),
                     "coordinates": [SQUARE]},
        "properties": {"classification": {"name": rng.choice(("gland", "Region*"))}},
    }  # fmt: skip
    if feature["geometry"]["type"] == "MultiPolygon":
        feature["geometry"]["coordinates"] = [[SQUARE]]
    document: Any = {
        "type": "FeatureCollection",
        "features": [feature, json.loads(_dumped(feature))],
    }
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(rng, document)
    text = _dumped(document)
    if rng.random() < 0.2:
        text = _damaged(rng, text, b'{"features": ' + b"[" * 10**5)
    file = path / "s.geojson"
    if rng.random() < 0.2:
        file = path / "s.geojson.gz"
        packed = gzip.compress(text)
        text = rng.choice((packed, _damaged(rng, packed, _bomb())))
    file.write_bytes(text)
    return Case(name=name, use=partial(_use_folder, path, "slides"), file=path)


@cache
def _bomb() -> bytes:
    """Pack half a gigabyte as gzip, once: it takes seconds."""
    return gzip.compress(b"")[:10] + deflated_zeros(1 << 29)


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")


def _change(rng: random.Random, entries: Any) -> None:
    keys = list(entries) if isinstance(entries, dict) else list(range(len(entries)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(entries[key], dict | list) and entries[key] and rng.random() < 0.85:
        _change(rng, entries[key])
    elif isinstance(entries, dict) and rng.random() < 0.2:
        del entries[key]
    else:
        entries[key] = hostile_value(rng, entries[key])


def _manifest(rng: random.Random, path: Path, name: str) -> Case:
    for inside, pixels in (
        ("images", noise(SIDE, SIDE)),
        ("masks", np.zeros((SIDE, SIDE), np.uint8)),
    ):
        (path / inside).mkdir(parents=True)
        for stem in "ab":
            (path / inside / f"{stem}.png").write_bytes(imagecodecs.png_encode(pixels))
    file = path / "manifest.csv"
    rows = [list(row) for row in ROWS]
    for _ in range(rng.choice((0, 1, 1, 2))):
        row = rng.choice(rows)
        if rng.random() < 0.2 and row:
            row.pop()
        elif row:
            row[rng.randrange(len(row))] = rng.choice(TEXTS)
    with file.open("w", newline="", encoding="utf-8", errors="surrogatepass") as table:
        csv.writer(table).writerows(rows)
    if rng.random() < 0.4:
        file.write_bytes(_damaged(rng, file.read_bytes(), b'file,split\n"' + b"x" * (1 << 20)))
    elif rng.random() < 0.1:
        file.unlink()
        os.mkfifo(file)
    return Case(name=name, use=partial(_use_folder, path, "manifest"), file=path)


def _use_folder(path: Path, layout: str) -> None:
    samples = load_dataset(layout, path, "all", mpp=0.5, classes=["gland"])
    for index in range(min(2, len(samples))):
        _ = samples[index]


def _damaged(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if rng.random() < 0.1:
        return other
    _, mutate = rng.choice(MUTATIONS)
    return bytes(mutate(rng, bytearray(data)))
