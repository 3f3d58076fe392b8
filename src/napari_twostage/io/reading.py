"""Bounded reads of files by URL, whose servers may send anything, or nothing, for ever."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ReadError, TransferError, TwoStageError
from napari_twostage.io.addresses import without_secrets
from napari_twostage.io.remote import TRIES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import aiohttp
    from fsspec import AbstractFileSystem

WHOLE_BYTES = 256 << 20
"""Most bytes of a file that is read as a whole, unpacked."""
_PATIENCE_S = 60.0
"""Longest time until a server has answered, all tries together."""
_SLOWEST = 16 << 10
"""Bytes per second that a server must reach after `_PATIENCE_S`, on average."""
_PIECE_BYTES = 1 << 20
_PARTIAL, _NOT_FOUND, _BEYOND_END = 206, 404, 416


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file by URL."""

    data: bytes
    size: int | None = None
    """Bytes of the whole file; None if the server does not say."""
    tag: str = ""
    """Mark that changes with the file: ETag or time of change; empty if there is none."""


async def read_part(
    fs: AbstractFileSystem, path: str, start: int = 0, stop: int | None = None, *, most_bytes: int
) -> Part:
    """Read bytes [start, stop) of a file; fewer if it ends early.

    Parameters
    ----------
    fs : AbstractFileSystem
        Filesystem with coroutines, awaited in its own loop.
    path : str
        File in it.
    start : int
        First byte; if negative, counted from the end.
    stop : int or None
        End of the bytes; None for the end of the file.
    most_bytes : int
        Length that is accepted.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ReadError
        If there are more bytes than `most_bytes`.
    TransferError
        If the server sends other bytes than those asked for.
    TimeoutError
        If it sends too slowly.
    """
    import asyncio

    if start >= 0 and stop is not None and stop - start > most_bytes:
        raise _too_long(path, most_bytes, ReadError)
    if is_web(fs):
        return await _read_web(fs, path, start, stop, most_bytes)
    async with asyncio.timeout(_PATIENCE_S + most_bytes / _SLOWEST):
        try:
            data = await fs._cat_file(path, **_limits(start, stop, most_bytes))  # noqa: SLF001
        except OSError as error:
            if "not satisfiable" not in str(error):
                raise
            data = b""  # S3's answer for parts of an empty object
    return _checked(data, path, most_bytes)


def read_part_now(
    fs: AbstractFileSystem, path: str, start: int = 0, stop: int | None = None, *, most_bytes: int
) -> Part:
    """The same as `read_part` from a thread without a loop."""
    if not fs.async_impl:
        return _checked(fs.cat_file(path, **_limits(start, stop, most_bytes)), path, most_bytes)
    part: Part = run(fs, read_part, fs, path, start, stop, most_bytes=most_bytes)
    return part


async def linked_names(fs: AbstractFileSystem, url: str) -> list[str]:
    """Names directly below a folder of a web server, as its page lists them."""
    from urllib.parse import unquote, urljoin

    page = await _read_web(fs, url + "/", 0, None, _PIECE_BYTES)
    base = url.rstrip("/") + "/"
    links = re.findall(r"""href=["']([^"'?#]+)""", page.data.decode(errors="replace"))
    whole = (urljoin(base, link) for link in links)
    names = (unquote(link.removeprefix(base).rstrip("/")) for link in whole if base in link)
    return sorted({name for name in names if name and "/" not in name})


def run(fs: AbstractFileSystem, function: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the function's own
    """Await a coroutine in a filesystem's own loop, from a thread without one."""
    from fsspec.asyn import sync

    return sync(fs.loop, function, *args, **options)


def is_web(fs: AbstractFileSystem) -> bool:
    """Whether a filesystem is that of web servers, which tell all about a file in one answer."""
    return "http" in fs.protocol


def _limits(start: int, stop: int | None, most_bytes: int) -> dict[str, int | None]:
    """Arguments of fsspec's reads; one byte more than is accepted shows that there are more."""
    if start < 0:
        return {"start": start, "end": None}
    bound = start + most_bytes + 1
    return {"start": start, "end": bound if stop is None else min(stop, bound)}


def _checked(data: bytes, path: str, most_bytes: int) -> Part:
    if len(data) > most_bytes:
        raise _too_long(path, most_bytes, ReadError)
    return Part(bytes(data))


def _too_long(path: str, most_bytes: int, error: type[TwoStageError]) -> TwoStageError:
    return error(
        f"{without_secrets(path)} has more than the {most_bytes:,} bytes expected; "
        "check the address, or copy the file again"
    )


# -- web servers -----------------------------------------------------------------------------------


async def look_at(fs: AbstractFileSystem, url: str) -> Part:
    """Tag of a file on a web server, and its size if it is sent in parts; no data.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    return await _ask(fs, url, (0, 1), 0, look_only=True)


async def _read_web(
    fs: AbstractFileSystem, url: str, start: int, stop: int | None, most_bytes: int
) -> Part:
    import aiohttp

    wanted = None if start == 0 and stop is None else (start, stop)
    for _ in range(TRIES - 1):
        try:
            return await _ask(fs, url, wanted, most_bytes)
        except aiohttp.ClientPayloadError:
            pass  # the connection broke in the middle
    return await _ask(fs, url, wanted, most_bytes)


async def _ask(
    fs: AbstractFileSystem,
    url: str,
    wanted: tuple[int, int | None] | None,
    most_bytes: int,
    *,
    look_only: bool = False,
) -> Part:
    """Send one request, which is repeated only until there is an answer."""
    import asyncio

    options = dict(fs.kwargs)
    # compressed answers have other lengths, and other tags
    options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity"}
    if wanted:
        start, stop = wanted
        options["headers"]["Range"] = f"bytes={start}" + ("-" if start >= 0 else "")
        options["headers"]["Range"] += "" if stop is None else str(stop - 1)
    session = await fs.set_session()
    async with asyncio.timeout(_PATIENCE_S) as patience:
        async with session.get(fs.encode_url(url), **options) as response:
            headers = response.headers
            tag = headers.get("ETag", "").removeprefix("W/") or headers.get("Last-Modified", "")
            size = _size(headers)
            if response.status == _NOT_FOUND:
                raise FileNotFoundError(without_secrets(url))
            if wanted and response.status == _BEYOND_END:
                return Part(b"", size, tag)
            response.raise_for_status()
            if look_only:
                if response.status == _PARTIAL:
                    await response.content.read(1)  # an answer read to its end frees its connection
                return Part(b"", size if response.content_length else 0, tag)
            if wanted:
                count = _announced(response, url, wanted, size)
                data = await _body(response, url, count, patience, TransferError)
                if len(data) != count:
                    raise TransferError(
                        f"{without_secrets(url)}: its server sent {len(data):,} bytes where it "
                        f"announced {count:,}; try again, or download the file"
                    )
                return Part(data, size, tag)
            data = await _body(response, url, most_bytes, patience, ReadError)
            return Part(data, len(data), tag)


def _size(headers: Any) -> int | None:  # noqa: ANN401 - a mapping of aiohttp's
    """Size of the whole file, as the header of an answer in parts states it."""
    stated = re.fullmatch(r"bytes\s.*/(\d{1,18})", headers.get("Content-Range", ""))
    return int(stated[1]) if stated else None


def _announced(
    response: aiohttp.ClientResponse, url: str, wanted: tuple[int, int | None], size: int | None
) -> int:
    """Length of the part that a server announces, if it is the one that was asked for."""
    if response.status != _PARTIAL:
        raise in_whole_only(url)
    stated = re.match(r"bytes (\d{1,18})-(-?\d{1,18})/", response.headers.get("Content-Range", ""))
    first, last = (int(stated[1]), int(stated[2])) if stated else (-1, -1)
    start, stop = wanted
    if start < 0 and size is not None:
        start, stop = max(0, size + start), size
    if first != start or last < first - 1 or (stop is not None and last >= stop):
        raise TransferError(
            f"{without_secrets(url)}: its server sent bytes {first} to {last} where "
            f"{start} to {'the end' if stop is None else stop - 1} were asked for; "
            "download the file"
        )
    return last + 1 - first


def in_whole_only(url: str) -> TransferError:
    """Error of a server that takes no notice of byte ranges."""
    return TransferError(
        f"{without_secrets(url)} cannot be read in parts: its server sends files as a whole "
        "only, without byte ranges; download it, or convert it to OME-Zarr"
    )


async def _body(
    response: aiohttp.ClientResponse,
    url: str,
    most_bytes: int,
    patience: asyncio.Timeout,
    error: type[TwoStageError],
) -> bytes:
    """Body of at most `most_bytes`; `error` is raised if there is more."""
    parts, received = [], 0
    begin = patience.when() or 0.0
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        parts.append(piece)
        received += len(piece)
        if received > most_bytes:
            raise _too_long(url, most_bytes, error)
        patience.reschedule(begin + received / _SLOWEST)
    data = b"".join(parts)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return data
    if encoding not in {"gzip", "deflate"} or response.status == _PARTIAL:
        raise TransferError(
            f"{without_secrets(url)} comes in the encoding {encoding[:20]!r}, expected none; "
            "download the file"
        )
    # object stores send files that were stored in this way
    data = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(data, most_bytes + 1)
    if len(data) > most_bytes:
        raise _too_long(url, most_bytes, error)
    return data
