"""Entries of protobuf messages, read in place: nothing is copied or made of what they hold.

ONNX files are such messages. Libraries that parse them build objects first and ask later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_ENTRIES = 500_000
"""Entries that are looked at in one file; networks of hundreds of layers have 50 thousand."""
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Kinds of entries: a number, or the bytes of a text, a message or packed numbers."""
LONGEST_VARINT = 10
LONGEST_TEXT = 4096
SIGN = 1 << 63


class Entry(NamedTuple):
    """Entry of a message."""

    field: int
    """Number of the field, as the format's definition gives it."""
    kind: int
    number: int
    """Value, of a number; 0 otherwise."""
    first: int
    """Offset of the first byte of its content in the file."""
    last: int
    """Offset of the byte after the last one."""


class Wire:
    """File of nested messages, whose entries are counted as they are read.

    Parameters
    ----------
    content : bytes
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = MOST_ENTRIES

    def entries(self, first: int = 0, last: int | None = None) -> Iterator[Entry]:
        """Entries of the message between two offsets; of the whole file by default.

        Raises
        ------
        ModelError
            If the bytes are no message, or hold too many entries.
        """
        last = len(self.content) if last is None else last
        while first < last:
            self._left -= 1
            if self._left < 0:
                raise ModelError(f"it has more than {MOST_ENTRIES} entries")
            tag, first = self._varint(first, last)
            field, kind, number = tag >> 3, tag & 7, 0
            if kind == VARINT:
                start = first
                number, first = self._varint(first, last)
            elif kind == BYTES:
                length, start = self._varint(first, last)
                first = start + length
            elif kind in (EIGHT_BYTES, FOUR_BYTES):
                start, first = first, first + (8 if kind == EIGHT_BYTES else 4)
            else:
                raise ModelError("it is damaged, or no ONNX file")
            if first > last or not field:
                raise ModelError("it is cut short, or no ONNX file")
            yield Entry(field, kind, number, start, first)

    def inside(self, entry: Entry) -> Iterator[Entry]:
        """Entries of a message that is itself an entry."""
        if entry.kind != BYTES:
            raise ModelError("it is damaged, or no ONNX file")
        return self.entries(entry.first, entry.last)

    def text(self, entry: Entry) -> str:
        """Text of an entry, such as a name."""
        if entry.last - entry.first > LONGEST_TEXT:
            raise ModelError(f"it has a name of more than {LONGEST_TEXT} bytes")
        try:
            return self.content[entry.first : entry.last].decode()
        except UnicodeDecodeError as error:
            raise ModelError("it has a name that is no text") from error

    def numbers(self, entry: Entry) -> list[int]:
        """Whole numbers of an entry, which may hold one or many."""
        if entry.kind == VARINT:
            return [_signed(entry.number)]
        if entry.last - entry.first > 1 << 10:
            raise ModelError("it has a shape of hundreds of sides")
        found, place = [], entry.first
        while place < entry.last:
            number, place = self._varint(place, entry.last)
            found.append(_signed(number))
        return found

    def count(self, entry: Entry) -> int:
        """Number of whole numbers that an entry packs, however many."""
        if entry.kind == VARINT:
            return 1
        packed = np.frombuffer(self.content, np.uint8, entry.last - entry.first, entry.first)
        return int((packed < 0x80).sum())  # the last byte of each has no continuation bit

    def _varint(self, first: int, last: int) -> tuple[int, int]:
        """Number that begins at an offset, and the offset after it."""
        number = 0
        for at in range(first, min(last, first + LONGEST_VARINT)):
            byte = self.content[at]
            number |= (byte & 0x7F) << 7 * (at - first)
            if byte < 0x80:
                return number & (2 * SIGN - 1), at + 1
        raise ModelError("it is cut short, or no ONNX file")


def _signed(number: int) -> int:
    return number - 2 * SIGN if number >= SIGN else number
