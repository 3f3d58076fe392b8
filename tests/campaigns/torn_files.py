"""Campaign of torn files: one file of a result is damaged, then the result is used and repaired.

Right is that every reader shows the right pixels, or says in one line what is damaged, and that
`segment` with the same arguments ends in the same bytes as on a whole result. Edits survive where
one of their two copies is whole; what is lost is said by `Result.check`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.campaigns.results_to_damage import Subject, shown, subjects
from tests.campaigns.runner import LONGEST_MESSAGE, Job, Outcome, WrongResultError, run_jobs

from napari_twostage.errors import TwoStageError
from napari_twostage.export import export, geojson, tables, tiff_labels  # noqa: F401 - for forks
from napari_twostage.measure.summary import summarise
from napari_twostage.result.journal import FILE as JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage import Box, Segmentation
    from napari_twostage.result.check import Finding

COUNT = 1_500
EXPORTS = "labels.geojson", "areas.csv", "labels.ome.tif"


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Damage copies of all results by turns."""
    made = subjects(folder)
    rng = random.Random(seed)
    kept: dict[str, Path] = {}
    for outcome in run_jobs(_jobs(made, count, rng, folder, kept)):
        place = kept.pop(outcome.name)
        if outcome.is_good:
            shutil.rmtree(place)
        yield outcome


def _jobs(
    made: list[Subject], count: int, rng: random.Random, folder: Path, kept: dict[str, Path]
) -> Iterator[Job]:
    for number in range(count):
        subject = made[number % len(made)]
        place = folder / f"case-{number}"
        result = place / subject.result.name
        shutil.copytree(subject.result, result, symlinks=True)
        what = _damage_one(result, subject, rng)
        job = Job(
            name=f"{subject.name}/{number}-{what}",
            function=partial(use, subject, result),
            seconds=20,
        )
        kept[job.name] = place
        yield job


# -- damage -----------------------------------------------------------------------------------


def _damage_one(result: Path, subject: Subject, rng: random.Random) -> str:
    """Damage one file, of a kind that is chosen first; returns what was done to which."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(path for path in result.rglob("*") if path.is_file()):
        groups.setdefault(_group(file.relative_to(result)), []).append(file)
    file = rng.choice(groups[rng.choice(sorted(groups))])
    others = [one for group in groups.values() for one in group if one != file]
    alike = [one for one in others if one.parent == file.parent]
    ways = dict(_ANY)
    if subject.is_old and "c" in file.relative_to(result).parts:
        for way in _DECODES:
            del ways[way]
        if file.relative_to(result).parts[0] == "edits":
            del ways["deleted"]  # what it painted is nowhere else, nor that it did
    if file.name == "journal.jsonl":
        ways = _JOURNAL if rng.random() < 0.7 else ways
    elif file.name in _changeable(subject) and rng.random() < 0.5:
        ways = {"value changed": _change_a_value}
    way = rng.choice(sorted(ways))
    if way == "by another":
        if subject.is_old:  # version 0.1 does not tell one chunk from another
            others = [one for one in others if one.parent.parent != file.parent.parent]
        same = alike if alike and rng.random() < 0.5 and not subject.is_old else others
        shutil.copyfile(rng.choice(same), file)
    else:
        ways[way](file, rng)
    return f"{file.relative_to(result).as_posix()} {way}"


def _changeable(subject: Subject) -> tuple[str, ...]:
    """Files whose values are known; version 0.1 has no checksum of the record."""
    return ("zarr.json",) if subject.is_old else ("record.json", "zarr.json")


def _group(name: Path) -> str:
    """Kind of a file."""
    if name.parts[0] in ("overview", "pyramid", "coarse"):
        return f"{name.parts[0]} {name.name == 'zarr.json' or name.suffix}"
    return name.parts[0] + (" zarr.json" if name.name == "zarr.json" else "")


def _bytes_changed(change: Callable[[bytes, random.Random], bytes]) -> Callable[..., None]:
    def apply(file: Path, rng: random.Random) -> None:
        file.write_bytes(change(file.read_bytes(), rng))

    return apply


def _zeros(data: bytes, start: float, stop: float) -> bytes:
    first, last = int(start * len(data)), int(stop * len(data))
    return data[:first] + bytes(last - first) + data[last:]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _remove(file: Path, _: random.Random) -> None:
    file.unlink()


def _make_folder(file: Path, _: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _make_unreadable(file: Path, _: random.Random) -> None:
    if os.name == "posix" and os.geteuid():
        file.chmod(0)
    else:  # the superuser may read anything
        file.unlink()
        file.symlink_to(file.name)


_ANY: dict[str, Callable[..., None]] = {
    "truncated": _bytes_changed(lambda data, rng: data[: rng.randrange(max(1, len(data)))]),
    "cut short": _bytes_changed(lambda data, rng: data[: -rng.randrange(1, 9)]),
    "zeros": _bytes_changed(lambda data, _: _zeros(data, 0, 1)),
    "zeros at the head": _bytes_changed(lambda data, _: _zeros(data, 0, 0.3)),
    "zeros in the middle": _bytes_changed(lambda data, _: _zeros(data, 0.3, 0.7)),
    "zeros at the tail": _bytes_changed(lambda data, _: _zeros(data, 0.7, 1)),
    "emptied": _bytes_changed(lambda _, __: b""),
    "bits flipped": _bytes_changed(_flipped),
    "junk": _bytes_changed(lambda data, rng: rng.randbytes(max(1, len(data)))),
    "by another": _remove,
    "deleted": _remove,
    "made a folder": _make_folder,
    "made unreadable": _make_unreadable,
}


_DECODES = "bits flipped", "zeros in the middle", "zeros at the tail"
"""Damage after which a chunk may still decode: version 0.1 kept no checksums of pixels."""


def _lines_changed(change: Callable[[list[bytes], random.Random], None]) -> Callable[..., None]:
    def apply(file: Path, rng: random.Random) -> None:
        lines = file.read_bytes().splitlines(keepends=True)
        change(lines, rng)
        file.write_bytes(b"".join(lines))

    return apply


def _damage_line(lines: list[bytes], rng: random.Random) -> None:
    number = rng.randrange(len(lines))
    line = bytearray(lines[number])
    line[rng.randrange(len(line) - 1)] = rng.randrange(256)
    lines[number] = bytes(line)


def _drop_line(lines: list[bytes], rng: random.Random) -> None:
    del lines[rng.randrange(len(lines))]


def _repeat_line(lines: list[bytes], rng: random.Random) -> None:
    number = rng.randrange(len(lines))
    lines.insert(number, lines[number])


def _insert(*events: dict[str, Any]) -> Callable[..., None]:
    def change(lines: list[bytes], rng: random.Random) -> None:
        line = json.dumps(rng.choice(events)).encode() + b"\n"
        lines.insert(rng.randrange(1, len(lines) + 1), line)

    return _lines_changed(change)


_JOURNAL: dict[str, Callable[..., None]] = {
    "line damaged": _lines_changed(_damage_line),
    "line dropped": _lines_changed(_drop_line),
    "line repeated": _lines_changed(_repeat_line),
    "line out of range": _insert(
        {"event": "refined", "tiles": [[10**6, 2]]},
        {"event": "refined", "tiles": [[-1, 0]]},
        {"event": "window", "core": [0, 0, 10**9, 10**9], "unreadable": []},
        {"event": "window", "core": [3, 3, 8, 8], "unreadable": []},
        {"event": "edit", "number": 7, "box": [0, 0, 10**5, 10**5]},
        {"event": "edit", "number": -4, "box": [0, 0, 4, 4]},
        {"event": "failed", "tiles": [[0, 10**5]], "reason": "x"},
    ),
    "line of nonsense": _insert(
        {"event": "refined", "tiles": "all"},
        {"event": "window"},
        {"event": 3},
        {"event": "edit", "number": "x", "box": []},
        {},
    ),
    "line of a later version": _insert({"event": "annotated", "by": "somebody"}),
}


def _change_a_value(file: Path, rng: random.Random) -> None:
    """Change a number, a word or a truth in a file of JSON."""
    values = json.loads(file.read_bytes())
    places = list(_leaves(values))
    holder, key = rng.choice(places)
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int | float):
        holder[key] = rng.choice((old + 1, 2 * old + 1, -1, 0 if old else 3))
    elif isinstance(old, str):
        holder[key] = rng.choice((old + "x", "", old[::-1] + "y"))
    else:
        holder[key] = 1
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _leaves(values: Any) -> Iterator[tuple[Any, Any]]:
    keys = values if isinstance(values, dict) else range(len(values))
    for key in keys:
        if isinstance(values[key], dict | list):
            yield from _leaves(values[key])
        else:
            yield values, key


# -- use --------------------------------------------------------------------------------------


def use(subject: Subject, result: Path) -> None:
    """Read a damaged result in every way, segment the slide again, and compare."""
    with _warnings() as told:
        _read_everything(subject, result, told)
    findings = _findings(subject, result)
    journal_differs = _differs(result / JOURNAL, subject.result / JOURNAL)
    with _warnings() as told:
        subject.segment_again(result)
    _require_once(told)
    seg = subject.open(result)
    lost = [finding for finding in findings if finding.verdict == "lost"]
    expected = dict(subject.expected["finished"])
    if journal_differs:  # which edits stand may be unknown; what is shown is not
        del expected["edits"], expected["states"]
    _require_same(shown(seg), expected, _painted(subject) if lost else [])
    if left := [str(finding) for finding in seg.check() if finding.verdict != "lost"]:
        raise WrongResultError(f"still damaged after segment: {left}")


def _findings(subject: Subject, result: Path) -> list[Finding]:
    try:
        seg = subject.open(result)
    except TwoStageError as error:
        _require_clear(error, result)
        return []
    return seg.check()


def _read_everything(subject: Subject, result: Path, told: list[str]) -> None:
    """Open, describe, export and read; what is shown must be right, or be said to be damaged."""
    expected = subject.expected["now"]
    seg = _tried(lambda: subject.open(result), result)
    if seg is None:
        return
    _tried(lambda: summarise(seg), result)
    for name in EXPORTS:
        _tried(partial(export, seg, result.with_name(name)), result)
    for level, plane in enumerate(seg.labels):
        labels = _tried(partial(np.asarray, plane), result)
        wrong = labels is not None and not np.array_equal(labels, expected[f"labels {level}"])
        if wrong and not _says_so(subject, result, seg, told):
            raise WrongResultError(f"level {level} differs, and nothing says so")


def _says_so(subject: Subject, result: Path, seg: Segmentation, told: list[str]) -> bool:
    # version 0.1 did not count the lines of the journal
    uncounted = subject.is_old and _differs(result / JOURNAL, subject.result / JOURNAL)
    return uncounted or any(str(seg.path) in line for line in told)


def _differs(file: Path, other: Path) -> bool:
    return not file.is_file() or file.read_bytes() != other.read_bytes()


def _tried(read: Callable[[], Any], result: Path) -> Any:
    """The value, or None if there is one clear line instead."""
    try:
        return read()
    except TwoStageError as error:
        _require_clear(error, result)
        return None


def _require_clear(error: TwoStageError, result: Path) -> None:
    text = str(error)
    if "\n" in text or len(text) > LONGEST_MESSAGE + len(str(result)) or str(result) not in text:
        raise WrongResultError(f"not one clear line that names the file: {text}")


def _require_once(told: list[str]) -> None:
    for line in told:
        if "\n" in line or told.count(line) > 1:
            raise WrongResultError(f"not said once, in one line: {told}")


def _painted(subject: Subject) -> list[Box]:
    return list(subject.expected["now"]["edits"])


def _require_same(found: dict[str, Any], expected: dict[str, Any], but: list[Box]) -> None:
    """Compare what is shown, but for the places of edits that are known to be lost."""
    for name, value in expected.items():
        other = found[name]
        if but and name in ("edits", "areas", "states"):
            continue
        if but and name.startswith("labels"):
            step = 2 ** int(name.split()[1])
            value, other = value.copy(), other.copy()  # noqa: PLW2901
            for box in but:
                place = box.scaled(1 / step).slices
                value[place] = other[place] = 0
        same = (
            np.array_equal(other, value, equal_nan=True)
            if isinstance(value, np.ndarray)
            else (other == value)
        )
        if not same:
            raise WrongResultError(f"{name} differ after segment")


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the warnings that are logged."""
    told: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    handler, log = Handler(logging.WARNING), logging.getLogger("napari_twostage")
    log.addHandler(handler)
    try:
        yield told
    finally:
        log.removeHandler(handler)
