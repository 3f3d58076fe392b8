"""Identifiers of objects, equal in every format and between exports."""

from __future__ import annotations

import uuid
from hashlib import sha1
from typing import TYPE_CHECKING

from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from napari_twostage.measure.regions import Regions
    from napari_twostage.result.result import Result

NAMESPACE = uuid.UUID("0f6c1b5e-8d52-5a6b-9d0e-5f3f0c8f2f10")
"""Namespace of the identifiers, so that they differ from those of other programs."""


def object_ids(result: Result, objects: Regions) -> list[str]:
    """Identifier of each object: the UUID, version 5, of its slide, class and first pixel.

    It stays the same between exports for as long as an object's first pixel and class do.
    """
    start, name = NAMESPACE.bytes, printable(result.name)
    places = zip(objects.value.tolist(), objects.top.tolist(), objects.first.tolist(), strict=True)
    return [_uuid5(start, f"{name}/{value}/{row}/{column}") for value, row, column in places]


def _uuid5(namespace: bytes, name: str) -> str:
    """Text of ``uuid.uuid5(namespace, name)``, without an object for each of a million."""
    digest = bytearray(sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
