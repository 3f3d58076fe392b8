"""OME-Zarr folders whose metadata, chunks, shards and files lie."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import random
import socket
import struct
from copy import deepcopy
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
from tests.campaigns.hostile import Case
from tests.campaigns.runner import WrongResultError

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.slides import (
    ome_zarr,  # noqa: F401 - imported before the children fork
    open_slide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Spoil = Callable[[random.Random, Path, str], None]

SIDE, CHUNK = 192, 64
KINDS = ("v2-blosc", "v2-zlib", "v2-raw", "v3-zstd", "v3-gzip", "v3-blosc", "v3-shards")
EMPTY = 2**64 - 1


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Spoil good images in one way each, for ever."""
    for number in count():
        kind = rng.choice(KINDS)
        spoil = rng.choices(SPOILS, WEIGHTS)[0]
        place = folder / f"{kind}-{spoil.__name__}-{number}.ome.zarr"
        write_image(place, kind)
        spoil(rng, place, kind)
        unharmed = spoil.__name__.startswith("chunk")
        yield Case(name=place.stem, use=partial(use, place, unharmed=unharmed), file=place)


def use(place: Path | str, *, unharmed: bool = False) -> None:
    """Open a slide and read of it what a run reads; with `unharmed`, level 1 must be right."""
    with open_slide(place) as slide:
        slide.fingerprint()
        assert slide.intensity_range
        failed = None
        for level, (height, width) in enumerate(slide.level_shapes):
            for box in (Box(0, 0, 70, 70), Box(height - 50, width - 50, height + 9, width + 9)):
                try:
                    slide.read(box, level)
                except ReadError as error:
                    failed = error
        slide.read_at(Box(0, 0, 9, 9), (2.0, 2.0))
        if unharmed and not np.array_equal(
            slide.read(Box(0, 0, 64, 64), 1), pixels()[::2, ::2][:64, :64]
        ):
            raise WrongResultError("other pixels of an unharmed level")
        if failed:
            raise failed


def pixels() -> np.ndarray:
    """Pixels of the good image."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8)


# -- good images, written without zarr, whose threads must not be there when children fork ---------


def write_image(place: Path, kind: str) -> None:
    """Write an image of two levels."""
    version, codec = kind.split("-")
    scale = [{"type": "scale", "scale": [0.5, 0.5, 1.0]}]
    coarse = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    space = {"type": "space", "unit": "micrometer"}
    image = {
        "axes": [{"name": "y", **space}, {"name": "x", **space}, {"name": "c", "type": "channel"}],
        "datasets": [
            {"path": "0", "coordinateTransformations": scale},
            {"path": "1", "coordinateTransformations": coarse},
        ],
    }
    omero = {"channels": [{"label": "red"}, {"label": "green"}, {"label": "blue"}]}
    place.mkdir()
    if version == "v2":
        _write(place / ".zgroup", {"zarr_format": 2})
        _write(place / ".zattrs", {"multiscales": [{"version": "0.4", **image}], "omero": omero})
    else:
        ome = {"version": "0.5", "multiscales": [image], "omero": omero}
        _write(
            place / "zarr.json",
            {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}},
        )
    for level in range(2):
        _write_level(place / str(level), pixels()[:: level + 1, :: level + 1], version, codec)


def _write_level(place: Path, plane: np.ndarray, version: str, codec: str) -> None:
    place.mkdir()
    if version == "v2":
        _write(place / ".zarray", _array_v2(plane.shape, codec))
    else:
        _write(place / "zarr.json", _array_v3(plane.shape, codec))
    side = 2 * CHUNK if codec == "shards" else CHUNK
    for row in range(-(-plane.shape[0] // side)):
        for column in range(-(-plane.shape[1] // side)):
            part = np.zeros((side, side, 3), np.uint8)
            cut = plane[row * side : (row + 1) * side, column * side : (column + 1) * side]
            part[: cut.shape[0], : cut.shape[1]] = cut
            data = shard(part) if codec == "shards" else packed(part.tobytes(), codec)
            name = f"{row}.{column}.0" if version == "v2" else f"c/{row}/{column}/0"
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)


def _array_v2(shape: tuple[int, ...], codec: str) -> dict[str, Any]:
    compressors = {
        "blosc": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "zlib": {"id": "zlib", "level": 1},
        "raw": None,
    }
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": [CHUNK, CHUNK, 3],
        "dtype": "|u1",
        "compressor": compressors[codec],
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }


def _array_v3(shape: tuple[int, ...], codec: str) -> dict[str, Any]:
    blosc = {"typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
    compressors = {
        "zstd": {"name": "zstd", "configuration": {"level": 0, "checksum": False}},
        "gzip": {"name": "gzip", "configuration": {"level": 1}},
        "blosc": {"name": "blosc", "configuration": blosc},
    }
    chain = [{"name": "bytes"}, compressors[codec if codec != "shards" else "zstd"]]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    if codec == "shards":
        inner = {"chunk_shape": [CHUNK, CHUNK, 3], "codecs": chain, "index_codecs": [little]}
        chain = [{"name": "sharding_indexed", "configuration": {**inner, "index_location": "end"}}]
    side = 2 * CHUNK if codec == "shards" else CHUNK
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [side, side, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": chain,
        "attributes": {},
        "dimension_names": ["y", "x", "c"],
    }


def packed(data: bytes, codec: str) -> bytes:
    """Bytes as a codec stores them."""
    if codec == "raw":
        return data
    if codec == "gzip":
        return gzip.compress(data, 1)
    if codec == "bz2":
        return bz2.compress(data)
    makers = {"zlib": numcodecs.Zlib, "blosc": numcodecs.Blosc, "zstd": numcodecs.Zstd}
    return bytes(makers[codec]().encode(np.frombuffer(data, np.uint8)))


def shard(part: np.ndarray, index: list[tuple[int, int]] | None = None) -> bytes:
    """Shard of four chunks, perhaps with an index that lies."""
    pieces, places, at = [], [], 0
    for row in (0, CHUNK):
        for column in (0, CHUNK):
            chunk = np.ascontiguousarray(part[row : row + CHUNK, column : column + CHUNK])
            pieces.append(packed(chunk.tobytes(), "zstd"))
            places.append((at, len(pieces[-1])))
            at += len(pieces[-1])
    return b"".join(pieces) + b"".join(struct.pack("<QQ", *one) for one in index or places)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


# -- ways to spoil them ----------------------------------------------------------------------------

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
    _write(path, content)


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
    _write(path, content)


def level_paths(rng: random.Random, place: Path, kind: str) -> None:
    """Levels that lie outside of the folder, or are too many, or none."""
    path = place / (".zattrs" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    image = (content if kind.startswith("v2") else content["attributes"]["ome"])["multiscales"][0]
    names = ("..", "../..", "/", "/etc", "0/..", "./0", "", "0\0", "0//", "C:\\0", "..\\0", "1/c", 7,
             "x" * 300, "0/" * 2000 + "0", None, "zarr.json", "c", "~", "%2e%2e/0")  # fmt: skip
    if rng.random() < 0.3:
        image["datasets"] = image["datasets"] * rng.choice((0, 30, 33, 20_000))
    else:
        image["datasets"][rng.randrange(2)]["path"] = rng.choice(names)
    _write(path, content)


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
    _write(path, content)


def codecs(rng: random.Random, place: Path, kind: str) -> None:
    """Codecs that nobody asked for, some of which run code."""
    path = place / "0" / (".zarray" if kind.startswith("v2") else "zarr.json")
    content = json.loads(path.read_text())
    ids = ("pickle", "json2", "msgpack2", "vlen-utf8", "categorize", "lzma", "bz2", "lz4", "zstd",
           "gzip", "shuffle", "delta", "astype", "quantize", "fixedscaleoffset", "packbits",
           "base64", "crc32", "fletcher32", "adler32", "bitround", "n5_wrapper", "pcodec", "zfpy",
           "jpeg", "imagecodecs_jpeg", "x", "", "\n")  # fmt: skip
    options = {"dtype": "|u1", "astype": "V100000000", "scale": 1, "offset": 0, "digits": 1,
               "labels": ["a"], "keepbits": 1, "elementsize": rng.choice((0, 1, 4, 2**40))}  # fmt: skip
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
    _write(path, content)


def nested_shards(rng: random.Random, place: Path, kind: str) -> None:  # noqa: ARG001
    """Shards in shards in shards."""
    path = place / "0" / "zarr.json"
    if not path.exists():
        write_at = place / "0"
        (write_at / ".zarray").unlink()
    content = _array_v3((SIDE, SIDE, 3), "shards")
    chain = content["codecs"]
    for _ in range(rng.choice((1, 2, 100))):
        options = {**chain[0]["configuration"], "codecs": chain}
        chain = [{"name": "sharding_indexed", "configuration": options}]
    content["codecs"] = chain
    _write(path, content)


def chunk_bytes(rng: random.Random, place: Path, kind: str) -> None:
    """Damage the bytes of chunks."""
    for _ in range(rng.choice((1, 2, 5))):
        path = _chunk(rng, place, kind)
        data = bytearray(path.read_bytes())
        match rng.randrange(6):
            case 0:
                del data[rng.randrange(len(data) + 1) :]
            case 1:
                for _ in range(rng.choice((1, 5, 50))):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 2:
                data[: rng.randrange(32)] = rng.randbytes(rng.randrange(32))
            case 3:
                data[:] = rng.randbytes(rng.randrange(3000))
            case 4:
                data += rng.randbytes(rng.randrange(3000))
            case _:
                start = rng.randrange(len(data))
                data[start:] = bytes(len(data) - start)
        path.write_bytes(data)
        if not data:
            break


def chunk_headers(rng: random.Random, place: Path, kind: str) -> None:
    """Compressed chunks that state other sizes in their headers."""
    path = _chunk(rng, place, kind)
    data = bytearray(path.read_bytes())
    at = rng.randrange(min(24, len(data) - 4))
    value = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, len(data) * 2))
    data[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(data)


def chunk_bombs(rng: random.Random, place: Path, kind: str) -> None:
    """Chunks that unpack to gigabytes."""
    codec = {"raw": "raw", "shards": "zstd"}.get(kind[3:], kind[3:])
    _chunk(rng, place, kind).write_bytes(_bomb(codec))


_BOMBS: dict[str, bytes] = {}


def _bomb(codec: str) -> bytes:
    """Zeros, two gigabytes of them where the codec allows it, packed; made once."""
    if codec not in _BOMBS:
        size = {"raw": 1 << 26, "blosc": (1 << 31) - 100}.get(codec, 1 << 31)
        if codec == "blosc":  # blosc's header alone: its memory is taken before it is looked at
            header = struct.pack("<BBBBIII", 2, 1, 33, 1, size, size, 400)
            _BOMBS[codec] = header + bytes(384)
        elif codec == "gzip":
            _BOMBS[codec] = gzip.compress(bytes(1 << 24), 9) * (size >> 24)
        elif codec == "raw":
            _BOMBS[codec] = bytes(size)
        else:
            _BOMBS[codec] = _streamed(codec, size)
    return _BOMBS[codec]


def _streamed(codec: str, size: int) -> bytes:
    if codec == "zlib":
        import zlib

        packer = zlib.compressobj(9)
        return b"".join(packer.compress(bytes(1 << 24)) for _ in range(size >> 24)) + packer.flush()
    # zstd: a frame written by hand, whose blocks each repeat a byte 131,072 times
    block = struct.pack("<I", (131072 << 3) | 2)[:3] + b"\0"
    last = struct.pack("<I", (131072 << 3) | 3)[:3] + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", size)
    return frame + block * (size // 131072 - 1) + last


def chunk_indexes(rng: random.Random, place: Path, kind: str) -> None:
    """Shards whose index points anywhere."""
    if kind != "v3-shards":
        chunk_bytes(rng, place, kind)
        return
    values = (0, 1, 5, 1000, 2**20, 2**31, 2**33, 2**62, 2**63, EMPTY - 1, EMPTY)
    index = [(rng.choice(values), rng.choice(values)) for _ in range(4)]
    part = np.zeros((2 * CHUNK, 2 * CHUNK, 3), np.uint8)
    path = _chunk(rng, place, kind)
    path.write_bytes(shard(part, index))
    if rng.random() < 0.3:
        _make_huge(path)


def chunk_sizes(rng: random.Random, place: Path, kind: str) -> None:
    """Files of chunks of a terabyte, which take no room on the disk."""
    for _ in range(rng.choice((1, 4, 9))):
        _make_huge(_chunk(rng, place, kind))


def _make_huge(path: Path) -> None:
    if path.stat().st_size == 1 << 40:
        return
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek(-64, os.SEEK_END)
        file.write(data[-64:])


def file_kinds(rng: random.Random, place: Path, kind: str) -> None:
    """Pipes, links in a circle, sockets, devices and folders in the place of files."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    for path in rng.sample(files, rng.choice((1, 1, 2, 5))):
        path.unlink()
        match rng.randrange(7):
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to(path.name)
            case 2:
                path.symlink_to(rng.choice(("/dev/zero", "/dev/random", "/dev/tty", "/dev/stdin")))
            case 3:
                path.mkdir()
            case 4:
                _make_socket(path)
            case 5:
                path.symlink_to("..")
            case _:
                pass
    if rng.random() < 0.1:
        (place / "1").rename(place / "2")
        (place / "1").symlink_to("1")


def _make_socket(path: Path) -> None:
    before = os.getcwd()  # noqa: PTH109 - sockets take short names only
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


def _metadata_file(rng: random.Random, place: Path, kind: str) -> Path:
    if kind.startswith("v2"):
        names = ".zattrs", ".zattrs", "0/.zarray", "1/.zarray", ".zgroup"
    else:
        names = "zarr.json", "zarr.json", "0/zarr.json", "1/zarr.json"
    return place / rng.choice(names)


def _chunk(rng: random.Random, place: Path, kind: str) -> Path:
    """A chunk of level 0."""
    sides = range(-(-SIDE // (2 * CHUNK if kind == "v3-shards" else CHUNK)))
    row, column = rng.choice(sides), rng.choice(sides)
    return place / "0" / (f"{row}.{column}.0" if kind.startswith("v2") else f"c/{row}/{column}/0")


SPOILS: tuple[Spoil, ...] = (
    metadata_value, metadata_bytes, metadata_size, shapes, level_paths, pixel_sizes, codecs,
    nested_shards, chunk_bytes, chunk_headers, chunk_bombs, chunk_indexes, chunk_sizes, file_kinds,
)  # fmt: skip
WEIGHTS = (30, 8, 2, 14, 6, 6, 10, 1, 12, 6, 1, 4, 2, 6)
