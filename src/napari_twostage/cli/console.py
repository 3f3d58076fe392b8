"""Standard output and error that take any text, whatever their encoding and whoever reads them."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from napari_twostage.errors import storage_error
from napari_twostage.utils.text import printable

_ASCII = {
    "µ": "u",
    "μ": "u",
    "×": "x",
    "·": "|",
    "²": "2",
    "…": "...",
    "→": "->",
    "−": "-",
    "–": "-",
}
"""Signs of our output in ASCII; any other is escaped."""
_READER_LEFT = (errno.EPIPE, errno.EINVAL, errno.EIO)
"""A closed pipe, on POSIX and on Windows, and a terminal that is gone."""
_ON_ERROR = "napari-twostage-ascii"


class LastingStream(io.TextIOWrapper):
    """Text stream whose reader may leave; what is written from then on is dropped.

    A run must not end because nobody watches its progress any more.
    """

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Lead the stream nowhere if its reader left."""
        if error.errno not in _READER_LEFT:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        super().flush()


def prepare_streams() -> None:
    """Replace standard output and error of this process by streams that take any text."""
    codecs.register_error(_ON_ERROR, _in_ascii)
    for descriptor in range(3):  # a closed one would be given to the next file that is opened
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def write_result(text: str) -> None:
    """Write what a verb returns to standard output.

    Raises
    ------
    StorageError
        If standard output is a file that cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # else Python tries again when it exits
        raise storage_error(error, "standard output") from error


def _lasting(stream: TextIO | None, descriptor: int) -> LastingStream:
    if not isinstance(stream, io.TextIOWrapper):  # it was closed when the process began
        raw = io.FileIO(descriptor, "w", closefd=False)
        return LastingStream(io.BufferedWriter(raw), "utf-8", _ON_ERROR)
    encoding, by_line = stream.encoding, stream.line_buffering
    return LastingStream(stream.detach(), encoding, _ON_ERROR, line_buffering=by_line)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    r"""Replace text that an encoding lacks; a byte of a name that is no UTF-8 becomes ``\xff``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_ASCII.get(sign, _escaped(sign)) for sign in missing), error.end


def _escaped(sign: str) -> str:
    return printable(sign).encode("ascii", "backslashreplace").decode("ascii")
