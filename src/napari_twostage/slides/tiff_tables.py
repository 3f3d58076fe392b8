"""Check of a TIFF file's tables, before a library that trusts them reads the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Shape
from napari_twostage.slides import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.slides.byte_source import PositionedFile, RemoteFile

_WIDTH, _HEIGHT, _DESCRIPTION, _SUB_TABLES, _XMP = 256, 257, 270, 330, 700
_LAYOUT = {258, 259, 262, 266, 277, 278, 284, 317, 322, 323, 338, 339, 530, 32997, 32998}
_LAYOUT |= {_WIDTH, _HEIGHT}
"""Entries in which images of different kinds differ."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
_BYTES = {1, 2, 6, 7}
"""Types whose values are read as one piece, not as numbers."""
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_IN_ONE_TABLE = 4096
_COMPARED_BYTES = 64


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables of a file say that other checks need."""

    shapes: tuple[Shape, ...]
    """Rows and columns of the images in the chain of tables, without SubIFDs."""
    description: bytes
    """Description of the first image."""


@dataclass(frozen=True, slots=True)
class _Entry:
    code: int
    kind: int
    count: int
    size: int
    inline: bytes
    """The value, if it fits into the entry."""
    offset: int
    """Position of the value, if it does not."""


def check_tables(file: PositionedFile | RemoteFile, *, ndpi: bool) -> Tables:
    """Walk all tables of a file and refuse what lies beyond the limits.

    Parameters
    ----------
    file : PositionedFile or RemoteFile
        Open TIFF file.
    ndpi : bool
        Whether positions have 64 bits though the header says 32, as Hamamatsu's do.

    Raises
    ------
    SlideError
        If there are too many images, entries or values, or tables lead in a circle or beyond
        the file's end; the message begins with its verb, to follow the file's name.
    struct.error
        If the file ends within its header.
    """
    scan = _Scan(file, ndpi=ndpi)
    at, shapes, description = scan.first, list[Shape](), b""
    while at:
        if at >= file.size:
            raise SlideError("is truncated: some of its images are cut off; copy it again")
        entries, following = scan.table(at)
        if not shapes:
            description = scan.value(entries.get(_DESCRIPTION))
        shapes.append((scan.number(entries.get(_HEIGHT)), scan.number(entries.get(_WIDTH))))
        for part in scan.sub_tables(entries.get(_SUB_TABLES)):
            if 8 <= part < file.size:  # others are passed over by all readers
                scan.table(part, counted=True)
        at = following
    return Tables(tuple(shapes), description)


@dataclass(slots=True)
class _Scan:
    """Tables read so far, and their totals."""

    file: PositionedFile | RemoteFile
    ndpi: bool
    order: str = field(init=False)
    is_big: bool = field(init=False)
    first: int = field(init=False)
    seen: set[int] = field(default_factory=set)
    kinds: set[tuple[object, ...]] = field(default_factory=set)
    images: int = 0
    entries: int = 0
    values: int = 0
    blob_bytes: int = 0
    text_bytes: int = 0

    def __post_init__(self) -> None:
        header = self.file.read(0, 16)
        self.order = "<" if header[:2] == b"II" else ">"
        self.is_big = header[2:4] in {b"+\0", b"\0+"}
        self.ndpi = self.ndpi and header[:4] == b"II*\0"
        start, link = (8, "Q") if self.is_big else (4, "Q" if self.ndpi else "I")
        (self.first,) = struct.unpack_from(self.order + link, header, start)

    def table(self, at: int, *, counted: bool = False) -> tuple[dict[int, _Entry], int]:
        """Read and check one table: its entries by code, and where the next table is."""
        if at in self.seen:
            raise SlideError("has tables that lead in a circle; copy or export it again")
        self.seen.add(at)
        if not counted:
            self._count_images(1)
        found: dict[int, _Entry] = {}
        entries, following = self._read_table(at)
        for entry in entries:
            self._check(entry)
            found.setdefault(entry.code, entry)
        self._check_kind(found)
        return found, following

    def sub_tables(self, entry: _Entry | None) -> tuple[int, ...]:
        """Return the positions of SubIFDs, which may lie outside the file."""
        self._count_images(entry.count if entry else 0)
        return self.numbers(entry)

    def _count_images(self, more: int) -> None:
        self.images += more
        if self.images > limits.TIFF_TABLES:
            raise SlideError(
                f"holds more than {limits.TIFF_TABLES:,} images, one 2-D image was expected; "
                "export one plane or a projection"
            )

    def number(self, entry: _Entry | None) -> int:
        """Return an entry's first number; 0 where there is none."""
        return next(iter(self.numbers(entry)), 0)

    def numbers(self, entry: _Entry | None) -> tuple[int, ...]:
        """Return an entry's whole numbers."""
        if entry is None or entry.kind not in _WHOLE_NUMBERS:
            return ()
        return struct.unpack(
            f"{self.order}{entry.count}{_WHOLE_NUMBERS[entry.kind]}", self.value(entry)
        )

    def value(self, entry: _Entry | None) -> bytes:
        """Return an entry's bytes."""
        if entry is None:
            return b""
        return entry.inline or self.file.read(entry.offset, entry.size)

    def _read_table(self, at: int) -> tuple[Iterator[_Entry], int]:
        count_format, entry_format, link = (
            ("Q", "HHQ8s", "Q") if self.is_big else ("H", "HHI4s", "Q" if self.ndpi else "I")
        )
        count_size = struct.calcsize(self.order + count_format)
        (count,) = struct.unpack(self.order + count_format, self.file.read(at, count_size))
        self.entries += count
        if count > _MOST_IN_ONE_TABLE or self.entries > limits.TIFF_ENTRIES:
            raise SlideError(
                f"has tables of {self.entries:,} entries or more, at most "
                f"{_MOST_IN_ONE_TABLE:,} in one and {limits.TIFF_ENTRIES:,} in all can be read; "
                "export it again"
            )
        entry_size = struct.calcsize(self.order + entry_format)
        size = count * entry_size
        link_size = struct.calcsize(self.order + link)
        upper_size = 4 * count if self.ndpi else 0
        data = self.file.read(at + count_size, size + link_size + upper_size)
        if len(data) < size:
            raise SlideError("is truncated within a table of its images; copy it again")
        following = data[size : size + link_size]
        # a file that ends right behind its last table has no further one
        (next_at,) = struct.unpack(self.order + link, following.ljust(link_size, b"\0"))
        uppers = data[size + link_size :].ljust(upper_size, b"\0")
        raw = struct.iter_unpack(self.order + entry_format, data[:size])
        return self._entries(list(raw), uppers), next_at

    def _entries(self, raw: list[tuple[int, int, int, bytes]], uppers: bytes) -> Iterator[_Entry]:
        """Yield entries of known types whose values lie in the file; readers skip others."""
        for number, (code, kind, count, value) in enumerate(raw):
            size = _SIZES.get(kind, 0) * count
            if not size:
                continue
            if size <= len(value):
                yield _Entry(code, kind, count, size, value[:size], 0)
                continue
            whole = value + uppers[4 * number : 4 * number + 4]
            offset = int.from_bytes(whole, "little" if self.order == "<" else "big")
            if 8 <= offset <= self.file.size - size:
                yield _Entry(code, kind, count, size, b"", offset)

    def _check(self, entry: _Entry) -> None:
        """Refuse an entry whose value is too long, or a text that declares entities."""
        if entry.code in {_DESCRIPTION, _XMP}:
            self._check_text(entry)
        elif entry.kind in _BYTES:
            self.blob_bytes += entry.size
            if (
                entry.size > limits.TIFF_BLOB_BYTES
                or self.blob_bytes > limits.TIFF_BLOB_BYTES_IN_ALL
            ):
                raise SlideError(
                    f"holds {entry.size:,} bytes in tag {entry.code}, at most "
                    f"{limits.TIFF_BLOB_BYTES:,} in one and {limits.TIFF_BLOB_BYTES_IN_ALL:,} in "
                    "all can be read; export it without"
                )
        else:
            self.values += entry.count
            if entry.count > limits.TIFF_VALUES or self.values > limits.TIFF_VALUES_IN_ALL:
                raise SlideError(
                    f"lists {entry.count:,} values in tag {entry.code}, at most "
                    f"{limits.TIFF_VALUES:,} in one and {limits.TIFF_VALUES_IN_ALL:,} in all can "
                    "be read; write it again with larger tiles"
                )

    def _check_text(self, entry: _Entry) -> None:
        self.text_bytes += entry.size
        if entry.size > limits.TEXT_BYTES or self.text_bytes > limits.TEXT_BYTES_IN_ALL:
            raise SlideError(
                f"holds {entry.size:,} bytes of text in tag {entry.code}, at most "
                f"{limits.TEXT_BYTES:,} in one and {limits.TEXT_BYTES_IN_ALL:,} in all can be "
                "read; export it without"
            )
        text = self.value(entry)
        if any(declaration in text for declaration in limits.XML_DECLARATIONS):
            raise SlideError("declares entities in its XML, which no slide needs; export it again")

    def _check_kind(self, table: dict[int, _Entry]) -> None:
        """Refuse very many kinds of images: readers compare each with each."""
        self.kinds.add(
            tuple(
                (code, self.value(entry) if entry.size <= _COMPARED_BYTES else entry.count)
                for code, entry in sorted(table.items())
                if code in _LAYOUT
            )
        )
        if len(self.kinds) > limits.TIFF_KINDS:
            raise SlideError(
                f"holds images of more than {limits.TIFF_KINDS} sizes or layouts, the levels of "
                "one image were expected; export the slide alone"
            )
