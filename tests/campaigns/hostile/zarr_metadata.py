"""Ways to spoil the metadata of an OME-Zarr image."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tests.campaigns.hostile.zarr_images import SIDE, array_v3, write_json

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

VALUES: tuple[Any, ...] = (
    None, True, False, [], {}, "", "x", 0, -1, 1, 2, 3, 5, 63, 64, 65, 255, 256, 1000, 65536,
    10**6, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30, -(2**31), -(2**63),
    0.5, -0.5, 1e-300, 1e-30, 1e-5, 1e5, 1e30, 1e300, float("nan"), float("inf"), float("-inf"),
    "NaN", "0x", "../..", "..", "/etc/passwd", "C:\\", "a/../../b", "\0", "a\nb", "ü" * 300,
    "x" * 100_000, [0] * 3, [2**40] * 3, [1, 1, 1], [0.0, 0.0, 0.0], [-1, -1, -1], [64] * 64,
    [[[]]], {"name": "x"}, {"id": "pickle"}, {"name": "pickle"}, {"name": "numcodecs.pickle"},
    "float64", "<f8", "|O", "|V1000000000", ">u2", "uint16", "|S4", "U99999999", "int4", "bool",
    "datetime64[ns]", {"name": "numpy.datetime64", "configuration": {"unit": "s"}},
    {"id": "lzma"}, {"id": "delta", "dtype": "|u1"}, {"id": "zlib", "level": 99}, "parsec", "inch",
    {"id": "blosc", "cname": "x", "clevel": 99, "shuffle": 9, "blocksize": -1}, "meter",
    {"name": "transpose", "configuration": {"order": [0, 0, 0]}}, {"name": "crc32c"},
    {"name": "rectilinear"}, {"name": "v2", "configuration": {"separator": ".."}},
    [{"name": "bytes"}, {"name": "bytes"}], [{"name": "crc32c"}] * 300, ["x"] * 3, "µm",
)  # fmt: skip
"""Values that replace others in metadata."""


def metadata_value(rng: random.Random, place: Path, kind: str) -> None:
    """Replace up to three values anywhere in the metadata by hostile ones."""
    path = _metadata_file(rng, place, kind)
    content = json.loads(path.read_text())
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *parents, last = rng.choice(list(_places(content)))
        holder = content
        for key in parents:
            holder = holder[key]
        if rng.random() < 0.15:
            del holder[last]
        elif isinstance(holder[last], list) and holder[last] and rng.random() < 0.2:
            holder[last] = holder[last] * rng.choice((2, 30, 100, 5000))
        else:
            holder[last] = deepcopy(rng.choice(VALUES))
        if not list(_places(content)):
            break
    write_json(path, content)


def _places(content: Any) -> Iterator[tuple[Any, ...]]:
    keys = content if isinstance(content, dict) else range(len(content))
    for key in list(keys):
        yield (key,)
        if isinstance(content[key], dict | list):
            yield from ((key, *rest) for rest in _places(content[key]))


def metadata_bytes(rng: random.Random, place: Path, kind: str) -> None:
    """Damage the bytes of the metadata."""
    path = _metadata_file(rng, place, kind)
    data = bytearray(path.read_bytes())
    match rng.randrange(9):
        case 0:
            del data[rng.randrange(len(data)) :]
        case 1:
            for _ in range(rng.choice((1, 3, 30))):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 2:
            data[rng.randrange(len(data)) :] = bytes(rng.randrange(300))
        case 3:
            data[:] = b"[" * rng.choice((900, 10_000, 1_000_000))
        case 4:
            data[:] = b'{"a":' * rng.choice((900, 10_000, 500_000))
        case 5:
            data += b" " * rng.choice((1 << 20, 8 << 20))
        case 6:
            data[:] = data.decode().encode("utf-16")
        case 7:
            data[:] = b"[" + b"{}," * 1_300_000 + b"0]"
        case _:
            data[:] = data.replace(b"64", b"1" + b"0" * rng.choice((20, 400, 5000)))
    path.write_bytes(data)


def metadata_size(rng: random.Random, place: Path, kind: str) -> None:
    """A file of metadata of a terabyte, which takes no room on the disk."""
    os.truncate(_metadata_file(rng, place, kind), rng.choice((5 << 20, 1 << 33, 1 << 40)))


def shapes(rng: random.Random, place: Path, kind: str) -> None:
    """Sizes that nobody has: of the level, its chunks or shards."""
    path = place / str(rng.randrange(2)) / (".zarray" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    sizes = (0, 1, 2, 3, 7, 64, 10**4, 2**17, 2**20, 2**24, 2**31, 2**40, 2**62, 2**63 - 1, 2**70)
    lists = [content["shape"]]
    if kind.startswith("v2"):
        lists.append(content["chunks"])
    else:
        lists.append(content["chunk_grid"]["configuration"]["chunk_shape"])
    if kind == "v3-shards":
        lists.append(content["codecs"][0]["configuration"]["chunk_shape"])
    for _ in range(rng.choice((1, 1, 2, 3))):
        one = rng.choice(lists)
        value = rng.choice(sizes)
        for axis in rng.choice(((0,), (1,), (2,), (0, 1), (0, 1, 2))):
            one[axis] = value
    if rng.random() < 0.3:
        lists[0][:2] = [rng.choice(sizes[6:])] * 2
    write_json(path, content)


def level_paths(rng: random.Random, place: Path, kind: str) -> None:
    """Levels that lie outside of the folder, or are too many, or none."""
    path = place / (".zattrs" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    image = (content if kind.startswith("v2") else content["attributes"]["ome"])["multiscales"][0]
    names = ("..", "../..", "/", "/etc", "0/..", "./0", "", "0\0", "0//", "C:\\0", "..\\0", "1/c",
             7, "x" * 300, "0/" * 2000 + "0", None, "zarr.json", "c", "~", "%2e%2e/0")  # fmt: skip
    if rng.random() < 0.3:
        image["datasets"] = image["datasets"] * rng.choice((0, 30, 33, 20_000))
    else:
        image["datasets"][rng.randrange(2)]["path"] = rng.choice(names)
    write_json(path, content)


def pixel_sizes(rng: random.Random, place: Path, kind: str) -> None:
    """Scales and units that no microscope has."""
    path = place / (".zattrs" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    image = (content if kind.startswith("v2") else content["attributes"]["ome"])["multiscales"][0]
    units = ("meter", "angstrom", "inch", "pixel", None, 3, ["m"], "µm", "parsec", "nanometer")
    for axis in image["axes"][:2]:
        axis["unit"] = rng.choice(units)
    values = (0, -1, 1e-320, 1e-9, 0.001, 0.25, 25, 1e9, 1e308, 10**400, "0.5", "x", None, True,
              float("nan"), float("inf"))  # fmt: skip
    for level in image["datasets"]:
        level["coordinateTransformations"][0]["scale"][:2] = rng.choices(values, k=2)
    if rng.random() < 0.3:
        image["coordinateTransformations"] = [{"type": "scale", "scale": [1e200, 1e200, 1]}] * 2
    write_json(path, content)


def codecs(rng: random.Random, place: Path, kind: str) -> None:
    """Codecs that nobody asked for, some of which run code."""
    path = place / "0" / (".zarray" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    ids = ("pickle", "json2", "msgpack2", "vlen-utf8", "categorize", "lzma", "bz2", "lz4", "zstd",
           "gzip", "shuffle", "delta", "astype", "quantize", "fixedscaleoffset", "packbits",
           "base64", "crc32", "fletcher32", "adler32", "bitround", "n5_wrapper", "pcodec", "zfpy",
           "jpeg", "imagecodecs_jpeg", "x", "", "\n")  # fmt: skip
    options = {"dtype": "|u1", "astype": "V100000000", "scale": 1, "offset": 0, "digits": 1,
               "labels": ["a"], "keepbits": 1,
               "elementsize": rng.choice((0, 1, 4, 2**40))}  # fmt: skip
    chosen = rng.choice(ids)
    some = {key: options[key] for key in rng.sample(list(options), rng.randrange(4))}
    if kind.startswith("v2"):
        key = rng.choice(("compressor", "filters"))
        codec = {"id": chosen, **some}
        content[key] = codec if key == "compressor" else [codec] * rng.choice((1, 2, 500))
    else:
        name = rng.choice((chosen, f"numcodecs.{chosen}"))
        codec = {"name": name, "configuration": some}
        chain = content["codecs"]
        if kind == "v3-shards" and rng.random() < 0.7:
            key = rng.choice(("codecs", "index_codecs"))
            chain = chain[0]["configuration"][key]
        chain.insert(rng.randrange(len(chain) + 1), codec)
    write_json(path, content)


def nested_shards(rng: random.Random, place: Path, kind: str) -> None:  # noqa: ARG001
    """Shards in shards in shards."""
    path = place / "0" / "zarr.json"
    if not path.exists():
        write_at = place / "0"
        (write_at / ".zarray").unlink()
    content = array_v3((SIDE, SIDE, 3), "shards")
    chain = content["codecs"]
    for _ in range(rng.choice((1, 2, 100))):
        options = {**chain[0]["configuration"], "codecs": chain}
        chain = [{"name": "sharding_indexed", "configuration": options}]
    content["codecs"] = chain
    write_json(path, content)


def _metadata_file(rng: random.Random, place: Path, kind: str) -> Path:
    if kind.startswith("v2"):
        names = ".zattrs", ".zattrs", "0/.zarray", "1/.zarray", ".zgroup"
    else:
        names = "zarr.json", "zarr.json", "0/zarr.json", "1/zarr.json"
    return place / rng.choice(names)
