"""Filesystems of URLs: those of fsspec, with errors that say what to do."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import TransferError, TwoStageError, reason_of
from napari_twostage.io.addresses import check_scheme, without_secrets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import aiohttp
    from fsspec import AbstractFileSystem

    Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]

TRIES, _PAUSE_S = 3, 0.5
_CONNECT_S, _SILENCE_S = 20, 30
"""Seconds to connect to a web server, and to wait for its next bytes."""
_EXTRAS = dict.fromkeys(("http", "https"), "'napari-twostage[remote]'")
_EXTRAS |= dict.fromkeys(("s3", "s3a"), "'napari-twostage[s3]'")
_NOTHING_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Errors that answer a read: there is no such file."""
_TAKEN = (FileExistsError,)
"""Errors that answer a write: there is such a file."""


def filesystem(url: str, *, asynchronous: bool = False) -> tuple[AbstractFileSystem, str]:
    """Find the filesystem of a URL.

    Credentials and endpoints come from each backend's own settings: ``AWS_PROFILE``,
    ``AWS_ENDPOINT_URL``, ``FSSPEC_S3_ANON`` and the like.

    Parameters
    ----------
    url : str
        URL with its scheme.
    asynchronous : bool
        Return a filesystem whose coroutines are awaited in the caller's own event loop.

    Returns
    -------
    (filesystem, path in it)

    Raises
    ------
    TransferError
        If the scheme is none of those that are opened, or its backend is not installed.
    """
    check_scheme(url)
    scheme = url.partition("://")[0].lower()
    try:
        from fsspec import get_filesystem_class

        # not fsspec's own way from a URL to a filesystem, which takes colons for a chain of them
        kind = get_filesystem_class(scheme)
        # listings are never cached: other machines write, too
        options: dict[str, Any] = {"use_listings_cache": False, **_web_options(scheme)}
        options |= kind._get_kwargs_from_urls(url)  # noqa: SLF001 - made for this
        fs = kind(asynchronous=asynchronous, **options)
        return fs, str(kind._strip_protocol(url))  # noqa: SLF001
    except ImportError as error:
        needed = _EXTRAS.get(scheme, "the package it names")
        raise TransferError(
            f"{without_secrets(url)} cannot be opened: {error.msg}; pip install {needed}"
        ) from error
    except ValueError as error:
        raise TransferError(
            f"{without_secrets(url)} is no address ({reason_of(error)}); check it"
        ) from error


@contextmanager
def transfer(url: str, *, writing: bool = False) -> Iterator[None]:
    """Turn any error of a backend into a TransferError of one line.

    Raises
    ------
    TransferError
        For any failure. Answers pass as they are: FileNotFoundError and the like when reading,
        FileExistsError when writing.
    """
    answers: tuple[type[OSError], ...] = _TAKEN if writing else _NOTHING_THERE
    try:
        yield
    except TwoStageError:
        raise
    except answers:
        raise
    except Exception as error:
        # libraries put addresses into their messages, too
        raise TransferError(without_secrets(f"{url} {_reason(error)}")) from error


def _reason(error: BaseException) -> str:
    """Reason why a URL failed, and what may help."""
    text = reason_of(error)
    status = getattr(error, "status", None)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return f"may not be opened ({text}); check the address and your credentials"
    if isinstance(error, FileNotFoundError):
        return f"cannot be written ({text}); make its bucket or folder first"
    if status in {405, 501} or isinstance(
        error, NotImplementedError
    ):  # older fsspec has no writing
        return f"takes no files ({text}); write to a folder of this machine or an object store"
    if type(error).__name__ == "NoCredentialsError":
        return (
            "needs credentials, none were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for a public bucket"
        )
    if isinstance(error, TimeoutError):
        text = "it took too long"
    return f"cannot be reached ({text}); check the address and the network, then try again"


@cache
def _web_options(scheme: str) -> dict[str, Any]:
    """Timeouts and retries for web servers; other backends retry by themselves."""
    if scheme not in {"http", "https"}:
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    client: dict[str, Any] = {"timeout": timeout, "middlewares": (_try_again,)}
    # bodies are unpacked where their size is bounded
    return {"client_kwargs": {**client, "auto_decompress": False}}


async def _try_again(request: aiohttp.ClientRequest, send: Handler) -> aiohttp.ClientResponse:
    """Ask a web server up to three times if it is overloaded or briefly unreachable."""
    import asyncio  # only here: importing it takes longer than importing this package

    import aiohttp

    for attempt in range(1, TRIES):
        try:
            response = await send(request)
            if (response.status != 429 and response.status < 500) or response.status == 501:
                return response
            response.release()
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(attempt * _PAUSE_S)
    return await send(request)
