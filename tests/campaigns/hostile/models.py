"""Models: cards with any value in any field, damaged zips and folders, weights that are no numbers.

All come from one tiny network, with random weights.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.campaigns.hostile import Case
from tests.campaigns.hostile.model_use import use_model, write_tiny
from tests.campaigns.hostile.mutations import MUTATIONS
from tests.campaigns.hostile.values import hostile_value
from tests.campaigns.runner import run_case

from napari_twostage.models.bundle import CARD, CONVERTED, QUANTISED, WEIGHTS
from napari_twostage.models.weights_file import tensor_places

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield models of every kind of damage without end."""
    seed = folder / "tiny-seed"
    # in a fork, so that this process starts no threads
    outcome = run_case(write_tiny, seed, seconds=300, extra_bytes=4 << 30)
    assert outcome.is_good, outcome.message
    number = 0
    while True:
        for make, share in KINDS.items():
            for _ in range(share):
                number += 1
                name = f"{make.__name__.removeprefix('_')}-{number}"
                path, options = make(rng, seed, folder / name)
                use = partial(use_model, path, **{"device": "cpu", **options})
                yield Case(name=name, use=use, file=path)


def _folder(seed: Path, path: Path, **others: bytes) -> Path:
    """Make a model folder whose files are the seed's, but for those given."""
    path.mkdir()
    for file in seed.iterdir():
        (path / file.name).symlink_to(file)
    for name, content in others.items():
        target = path / {"card": CARD, "weights": WEIGHTS}.get(name, f"{name}.safetensors")
        target.unlink(missing_ok=True)
        target.write_bytes(content)
    return path


def _card(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Change one to three values of a card, at any depth."""
    card = json.loads((seed / CARD).read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, card)
    text = json.dumps(card, ensure_ascii=rng.random() < 0.8).encode(errors="surrogatepass")
    return _folder(seed, path, card=text), {}


def _change(rng: random.Random, entries: Any) -> None:
    keys = list(entries) if isinstance(entries, dict) else list(range(len(entries)))
    if not keys:
        return
    key = rng.choice(keys)
    old = entries[key]
    if isinstance(old, dict | list) and old and rng.random() < 0.7:
        _change(rng, old)
    elif isinstance(entries, dict) and rng.random() < 0.1:
        del entries[key]
    elif isinstance(entries, dict) and rng.random() < 0.1:
        entries[str(hostile_value(rng, ""))[:100]] = hostile_value(rng, old)
    else:
        entries[key] = hostile_value(rng, old)


def _architecture(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Describe another network than the weights are of."""
    card = json.loads((seed / CARD).read_bytes())
    name = rng.choice(("lite_unet", "fcn", "deeplabv3", "unet", "segnet"))
    options = {
        "widths": [rng.choice((1, 16, 4096, 10**6, 0, -1)) for _ in range(rng.choice((5, 5, 4)))],
        "width": rng.choice((1, 0.5, 1e-9, 1e9, 0, float("nan"), "a")),
        "backbone": rng.choice(("resnet50", "resnet18", "../x", 7)),
        "weights": rng.choice(("imagenet", "/dev/zero", "/etc/passwd")),
        "aux": True,
        "dilations": [1] * rng.choice((1, 10**4)),
    }
    chosen = rng.sample(sorted(options), rng.randrange(3))
    card[rng.choice(("architecture", "fine_architecture"))] = {
        "name": name, **{one: options[one] for one in chosen},
    }  # fmt: skip
    if rng.random() < 0.2:
        card["refiner"] = {"width": rng.choice((16, 10**6, -1)), "dilations": options["dilations"]}
    return _folder(seed, path, card=json.dumps(card).encode()), {}


def _card_text(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Damage a card's text, or nest it deeper than any parser follows."""
    _, mutate = rng.choice(MUTATIONS)
    text = bytes(mutate(rng, bytearray((seed / CARD).read_bytes())))
    deep = rng.choice((100, 990, 10**5))
    other = (
        text,
        text.replace(b'"metrics": {', b'"metrics": {"a": ' + b"[" * deep + b"]" * deep + b","),
        b"[" * deep,
        text + b" " * (2 << 20),
        b'{"format": 1' + b"0" * 10**4 + b"}",
    )
    return _folder(seed, path, card=rng.choice((text, *other))), {}


def _weights(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Damage a safetensors file, in its header more often than not."""
    data = bytearray((seed / WEIGHTS).read_bytes())
    _, mutate = rng.choice(MUTATIONS)
    length = struct.unpack_from("<Q", data)[0]
    if rng.random() < 0.7:
        data[8 : 8 + length] = mutate(rng, data[8 : 8 + length])
    else:
        data = mutate(rng, data)
    if rng.random() < 0.1:
        claimed = rng.choice((0, 1, 1 << 20, 1 << 40, (1 << 64) - 1))
        data[:8] = struct.pack("<Q", claimed)
    return _folder(seed, path, weights=bytes(data)), {}


def _not_finite(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Put a number that is not finite, or overflows, into the weights or the card."""
    data = bytearray((seed / WEIGHTS).read_bytes())
    floats = [place for place in tensor_places(bytes(data)) if place.dtype == "F32"]
    place = rng.choice(floats)
    at = rng.randrange(place.first, place.last, 4)
    value = rng.choice((np.nan, np.inf, -np.inf))
    data[at : at + 4] = np.float32(value).tobytes()
    return _folder(seed, path, weights=bytes(data)), {"must_fail": True}


def _overflow(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Scale some weights until sums overflow: what runs must still give finite logits."""
    data = bytearray((seed / WEIGHTS).read_bytes())
    floats = [place for place in tensor_places(bytes(data)) if place.dtype == "F32"]
    for place in rng.sample(floats, rng.choice((1, 5, 20))):
        values = np.frombuffer(data[place.first : place.last], "<f4")
        scale = np.float32(rng.choice((1e10, 1e20, 1e30)))
        data[place.first : place.last] = np.clip(values * scale, -3e38, 3e38).tobytes()
    return _folder(seed, path, weights=bytes(data)), {}


def _zip(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Zip a model, and damage the zip anywhere."""
    path = path.with_suffix(".zip")
    inside = rng.choice(("", "m/", "../", "/m/", "a/b/", "C:\\m\\"))
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(path, "w", rng.choice(methods)) as archive:
        for name in (CARD, WEIGHTS):
            archive.write(seed / name, inside + name)
            if rng.random() < 0.05:
                archive.writestr(f"other/{name}", b"x")
    if rng.random() < 0.8:
        data = bytearray(path.read_bytes())
        _, mutate = rng.choice(MUTATIONS)
        if rng.random() < 0.6:  # the list of members is at the end
            data[-300:] = mutate(rng, data[-300:])
        else:
            data = mutate(rng, data)
        path.write_bytes(data)
    return path, {}


def _bomb(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Zip a member that unpacks to gigabytes, or says that it does not, or very many members."""
    path = path.with_suffix(".zip")
    bad, kind = rng.choice((CARD, WEIGHTS)), rng.choice(("large", "lies", "many"))
    method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name in (CARD, WEIGHTS):
            if name != bad or kind == "many":
                archive.write(seed / name, name)
                continue
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(16):
                    file.write(bytes(1 << 24))
        for number in range(70_000 if kind == "many" and rng.random() < 0.1 else 1100):
            if kind == "many":
                archive.writestr(f"{number}", b"")
    if kind == "lies":
        data = path.read_bytes()
        path.write_bytes(data.replace(struct.pack("<L", 1 << 28), struct.pack("<L", 1000)))
    return path, {"must_fail": kind != "many"}


def _special(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Put what is no file in a file's place."""
    _folder(seed, path)
    name = rng.choice((CARD, WEIGHTS, CONVERTED, QUANTISED))
    file = path / name
    file.unlink(missing_ok=True)
    kind = rng.choice(("pipe", "device", "folder", "loop", "nothing", "large"))
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to(rng.choice(("/dev/zero", "/dev/stdin")))
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(name)
    elif kind == "large":
        with file.open("wb") as sparse:
            sparse.truncate(rng.choice((2 << 20, 400 << 20, 1 << 40)))
    return path, {}


def _converted(
    rng: random.Random, seed: Path, path: Path, *, name: str = CONVERTED
) -> tuple[Path, dict[str, Any]]:
    """Damage networks for OpenVINO, whose hashes still match."""
    data = bytearray((seed / name).read_bytes())
    places = {place.name: place for place in tensor_places(bytes(data))}
    place = places[rng.choice(("coarse.xml", "coarse.xml", "refine.xml", "coarse.bin"))]
    part = data[place.first : place.last]
    _, mutate = rng.choice(MUTATIONS)
    changed = _other_number(rng, part) if rng.random() < 0.7 else mutate(rng, part)
    data[place.first : place.last] = bytes(changed[: len(part)]).ljust(len(part))
    path = _folder(seed, path, **{name.partition(".")[0]: bytes(data)})
    return path, {"device": "openvino", "precision": "int8" if name == QUANTISED else "f32"}


def _quantised(rng: random.Random, seed: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    """Damage networks in 8-bit integers, whose hashes still match."""
    return _converted(rng, seed, path, name=QUANTISED)


def _other_number(rng: random.Random, graph: bytearray) -> bytearray:
    """Replace an attribute or a size in a graph, or a word by another of the graph."""
    at = rng.randrange(len(graph))
    first = max(graph.find(b'"', at), 0)
    last = graph.find(b'"', first + 1)
    number = rng.choice((0, -1, 1, 2, 7, 1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1))
    words = [b"%d" % number, b"f64", b"Broadcast", b"If", b"1,1,99999,99999", b""]
    return graph[: first + 1] + rng.choice(words) + graph[max(last, first + 1) :]


KINDS = {
    _card: 30, _architecture: 4, _card_text: 6, _weights: 10, _not_finite: 3, _overflow: 3,
    _zip: 10, _bomb: 1, _special: 4, _converted: 10, _quantised: 3,
}  # fmt: skip
"""Makers of models, and how many of each in a round."""
