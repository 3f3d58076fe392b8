"""Paths that are no files, or whose names are none."""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaigns.hostile import Case
from tests.campaigns.hostile.slide_use import use_slide

from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_ENDINGS = (".svs", ".tif", ".ome.tif", ".ndpi", ".png", ".jpg", ".mrxs", ".dcm", ".zarr", "")


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield each place once."""
    use_slide(sample_slide())
    for ending in _ENDINGS:
        for kind, make in _PLACES.items():
            path = folder / f"{kind}{ending}"
            make(path)
            yield Case(
                name=f"{kind}{ending.replace('.', '-')}", use=partial(use_slide, path), file=path
            )
        for kind, name in _names(rng).items():
            path = f"{folder}/{name}{ending}"
            yield Case(name=f"name-{kind}{ending.replace('.', '-')}", use=partial(use_slide, path))
    for name in ("zero", "null", "random", "full", "tty", "stdin"):
        path = Path("/dev") / name
        if path.exists():
            yield Case(name=f"device-{name}", use=partial(use_slide, path))
    for name in (
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc/cpuinfo",
        "/",
        ".",
        "",
        "~",
        "~nobody/x",
    ):
        yield Case(name=f"system{name.replace('/', '-')}", use=partial(use_slide, name))
    for name, character in {
        "newline": "\n",
        "escape": "\x1b[31m",
        "turn": "\u202e",
        "byte": "\udcff",
    }.items():
        path = folder / f"a{character}b.svs"
        path.write_bytes(b"II*\0 and no more")
        yield Case(name=f"called-{name}", use=partial(use_slide, path))
        shutil.copy(sample_slide(), path := folder / f"c{character}d.svs")
        yield Case(name=f"good-called-{name}", use=partial(use_slide, path))


def _folder(path: Path) -> None:
    path.mkdir()


def _full_folder(path: Path) -> None:
    path.mkdir()
    for n in range(2000):
        (path / f"{n}.tif").touch()


def _marked_folder(path: Path) -> None:
    """Make a folder that looks like OME-Zarr, whose file is a pipe."""
    path.mkdir()
    os.mkfifo(path / "zarr.json")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _long_loop(path: Path) -> None:
    other = path.with_name(path.name + "-other")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing-here")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def _locked(path: Path) -> None:
    path.write_bytes(b"II*\0")
    path.chmod(0)


def _hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _text(path: Path) -> None:
    path.write_text("Dear colleague,\n" * 1000)


def _long_line(path: Path) -> None:
    path.write_bytes(b"{" * (8 << 20))


_PLACES = {
    "pipe": os.mkfifo, "folder": _folder, "full-folder": _full_folder, "loop": _loop,
    "marked-folder": _marked_folder, "long-loop": _long_loop, "dangling": _dangling,
    "socket": _socket, "locked": _locked, "hole": _hole, "empty": Path.touch, "text": _text,
    "line": _long_line,
} if hasattr(os, "mkfifo") else {}  # fmt: skip


def _names(rng: random.Random) -> dict[str, str]:
    return {
        "nul": "a\0b", "long": "a" * 300, "long-unicode": "ä" * 200, "deep": "a/" * 3000 + "b",
        "deep-long": f"{'a' * 200}/" * 30 + "b", "newline": "a\nb", "escape": "a\x1b[31mb",
        "odd": rng.choice(("%s%n", "{0}", "$(id)", "`id`", "-rf", "a b", "'", '"')),
        "byte": "\udcff",
        "up": "../" * 50 + "nothing", "emoji": "🔬" * 60, "url": "http:/x", "turn": "a\u202eb",
    }  # fmt: skip
