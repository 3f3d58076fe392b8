"""Results that a rerun reads and does not compute again, kept beside what they are of."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_kept(path: Path, key: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever was kept
    """What `keep` wrote under the same key; None where it did not."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return kept["result"] if kept["key"] == key else None


def keep(path: Path, key: dict[str, Any], result: object) -> None:
    """Write a result, and the key that says what it is of; the file appears whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"key": key, "result": result}, indent=1) + "\n")
    partial.replace(path)


def fingerprint(files: Iterable[Path]) -> str:
    """Names the content of files, in this order."""
    digest = sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
