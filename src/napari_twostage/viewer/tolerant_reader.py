"""Reads for display that never raise: what cannot be read is blank, and the error is told."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import DamagedFileError, ReadError, TwoStageError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

    ReadBox = Callable[[Box], NDArray[Any]]

TROUBLE = (TwoStageError, OSError, MemoryError)
"""Errors of damaged files, lost disks and full memory; others are mistakes of the program."""
_LOCAL = (ReadError, DamagedFileError)
"""Errors of one place: the pixels around it can be read."""


class TolerantReader:
    """Reader that leaves blank what cannot be read.

    Parameters
    ----------
    blank : number
        Value of pixels that cannot be read.
    dtype : numpy dtype
    channels : tuple of int
        Shape of a pixel; empty for labels.
    tell : callable
        Called with each error.
    """

    def __init__(
        self,
        blank: float,
        dtype: np.dtype[Any],
        channels: tuple[int, ...],
        tell: Callable[[Exception], None],
    ) -> None:
        self._blank = blank
        self._dtype = dtype
        self._channels = channels
        self._tell = tell

    def read(self, read: ReadBox, piece: Shape, box: Box) -> tuple[NDArray[Any], bool]:
        """Read a box; if that fails in one place, read each piece on its own.

        Returns
        -------
        (array, bool)
            Pixels, and whether all could be read.
        """
        try:
            return read(box), True
        except TROUBLE as error:
            self._tell(error)
            pieces = piece if isinstance(error, _LOCAL) else None
        pixels = np.full((*box.shape, *self._channels), self._blank, self._dtype)
        if pieces is not None:
            self._read_pieces(read, pieces, box, pixels)
        return pixels, False

    @staticmethod
    def _read_pieces(read: ReadBox, piece: Shape, box: Box, pixels: NDArray[Any]) -> None:
        rows, columns = piece
        for top in range(box.top - box.top % rows, box.bottom, rows):
            for left in range(box.left - box.left % columns, box.right, columns):
                part = Box.at(top, left, rows, columns).intersect(box)
                with suppress(*TROUBLE):  # the piece stays blank
                    pixels[part.shift(-box.top, -box.left).slices] = read(part)
