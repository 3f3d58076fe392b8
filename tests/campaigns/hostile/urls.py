"""Slides by URL whose servers lie, dawdle or change them, and URLs of schemes that are none."""

from __future__ import annotations

import atexit
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp  # noqa: F401 - imported before the children fork, as the readers below
import fsspec.implementations.http  # noqa: F401
import numpy as np
import tifffile
from tests.campaigns.hostile import Case, zarr_images
from tests.campaigns.hostile import zarr as zarr_cases
from tests.campaigns.runner import WrongResultError

from napari_twostage.geometry import Box
from napari_twostage.io import reading, remote, zarr_store
from napari_twostage.slides import (
    open_slide,
    plain_images,  # noqa: F401
    tiff,  # noqa: F401
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SUFFIXES = ("tif", "ome.zarr", "png")
HARMLESS = ("tag", "some503", "redirgood", "dropsome", "nolength", "plain")
"""Behaviours after which the pixels must be right, as far as a server can be read at all."""
BEHAVIOURS = (
    *HARMLESS, "changedtag", "changedtime", "all500", "all403", "all401", "all429", "all304",
    "all204", "all410", "redirfile", "redirftp", "redirloop", "redirnone", "redirlong", "endless",
    "endlesspart", "gzipbomb", "badgzip", "brotli", "hugelength", "hugesize", "absurdsize",
    "norange", "wrongrange", "norangeheader", "multipart", "short", "long", "lengthlarge",
    "lengthsmall", "dropped", "slowbody", "login", "empty", "oddtag", "garbage", "nothing",
    "longheader", "manyheaders", "badlength", "badchunk", "continue", "silent", "slowhead",
)  # fmt: skip
ADDRESSES = (
    "http://127.0.0.1:1/x.tif", "https://127.0.0.1:1/x.tif", "foo://x/y.tif", "gopher://h/x.tif",
    "reference://x.tif", "simplecache::file:///etc/passwd", "dask://x/y.tif", "github://x/y.tif",
    "zip://a.tif::file:///tmp/a.zip", "python://x.tif", "http://h/a.tif::file:///etc/passwd",
    "blockcache::http://127.0.0.1:1/x.tif", "memory://none/x.tif", "http:///x.tif", "http://",
    "https://[::1]:1/x.tif", "http://[::1/x.tif", "http://me:secret@127.0.0.1:1/x.tif", "s3://",
    "http://127.0.0.1:99999/x.tif", "http://\0/x.tif", "http://a b/x.tif", "http://ü.invalid/x.tif",
    "file:///etc/passwd", "file://elsewhere/x.tif", "ftp://127.0.0.1/x.tif", "local:///etc/passwd",
    "data://text/plain,abc", "jar://x", "libarchive://x::file:///y", "hf://x/y", "git://x/y.tif",
    "dir://x", "filecache::s3://x/y", "HTTP://127.0.0.1:1/x.tif", "http://" + "a" * 9000 + "/x.tif",
    "root://x/y.tif", "smb://x/y.tif", "ssh://x/y.tif", "generic://x", "async_wrapper://x",
)  # fmt: skip


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Ask for slides of a server in each behaviour, for ever."""
    port = _serve(folder)
    spoilt = zarr_cases.cases(rng, folder)
    yield from (
        Case(name=f"address-{number}", use=partial(_open, address))
        for number, address in enumerate(ADDRESSES)
    )
    for number in count():
        if number % 4 == 3:
            yield _by_url(next(spoilt), port)
            continue
        behaviour = rng.choice(BEHAVIOURS)
        suffix = rng.choice(SUFFIXES)
        name = f"slide-{number}.{suffix}"
        url = f"http://127.0.0.1:{port}/{behaviour}-{number}/{name}"
        yield Case(
            name=f"{behaviour}-{number}-{suffix}",
            use=partial(use, url, folder / f"good.{suffix}", behaviour=behaviour),
            file=folder / name,
        )


def _by_url(case: Case, port: int) -> Case:
    """The same case with its folder behind a server that behaves."""
    assert case.file is not None
    url = f"http://127.0.0.1:{port}/plain-{case.name}/{case.file.name}"
    return Case(name=f"spoilt-{case.name}", use=partial(_read, url), file=case.file)


def _read(url: str) -> None:
    _be_impatient()
    zarr_cases.use(url)


def use(url: str, good: Path, *, behaviour: str) -> None:
    """Read a whole slide by URL; what is read must be what the server has."""
    _be_impatient()
    with open_slide(url, mpp=0.5) as slide:
        found = slide.read(Box(0, 0, *slide.level_shapes[0]))
        slide.fingerprint()
    expected = (
        zarr_images.pixels() if good.suffix == ".zarr" else _tiff_pixels(good.with_suffix(".tif"))
    )
    if not np.array_equal(found, expected):
        raise WrongResultError(f"other pixels from a server that does {behaviour}")


def _open(url: str) -> None:
    _be_impatient()
    with open_slide(url, mpp=0.5) as slide:
        slide.fingerprint()


def _be_impatient() -> None:
    """Shorten the waits that the documentation states, in this process."""
    reading._PATIENCE_S = 2.0
    remote._SILENCE_S = remote._CONNECT_S = 1.0
    remote._PAUSE_S = 0.01
    zarr_store._CHECK_S = 0.1
    remote._web_options.cache_clear()


def _tiff_pixels(path: Path) -> np.ndarray:
    return tifffile.imread(path)


def _serve(folder: Path) -> int:
    """Start the server on its files; gives its port."""
    import imagecodecs

    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    for name, pixels in (("good", noise), ("other", 255 - noise)):
        options = {"photometric": "rgb", "tile": (128, 128), "resolution": (20000, 20000)}
        tifffile.imwrite(folder / f"{name}.tif", pixels, resolutionunit=3, **options)
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(pixels))
        turned = zarr_images.pixels()[:: 1 if name == "good" else -1]
        zarr_images.write_image(folder / f"{name}.ome.zarr", "v3-zstd", turned)
    command = [sys.executable, "-m", "tests.campaigns.hostile.url_server", str(folder)]
    root = str(Path(__file__).parents[3])
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    atexit.register(server.kill)
    assert server.stdout is not None
    return int(server.stdout.readline())
