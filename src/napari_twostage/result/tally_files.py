"""Measurements of blocks, kept in the result folder for as long as they fit its labels.

A block's file begins with a stamp of all that its labels follow from: the states of its tiles and
of those beside them, and the edits that touch it. The slide and the model of a result never
change, so equal stamps mean equal labels. A file that does not fit, or is damaged, is as good as
none: everything here can be measured again.
"""

from __future__ import annotations

import logging
import struct
import zlib
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from numcodecs import zstd

from napari_twostage.errors import TwoStageError
from napari_twostage.io.files import read_file, write_file
from napari_twostage.result.zarr_chunks import frame_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.result.layout import Layout
    from napari_twostage.result.tile_log import TileLog

log = logging.getLogger(__name__)

FOLDER = "tallies"
VERSION = 3
"""Raised whenever what is measured changes."""
TABLE, RUNS = "", ".runs"
"""Parts that are kept of a block: its table, and which pixels its regions are of."""
_STAMP_BYTES = 16
_HEAD = struct.Struct(f"<4sI{_STAMP_BYTES}s")
_MAGIC = b"TSTY"
_MOST_BYTES, _MOST_BYTES_A_PIXEL = 4096, 200
"""Size beyond which measurements are taken for damage: twice that of a block of noise."""


class TallyFiles:
    """Files of measured blocks; a result by URL has none.

    Parameters
    ----------
    path : Path or Url
        The result folder.
    log : TileLog
        Its journal.
    layout : Layout
        Its tiles, and how far what tells objects apart reaches.
    """

    def __init__(self, path: Location, log: TileLog, layout: Layout) -> None:
        self._folder = path / FOLDER if isinstance(path, Path) else None
        self._log = log
        self._layout = layout

    @property
    def kept(self) -> bool:
        """Whether measurements are kept at all."""
        return self._folder is not None

    def stamp(self, box: Box, states: NDArray[np.uint8]) -> bytes:
        """Digest of all that the labels of a block follow from: 16 bytes.

        Parameters
        ----------
        box : Box
            Pixels of the block, on the fine grid.
        states : (rows, columns) uint8 array
            `TileState` of each tile of the slide.
        """
        wide = box.grow(self._layout.object_reach_px).clip(self._layout.fine.shape)
        near = wide.scaled(1 / self._layout.card.tile_px).grow(1).clip(states.shape)
        edits = [edit.number for edit in list(self._log.edits) if edit.box.intersect(wide).area]
        words = f"{VERSION} {box.as_list()} {near.as_list()} {edits}".encode()
        return blake2b(words + states[near.slices].tobytes(), digest_size=_STAMP_BYTES).digest()

    def read(self, box: Box, stamp: bytes, part: str = TABLE) -> bytes | None:
        """A part of the measurements of a block with this stamp; None if there is none."""
        found = self._packed(box, part)
        return None if found is None or found[0] != stamp else _unpacked(found[1], box)

    def read_last(self, box: Box) -> tuple[bytes, bytes] | None:
        """Stamp and table of the last measurements of a block; None if there are none."""
        found = self._packed(box, TABLE)
        table = None if found is None else _unpacked(found[1], box)
        return None if found is None or table is None else (found[0], table)

    def _packed(self, box: Box, part: str) -> tuple[bytes, bytes] | None:
        """Stamp and content of a block's file; None if it is not there or damaged."""
        if self._folder is None:
            return None
        try:
            content = read_file(self._folder / _name(box, part))
        except OSError:
            return None
        head, packed = content[: _HEAD.size], content[_HEAD.size :]
        stamp = head[-_STAMP_BYTES:]
        return (stamp, packed) if head == _HEAD.pack(_MAGIC, zlib.crc32(packed), stamp) else None

    def write(self, box: Box, stamp: bytes, data: bytes, part: str = TABLE) -> None:
        """Keep a part of a block's measurements; if the disk refuses, it is measured again."""
        if self._folder is None:
            return
        packed = bytes(zstd.compress(data, 1))
        try:
            with suppress(FileExistsError):
                self._folder.mkdir()
            write_file(
                self._folder / _name(box, part),
                _HEAD.pack(_MAGIC, zlib.crc32(packed), stamp) + packed,
            )
        except (OSError, TwoStageError):
            log.debug("%s: measurements of %s are not kept", self._folder, box, exc_info=True)


def _unpacked(packed: bytes, box: Box) -> bytes | None:
    """Content of a block's file; None if it is none."""
    if not 0 < frame_size(packed) <= _MOST_BYTES_A_PIXEL * box.area + _MOST_BYTES:
        return None
    try:
        return bytes(zstd.decompress(packed))
    except (RuntimeError, ValueError):
        return None


def _name(box: Box, part: str) -> str:
    return f"{box.top}.{box.left}{part}"
