"""Cache of results on disk, keyed by what they depend on, so that a rerun computes nothing."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from napari_twostage.io.files import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_cached(path: Path, key: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """Result that `write_cached` stored under the same key, or None."""
    if not path.exists():
        return None
    cached = json.loads(path.read_text(encoding="utf-8"))
    return cached["result"] if cached["key"] == key else None


def write_cached(path: Path, key: dict[str, Any], result: object) -> None:
    """Write a result with its key, atomically."""
    text = json.dumps({"key": key, "result": result}, indent=1) + "\n"
    write_file(path, text.encode())


def fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 of the content of files, in this order."""
    digest = sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
