"""OME-Zarr folders whose metadata, chunks, shards and files lie."""

from __future__ import annotations

import os
import socket
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from tests.campaigns.hostile import Case
from tests.campaigns.hostile import zarr_chunks as chunks
from tests.campaigns.hostile import zarr_metadata as metadata
from tests.campaigns.hostile.zarr_images import KINDS, pixels, write_image
from tests.campaigns.runner import WrongResultError

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.slides import (
    ome_zarr,  # noqa: F401 - imported before the children fork
    open_slide,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Spoil = Callable[[random.Random, Path, str], None]


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Spoil good images in one way each, for ever."""
    for number in count():
        kind = rng.choice(KINDS)
        spoil = rng.choices(list(SPOILS), list(SPOILS.values()))[0]
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


def file_kinds(rng: random.Random, place: Path, _kind: str) -> None:
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


SPOILS: dict[Spoil, int] = {
    metadata.metadata_value: 30,
    metadata.metadata_bytes: 8,
    metadata.metadata_size: 2,
    metadata.shapes: 14,
    metadata.level_paths: 6,
    metadata.pixel_sizes: 6,
    metadata.codecs: 10,
    metadata.nested_shards: 1,
    chunks.chunk_bytes: 12,
    chunks.chunk_headers: 6,
    chunks.chunk_bombs: 3,
    chunks.chunk_indexes: 4,
    chunks.chunk_sizes: 2,
    file_kinds: 6,
}
"""Ways to spoil an image, and how often each is taken."""
