"""Atomic export: a file or folder appears under its name once it is complete, or not at all."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from napari_twostage.errors import BusyFileError, ExportError, UnwritableExportError
from napari_twostage.io.durable import sync_folder, sync_tree
from napari_twostage.io.files import remove_file, remove_folder, rename, replace_file
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.io.paths import Location


@contextmanager
def replacing(path: Location) -> Iterator[Path]:
    """Provide a temporary path to write to; it replaces `path` if the block succeeds.

    Until then `path` keeps its old content. A failure leaves no temporary file behind.

    Parameters
    ----------
    path : Path or Url
        File or folder to replace.

    Yields
    ------
    Path
        Hidden sibling of `path`. For a URL, a path in a temporary folder, uploaded at the end.

    Raises
    ------
    ExportError
        If the parent folder is missing, `path` is a folder that no export made, or writing fails.
    """
    _check(path)
    if isinstance(path, Url):
        with TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            _send(Path(folder) / path.name, path)
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _explained(path):
            _remove(partial)  # of an export that was killed
            yield partial
            _swap(partial, path)
    finally:
        with suppress(OSError):  # what went wrong before it says why
            _remove(partial)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the export that the file system refuses."""
    try:
        yield
    except BusyFileError as error:
        raise UnwritableExportError(str(error)) from error
    except OSError as error:
        raise UnwritableExportError(
            f"{path.name} could not be written: {error.strerror or error}; "
            "free some space or choose another folder"
        ) from error


def check_target(path: Location) -> None:
    """Check that an export can be written, by writing an empty file beside it.

    Raises
    ------
    ExportError
        If the parent folder is missing or takes no files, or `path` is a folder that no export
        made.
    """
    _check(path)
    if isinstance(path, Path):
        partial = path.with_name(f".{path.name}.partial")
        with _explained(path):
            _remove(partial)  # of an export that was killed
            partial.touch()
            _remove(partial)


def _check(path: Location) -> None:
    if isinstance(path, Path) and not path.parent.is_dir():
        raise ExportError(
            f"{path.parent} is not a folder, so {path.name} cannot be written there; "
            "make the folder or choose another"
        )
    if path.is_dir() and not (path / "zarr.json").is_file():
        raise ExportError(
            f"{path} is a folder that no export made and will not be replaced; choose another name"
        )


def _send(made: Path, url: Url) -> None:
    """Upload a file or folder, replacing what the URL holds; see `Url.upload`."""
    if made.is_dir() and url.is_dir():
        url.remove_tree()
    url.upload(made)


def _swap(partial: Path, path: Path) -> None:
    """Replace `path`; a folder cannot be renamed over, so an old one is moved away first.

    What replaces it is on the disk before, so a power cut takes no old file without a new one.
    """
    sync_tree(partial)
    _rename_over(partial, path)
    sync_folder(path.parent)


def _rename_over(partial: Path, path: Path) -> None:
    former = path.with_name(f".{path.name}.former")
    if path.is_dir():
        _remove(former)
        rename(path, former)
    try:
        replace_file(partial, path)
    except OSError:
        if former.exists():
            rename(former, path)
        raise
    with suppress(BusyFileError):  # the export is whole; the next one removes the rest
        _remove(former)


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_folder(path)
    else:
        remove_file(path)
